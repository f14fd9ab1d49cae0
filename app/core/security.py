"""API keys and refresh tokens: random, shown once, stored as a SHA-256 digest.

A fast hash is right here: they are random, not chosen by people, so there is nothing to guess.
"""

import base64
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

KEY_PREFIX = "rgc_"
REFRESH_PREFIX = "rgr_"
DERIVED = "ragchat: API keys of repeatable requests, 1"
MAXIMUM_KEY_BYTES = 512


def new_key() -> str:
    return KEY_PREFIX + secrets.token_urlsafe(32)


def key_digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def new_refresh_token() -> str:
    return REFRESH_PREFIX + secrets.token_urlsafe(32)


def derived_key(secret: str, *parts: str) -> str:
    """The key that these parts always give: for a request that is answered alike when it comes again."""
    digest = hmac.digest(secret.encode(), "\n".join((DERIVED, *parts)).encode(), hashlib.sha256)
    return KEY_PREFIX + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def development_key(data_dir: Path) -> tuple[str, bool]:
    """The key in the data folder, made with mode 0600 when it is not there yet; True when it is new."""
    return _kept(data_dir, "api_key", new_key)


def development_secret(data_dir: Path, name: str = "jwt_secret") -> str:
    """What signs tokens, or seals what is masked, kept in the data folder in the same way."""
    return _kept(data_dir, name, lambda: secrets.token_urlsafe(48))[0]


def _kept(data_dir: Path, name: str, make: Callable[[], str]) -> tuple[str, bool]:
    path = data_dir / name
    data_dir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor, unfinished = tempfile.mkstemp(dir=data_dir)  # mode 0600
        made = make()
        with os.fdopen(descriptor, "w") as file:
            file.write(made + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(unfinished, path)  # whole or not at all, and only the first of two that start together
            return made, True
        except FileExistsError:
            pass
        finally:
            os.unlink(unfinished)
    return path.read_text().strip(), False
