"""API keys: random, shown once, stored as a SHA-256 digest.

A fast hash is right here: the keys are random, not chosen by people, so there is nothing to guess.
"""

import hashlib
import os
import secrets
from pathlib import Path

KEY_PREFIX = "rgc_"
MAXIMUM_KEY_BYTES = 512


def new_key() -> str:
    return KEY_PREFIX + secrets.token_urlsafe(32)


def key_digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def development_key(data_dir: Path) -> tuple[str, bool]:
    """The key in the data folder, made with mode 0600 when it is not there yet; True when it is new."""
    path = data_dir / "api_key"
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_text().strip()
        if key:
            return key, False
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    key = new_key()
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key, True
