from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from app.core.ids import new_id
from app.models import RefreshToken
from app.repositories.base import Repository, rowcount

PURGE = text("""
DELETE FROM refresh_tokens WHERE id IN (
    SELECT id FROM refresh_tokens WHERE expires_at < now() - interval '1 day'
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


class RefreshTokenRepository(Repository):
    async def add(self, user_id: UUID, family_id: UUID, digest: bytes, *, days: int) -> None:
        expires_at = func.now() + func.make_interval(0, 0, 0, days)
        values = {"user_id": user_id, "family_id": family_id, "token_hash": digest, "expires_at": expires_at}
        await self._session.execute(
            insert(RefreshToken).values(id=new_id(), tenant_id=self._caller.tenant_id, **values)
        )

    async def find(self, digest: bytes) -> RefreshToken | None:
        """Of any tenant, used, revoked and expired ones, too: it is what tells the user."""
        statement = select(RefreshToken).where(RefreshToken.token_hash == digest)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def use(self, token_id: UUID) -> bool:
        """False when it was used or revoked before, or has expired."""
        statement = (
            update(RefreshToken)
            .where(
                RefreshToken.id == token_id,
                self._mine(RefreshToken),
                RefreshToken.used_at.is_(None),
                RefreshToken.revoked_at.is_(None),
                RefreshToken.expires_at > func.now(),
            )
            .values(used_at=func.now())
            .returning(RefreshToken.id)
            .execution_options(synchronize_session=False)
        )
        return (await self._session.execute(statement)).scalar_one_or_none() is not None

    async def was_used(self, token_id: UUID) -> bool:
        statement = select(RefreshToken.used_at).where(RefreshToken.id == token_id, self._mine(RefreshToken))
        return (await self._session.execute(statement)).scalar_one_or_none() is not None

    async def revoke(self, user_id: UUID, family_id: UUID | None = None, *, but: UUID | None = None) -> None:
        """One login of the user, or every one, or every one but this."""
        statement = update(RefreshToken).where(
            self._mine(RefreshToken), RefreshToken.user_id == user_id, RefreshToken.revoked_at.is_(None)
        )
        if family_id is not None:
            statement = statement.where(RefreshToken.family_id == family_id)
        if but is not None:
            statement = statement.where(RefreshToken.family_id != but)
        statement = statement.values(revoked_at=func.now())
        await self._session.execute(statement.execution_options(synchronize_session=False))

    async def forget_expired(self, user_id: UUID) -> None:
        """A day later than they end, so that no access token outlives its login."""
        statement = delete(RefreshToken).where(
            self._mine(RefreshToken),
            RefreshToken.user_id == user_id,
            RefreshToken.expires_at < func.now() - text("interval '1 day'"),
        )
        await self._session.execute(statement.execution_options(synchronize_session=False))

    async def purge(self, *, limit: int) -> int:
        """Of every tenant: those that ended more than a day ago."""
        return rowcount(await self._session.execute(PURGE, {"limit": limit}))
