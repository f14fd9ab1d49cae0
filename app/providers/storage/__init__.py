"""Where original files are kept. One adapter so far: a folder of this machine."""

from app.providers.storage.local import LocalStorage

__all__ = ["LocalStorage"]
