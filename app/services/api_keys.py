"""API keys: made, listed, revoked. What they open is decided in auth.py."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.core.caller import ADMIN, Caller
from app.core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized
from app.core.ids import new_id
from app.core.security import derived_key, key_digest, new_key
from app.db.uow import UnitOfWork, UowFactory
from app.models import ApiKey
from app.repositories.api_keys import SETTINGS_KEY
from app.repositories.paging import Paging
from app.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyOut
from app.services.auth import Forget, nobody
from app.services.idempotency import once

MOST_KEYS = 200
SHOWN_CHARS = 8


def key_not_found() -> NotFound:
    return NotFound("key_not_found", "There is no such API key.")


class ApiKeyService:
    """`secret` makes the keys of requests that may be repeated."""

    def __init__(self, uow: UowFactory, *, secret: str, forget: Forget = nobody) -> None:
        self._uow = uow
        self._forget = forget
        self._secret = secret

    async def create(self, caller: Caller, request: ApiKeyCreate) -> ApiKeyCreated:
        """Invalid(reserved_name | already_over), Forbidden for a scope that the caller lacks, Conflict(too_many_keys).

        With an Idempotency-Key the API key is computed from it and from the row's id, so that the same answer can be
        given once more although the key is stored nowhere.
        """
        _check(caller, request)
        key_id = new_id()
        key = new_key() if caller.claim is None else self._repeatable(key_id, caller.claim.key)
        values: dict[str, Any] = {
            "id": key_id,
            "name": request.name,
            "prefix": key[:SHOWN_CHARS],
            "key_hash": key_digest(key.encode()),
            "scopes": [*dict.fromkeys(request.scopes)],
            "expires_at": request.expires_at,
        }
        async with self._uow(caller) as uow, once(uow) as answer:
            await uow.api_keys.lock()
            values["created_by"] = await _maker(uow, caller)
            if await uow.api_keys.count() >= MOST_KEYS:
                raise Conflict("too_many_keys", f"There may be {MOST_KEYS} API keys at most; revoke some.")
            row = await uow.api_keys.create(values)
            answer.refer(row.id)
            await uow.audit.record("key.create", "key", row.id)
            return _created(row, key)

    async def repeated(self, caller: Caller, key_id: UUID, idempotency_key: str) -> ApiKeyCreated:
        """As `create` answered. NotFound(gone) when it was revoked since."""
        async with self._uow(caller) as uow:
            row = await uow.api_keys.get(key_id)
        key = self._repeatable(key_id, idempotency_key)
        if row is None or row.key_hash != key_digest(key.encode()):
            raise NotFound("gone", "What this request made has been revoked.")
        return _created(row, key).model_copy(update={"last_used_at": None})

    def _repeatable(self, key_id: UUID, idempotency_key: str) -> str:
        return derived_key(self._secret, str(key_id), idempotency_key)

    async def list_page(self, caller: Caller, paging: Paging) -> tuple[list[ApiKeyOut], int, str | None]:
        """Without those that were revoked."""
        async with self._uow(caller) as uow:
            rows, total, cursor = await uow.api_keys.list_page(paging)
        return [ApiKeyOut.model_validate(row) for row in rows], total, cursor

    async def revoke(self, caller: Caller, key_id: UUID) -> None:
        """It ends within seconds, in every process. NotFound, Conflict(settings_key)."""
        async with self._uow(caller) as uow:
            row = await uow.api_keys.get(key_id)
            if row is None:
                raise key_not_found()
            if row.name == SETTINGS_KEY:
                raise Conflict("settings_key", "This key comes from the setting API_KEY; change it there.")
            if not await _revoke(uow, key_id):
                raise key_not_found()
        self._forget(key_id)


async def revoke_made_by(uow: UnitOfWork, user_id: UUID) -> list[UUID]:
    """The keys that ended. None is made meanwhile that would be left."""
    await uow.api_keys.lock()
    return [key.id for key in await uow.api_keys.made_by(user_id) if await _revoke(uow, key.id)]


async def _revoke(uow: UnitOfWork, key_id: UUID) -> bool:
    if not await uow.api_keys.revoke(key_id):
        return False
    await uow.idempotency.forget(key_id)
    await uow.audit.record("key.revoke", "key", key_id)
    return True


async def _maker(uow: UnitOfWork, caller: Caller) -> UUID | None:
    """The user behind it: what a key makes belongs to whoever made that key, and ends with it. Unauthorized when the
    caller may no longer do this, though it was looked up a moment ago."""
    if caller.user_id is not None:
        user = await uow.users.get(UUID(caller.user_id))
        if user is None or user.role != ADMIN or user.disabled_at is not None:
            raise Unauthorized
        return user.id
    if caller.key_id is None:
        return None
    key = await uow.api_keys.get(caller.key_id)
    if key is None:
        raise Unauthorized
    return key.created_by


def _check(caller: Caller, request: ApiKeyCreate) -> None:
    if request.name == SETTINGS_KEY:
        raise Invalid("reserved_name", "This is the name of the key from the settings.", pointer="/name")
    if request.expires_at is not None and request.expires_at <= datetime.now(UTC):
        raise Invalid("already_over", "The key would have expired already.", pointer="/expires_at")
    if not caller.scopes.issuperset(request.scopes) and "admin" not in caller.scopes:
        raise Forbidden


def _created(row: ApiKey, key: str) -> ApiKeyCreated:
    return ApiKeyCreated(**ApiKeyOut.model_validate(row).model_dump(), key=key)
