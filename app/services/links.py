"""Links that open an original file for whoever holds them, without credentials, until a set time.

A storage that can sign makes its own. Elsewhere the link names tenant, document, version and end under an HMAC-SHA256
whose key comes from the key of the settings: another key there ends every link.
"""

import base64
import hashlib
import hmac
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from app.core.caller import Caller, tenant_caller
from app.core.errors import NotFound
from app.providers.ports import Storage
from app.readers.suffixes import MEDIA_TYPES
from app.services.documents import DocumentService, Original

MOST_SECONDS = 3600
LABEL = b"ragchat: links to original files, 1"
SIGNED = struct.Struct(">16s16sII")
"""Tenant, document, version, end in seconds since 1970. With the HMAC a multiple of three bytes: no padding."""


@dataclass(frozen=True, slots=True)
class Link:
    expires_at: datetime
    url: str | None
    """Of the storage itself; None where `token` opens the file at this service."""
    token: str


class LinkService:
    def __init__(self, documents: DocumentService, storage: Storage, *, settings_key: str) -> None:
        self._documents = documents
        self._storage = storage
        self._key = hmac.digest(settings_key.encode(), LABEL, hashlib.sha256)

    async def create(self, caller: Caller, document_id: UUID, *, version: int | None, seconds: int) -> Link:
        original = await self._documents.original(caller, document_id, version)
        ends = int(time.time()) + seconds
        url = await self._storage.link(
            original.storage_key,
            filename=original.filename,
            media_type=MEDIA_TYPES.get(original.kind, "application/octet-stream"),
            seconds=seconds,
        )
        signed = SIGNED.pack(caller.tenant_id.bytes, document_id.bytes, original.version, ends)
        return Link(datetime.fromtimestamp(ends, UTC), url, self._token(signed))

    async def follow(self, token: str) -> Original:
        """NotFound, always the same, for what was not made here, has ended, or names what is gone."""
        signed = _signed_part(token)
        if not hmac.compare_digest(self._token(signed), token):
            raise nothing_here()
        tenant, id_, version, ends = SIGNED.unpack(signed)
        if ends <= time.time():
            raise nothing_here()
        try:
            return await self._documents.original(tenant_caller(UUID(bytes=tenant)), UUID(bytes=id_), version)
        except NotFound as exc:
            raise nothing_here() from exc

    def _token(self, signed: bytes) -> str:
        return base64.urlsafe_b64encode(signed + hmac.digest(self._key, signed, hashlib.sha256)).decode()


def nothing_here() -> NotFound:
    """As an address that was never there."""
    return NotFound("not_found", "There is nothing at this address.")


def _signed_part(token: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(token)[: SIGNED.size]
    except ValueError as exc:
        raise nothing_here() from exc
