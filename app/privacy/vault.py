"""A conversation's map as it may be stored: sealed with AES-256-GCM, bound to its conversation.

The name of the key stands before the sealed part, so that keys can be changed: old ones stay to open with, `current`
seals.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.privacy.placeholders import MaskingMap

KEY_BYTES = 32
_NONCE = 12


class Sealed(ValueError):
    """It cannot be opened: another conversation's, damaged, or sealed with a key that is not there any more."""


class Vault:
    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        """Names of at most 255 bytes to keys of 32 bytes."""
        if any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._keys = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._current = current.encode()

    @classmethod
    def of_secrets(cls, secrets: Sequence[str]) -> Self:
        """Of random texts; the first seals. Each gives a key and, which tells nothing about it, the key's name."""
        names = [_derived(secret, "name").hex()[:16] for secret in secrets]
        keys = [_derived(secret, "key") for secret in secrets]
        return cls(dict(zip(names, keys, strict=True)), names[0])

    @property
    def current(self) -> str:
        """The name of the key that seals."""
        return self._current.decode()

    def seal(self, known: MaskingMap, session_id: UUID) -> bytes:
        head = bytes([len(self._current)]) + self._current
        nonce = os.urandom(_NONCE)
        sealed = self._keys[self._current].encrypt(nonce, known.to_json().encode(), head + session_id.bytes)
        return head + nonce + sealed

    def open(self, sealed: bytes, session_id: UUID) -> MaskingMap:
        """Sealed when it cannot be opened."""
        head = sealed[: 1 + (sealed[0] if sealed else 0)]
        key = self._keys.get(head[1:])
        nonce, text = sealed[len(head) : len(head) + _NONCE], sealed[len(head) + _NONCE :]
        if key is None or len(nonce) < _NONCE:
            raise Sealed
        try:
            return MaskingMap.from_json(key.decrypt(nonce, text, head + session_id.bytes).decode())
        except InvalidTag as exc:
            raise Sealed from exc


def _derived(secret: str, use: str) -> bytes:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=f"ragchat masking map {use}".encode()).derive(
        secret.encode()
    )
