from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.ids import new_id
from app.models import ApiKey, Tenant
from app.repositories.base import Repository

SETTINGS_KEY = "API_KEY"
"""The name of the key that comes from the settings; at most one in force."""


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

    async def ensure_tenant(self, tenant_id: UUID, name: str) -> None:
        await self._session.execute(insert(Tenant).values(id=tenant_id, name=name).on_conflict_do_nothing())
