"""From a credential to a caller."""

import hmac
import time

from app.core.caller import DEFAULT_TENANT, SYSTEM, Caller, tenant_caller
from app.core.errors import Unauthorized
from app.core.security import MAXIMUM_KEY_BYTES, key_digest
from app.db.uow import UowFactory

ALL_SCOPES = ["chat", "ingest", "admin"]
CACHE_SECONDS = 3.0
"""How long a revoked key may still work in this process."""
CACHE_SIZE = 1024


class AuthService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow
        self._cache: dict[bytes, tuple[float, Caller]] = {}

    async def register_settings_key(self, key: str) -> None:
        """Makes the key of the settings the one in force; called at start."""
        async with self._uow(tenant_caller(DEFAULT_TENANT)) as uow:
            await uow.api_keys.ensure_tenant(DEFAULT_TENANT, "default")
            await uow.api_keys.put_settings_key(key_digest(key.encode()), prefix=key[:8], scopes=ALL_SCOPES)

    async def authenticate(self, key: bytes) -> Caller:
        """Unauthorized for a key that is unknown, revoked, expired or no key at all."""
        if not 0 < len(key) <= MAXIMUM_KEY_BYTES:
            raise Unauthorized
        digest = key_digest(key)
        cached = self._cache.get(digest)
        if cached is not None and cached[0] > time.monotonic():
            return cached[1]
        async with self._uow(SYSTEM) as uow:  # the key tells the tenant
            found = await uow.api_keys.find(digest)
        if found is None or not hmac.compare_digest(found.key_hash, digest):
            self._cache.pop(digest, None)
            raise Unauthorized
        caller = Caller(found.tenant_id, role="service", scopes=frozenset(found.scopes), key_id=found.id)
        if len(self._cache) >= CACHE_SIZE:
            self._cache.clear()
        self._cache[digest] = (time.monotonic() + CACHE_SECONDS, caller)
        return caller
