from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from app.core.ids import new_id
from app.models import ApiKey, Tenant
from app.repositories.base import Repository, rowcount
from app.repositories.paging import Paging

SETTINGS_KEY = "API_KEY"
"""The name of the key that comes from the settings; at most one in force."""

PURGE = text("""
DELETE FROM api_keys WHERE id IN (
    SELECT id FROM api_keys WHERE least(revoked_at, expires_at) < now() - make_interval(days => :days)
    LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


class ApiKeyRepository(Repository):
    async def find(self, digest: bytes) -> ApiKey | None:
        """The key in force with this digest, of any tenant: it is what tells the tenant."""
        statement = select(ApiKey).where(
            ApiKey.key_hash == digest,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def put_settings_key(self, digest: bytes, *, prefix: str, scopes: list[str]) -> None:
        """Makes this the key from the settings; the one before it ends."""
        tenant = self._caller.tenant_id
        await self._session.execute(
            update(ApiKey)
            .where(ApiKey.name == SETTINGS_KEY, ApiKey.tenant_id == tenant, ApiKey.key_hash != digest)
            .values(revoked_at=func.now())
            .where(ApiKey.revoked_at.is_(None))
        )
        row = insert(ApiKey).values(
            id=new_id(), tenant_id=tenant, name=SETTINGS_KEY, prefix=prefix, key_hash=digest, scopes=scopes
        )
        await self._session.execute(
            row.on_conflict_do_update(index_elements=[ApiKey.key_hash], set_={"revoked_at": None, "scopes": scopes})
        )

    async def purge(self, *, days: int, limit: int) -> int:
        """Of every tenant: keys that were revoked, or have expired, so long ago."""
        return rowcount(await self._session.execute(PURGE, {"days": days, "limit": limit}))

    async def ensure_tenant(self, tenant_id: UUID, name: str) -> None:
        await self._session.execute(insert(Tenant).values(id=tenant_id, name=name).on_conflict_do_nothing())

    async def lock(self) -> None:
        """Nobody else makes a key of the tenant before this transaction ends."""
        tenant = select(Tenant.id).where(Tenant.id == self._caller.tenant_id)
        await self._session.execute(tenant.with_for_update(key_share=True))

    async def count(self) -> int:
        """How many the tenant has that are not revoked."""
        return await self._count(select(ApiKey.id).where(self._mine(ApiKey), ApiKey.revoked_at.is_(None)))

    async def create(self, values: dict[str, Any]) -> ApiKey:
        statement = insert(ApiKey).values(**values, tenant_id=self._caller.tenant_id).returning(ApiKey)
        return (await self._session.execute(statement)).scalar_one()

    async def get(self, key_id: UUID) -> ApiKey | None:
        """None when it was revoked."""
        statement = select(ApiKey).where(ApiKey.id == key_id, self._mine(ApiKey), ApiKey.revoked_at.is_(None))
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def list_page(self, paging: Paging) -> tuple[list[ApiKey], int, str | None]:
        """Those that are not revoked, newest first."""
        statement = select(ApiKey).where(self._mine(ApiKey), ApiKey.revoked_at.is_(None))
        return await self._newest(statement, ApiKey, paging)

    async def revoke(self, key_id: UUID) -> bool:
        statement = (
            update(ApiKey)
            .where(ApiKey.id == key_id, self._mine(ApiKey), ApiKey.revoked_at.is_(None))
            .values(revoked_at=func.now())
            .returning(ApiKey.id)
            .execution_options(synchronize_session=False)
        )
        return (await self._session.execute(statement)).scalar_one_or_none() is not None

    async def note_use(self, key_id: UUID) -> None:
        """Once a minute at the most, whoever else notes it."""
        statement = (
            update(ApiKey)
            .where(
                ApiKey.id == key_id,
                self._mine(ApiKey),
                or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - text("interval '60 seconds'")),
            )
            .values(last_used_at=func.now())
        )
        await self._session.execute(statement.execution_options(synchronize_session=False))

    async def made_by(self, user_id: UUID) -> list[ApiKey]:
        """Also those that were revoked."""
        statement = select(ApiKey).where(ApiKey.created_by == user_id, self._mine(ApiKey)).order_by(ApiKey.id)
        return [*(await self._session.execute(statement)).scalars()]

    async def delete(self, key_ids: list[UUID]) -> int:
        statement = delete(ApiKey).where(ApiKey.id.in_(key_ids), self._mine(ApiKey))
        return rowcount(await self._session.execute(statement.execution_options(synchronize_session=False)))
