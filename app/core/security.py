"""API keys: random, shown once, stored as a SHA-256 digest.

A fast hash is right here: the keys are random, not chosen by people, so there is nothing to guess.
"""

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

KEY_PREFIX = "rgc_"
MAXIMUM_KEY_BYTES = 512


def new_key() -> str:
    return KEY_PREFIX + secrets.token_urlsafe(32)


def key_digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def development_key(data_dir: Path, name: str = "api_key") -> tuple[str, bool]:
    """The key in the data folder, made with mode 0600 when it is not there yet; True when it is new."""
    path = data_dir / name
    data_dir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor, made = tempfile.mkstemp(dir=data_dir)  # mode 0600
        key = new_key()
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(made, path)  # whole or not at all, and only the first of two that start together
            return key, True
        except FileExistsError:
            pass
        finally:
            os.unlink(made)
    return path.read_text().strip(), False
