"""From a credential to a caller."""

import hmac
import math
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from app.core.caller import DEFAULT_TENANT, SYSTEM, Caller, tenant_caller, user_caller
from app.core.errors import Unauthorized
from app.core.recent import Recent
from app.core.security import MAXIMUM_KEY_BYTES, key_digest
from app.core.tokens import Tokens, invalid_token, is_token
from app.db.uow import UowFactory
from app.models import ApiKey

ALL_SCOPES = ["chat", "ingest", "admin"]
CACHE_SECONDS = 3.0
"""How long a revoked key or a disabled user may still work in this process."""
CACHE_SIZE = 1024
CHANGED_SECONDS = 60.0
"""How long a change is remembered: longer than those who hold a connection go without a look."""
Forget = Callable[[UUID], None]
"""Takes the id of a user or a key that has changed."""


def nobody(_id: UUID) -> None:
    """For those who changed something in another process than the one that serves."""


def auth_expired() -> Unauthorized:
    """For who was let in, and would not be now."""
    return Unauthorized("auth_expired", "The credential of this connection is no longer valid.")


class AuthService:
    def __init__(self, uow: UowFactory, tokens: Tokens) -> None:
        self._uow = uow
        self._tokens = tokens
        self._keys = Recent[bytes, Caller](CACHE_SECONDS, CACHE_SIZE)
        self._users = Recent[tuple[UUID, UUID, UUID], Caller](CACHE_SECONDS, CACHE_SIZE)
        self._changed: dict[str, float] = {}

    def forget(self, id_: UUID) -> None:
        """What this process knows of the user or key is looked up anew; other processes do so within seconds."""
        self._keys.forget(lambda caller: caller.key_id == id_)
        self._users.forget(lambda caller: caller.user_id == str(id_))
        now = time.monotonic()
        recent = {id_: at for id_, at in self._changed.items() if at > now - CHANGED_SECONDS}
        self._changed = recent | {str(id_): now}

    def may_have_ended(self, caller: Caller, since: float) -> bool:
        """Whether this process knows a reason to look the caller up again: the token's end, or a change since that
        moment of the monotonic clock. It asks nobody; what other processes change, a look once in a while shows."""
        if caller.expires_at is not None and caller.expires_at <= time.time():
            return True
        return self._changed.get(str(caller.key_id or caller.user_id), -math.inf) >= since

    async def register_settings_key(self, key: str) -> None:
        """Makes the key of the settings the one in force; called at start."""
        await self.ensure_tenant()
        async with self._uow(tenant_caller(DEFAULT_TENANT)) as uow:
            await uow.api_keys.put_settings_key(key_digest(key.encode()), prefix=key[:8], scopes=ALL_SCOPES)

    async def ensure_tenant(self) -> None:
        """The one that every installation has."""
        async with self._uow(tenant_caller(DEFAULT_TENANT)) as uow:
            await uow.api_keys.ensure_tenant(DEFAULT_TENANT, "default")

    async def authenticate(self, credential: bytes) -> Caller:
        """An API key, or a user's access token where it may be one.

        Unauthorized for what is unknown, revoked, expired or no credential at all.
        """
        return await (self._user(credential) if is_token(credential) else self.authenticate_key(credential))

    async def authenticate_key(self, key: bytes) -> Caller:
        if not 0 < len(key) <= MAXIMUM_KEY_BYTES:
            raise Unauthorized
        digest = key_digest(key)
        caller = self._keys.get(digest)
        if caller is not None:
            return caller
        async with self._uow(SYSTEM) as uow:  # the key tells the tenant
            found = await uow.api_keys.find(digest)
        if found is None or not hmac.compare_digest(found.key_hash, digest):
            raise Unauthorized
        caller = Caller(found.tenant_id, role="service", scopes=frozenset(found.scopes), key_id=found.id)
        await self._note_use(caller, found)
        return self._keys.put(digest, caller)

    async def _note_use(self, caller: Caller, key: ApiKey) -> None:
        if key.used_lately:
            return
        async with self._uow(caller) as uow:
            await uow.api_keys.note_use(key.id)

    async def _user(self, credential: bytes) -> Caller:
        """Role and scopes are those of now, whatever they were when the token was issued."""
        token = self._tokens.read(credential)
        name = (token.tenant_id, token.user_id, token.family_id)
        caller = self._users.get(name)
        if caller is None:
            async with self._uow(tenant_caller(token.tenant_id)) as uow:
                role = await uow.users.active_role(token.user_id, token.family_id)
            if role is None:
                raise invalid_token()
            caller = self._users.put(name, user_caller(token.tenant_id, token.user_id, role, family_id=token.family_id))
        return replace(caller, expires_at=token.expires_at)
