"""Where original files are kept. An adapter, and what it needs, is imported only when it is chosen."""

from pathlib import Path

from app.providers.ports import Storage
from app.providers.storage.local import INCOMING, LocalStorage


def open_storage(
    folder: Path, *, bucket: str = "", prefix: str = "", endpoint_url: str = "", region: str = ""
) -> Storage:
    """The bucket when one is named, else the folder; files on their way are in the folder in both cases."""
    if not bucket:
        return LocalStorage(folder)
    from app.providers.storage.s3 import S3Storage

    return S3Storage(bucket, folder / INCOMING, prefix=prefix, endpoint_url=endpoint_url, region=region)
