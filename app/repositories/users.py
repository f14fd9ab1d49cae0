from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from app.models import RefreshToken, User
from app.repositories.base import Repository, rowcount
from app.repositories.paging import Paging

ACTIVE = text("""
SELECT u.role FROM users u
WHERE u.id = :user AND u.tenant_id = :tenant AND u.disabled_at IS NULL AND EXISTS (
    SELECT 1 FROM refresh_tokens t
    WHERE t.family_id = :family AND t.user_id = u.id AND t.tenant_id = :tenant AND t.revoked_at IS NULL
)
""")


class UserRepository(Repository):
    async def insert(self, values: dict[str, Any]) -> User | None:
        """None when there is an account with this e-mail, in any tenant."""
        statement = insert(User).values(**values, tenant_id=self._caller.tenant_id)
        statement = statement.on_conflict_do_nothing(index_elements=[User.email])
        return (await self._session.execute(statement.returning(User))).scalar_one_or_none()

    async def find_by_email(self, email: str) -> User | None:
        """Of any tenant: it is what tells the tenant of who logs in."""
        return (await self._session.execute(select(User).where(User.email == email))).scalar_one_or_none()

    async def get(self, user_id: UUID, *, for_update: bool = False) -> User | None:
        """Logins and refreshes of one user wait for each other's lock."""
        statement = select(User).where(User.id == user_id, self._mine(User))
        if for_update:
            statement = statement.with_for_update(key_share=True).execution_options(populate_existing=True)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def active_role(self, user_id: UUID, family_id: UUID) -> str | None:
        """None when the user is disabled or gone, or this login has ended."""
        values = {"tenant": self._caller.tenant_id, "user": user_id, "family": family_id}
        role: str | None = (await self._session.execute(ACTIVE, values)).scalar_one_or_none()
        return role

    async def list_page(self, paging: Paging) -> tuple[list[User], int, str | None]:
        statement = select(User).where(self._mine(User))
        return await self._newest(statement, User, paging)

    async def lock_admins(self) -> set[UUID]:
        """The tenant's admins who may log in; none is changed by others before this transaction ends."""
        statement = select(User.id).where(self._mine(User), User.role == "admin", User.disabled_at.is_(None))
        return {*(await self._session.execute(statement.order_by(User.id).with_for_update(key_share=True))).scalars()}

    async def note_login(self, user_id: UUID, password_hash: str | None) -> None:
        """With a hash that takes the place of a weaker one."""
        values = {"last_login_at": func.now()} | ({"password_hash": password_hash} if password_hash else {})
        statement = update(User).where(User.id == user_id, self._mine(User)).values(values)
        await self._session.execute(statement.execution_options(synchronize_session=False))

    async def update(self, user_id: UUID, values: dict[str, Any]) -> User | None:
        """Columns, and `disabled`."""
        values = dict(values)
        disabled = values.pop("disabled", None)
        if disabled is not None:
            values["disabled_at"] = func.coalesce(User.disabled_at, func.now()) if disabled else None
        statement = (
            update(User)
            .where(User.id == user_id, self._mine(User))
            .values(**values, updated_at=func.now())
            .returning(User)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def delete(self, user_id: UUID) -> dict[str, int]:
        """How many rows went: refresh tokens go with their user."""
        tokens = select(func.count()).where(RefreshToken.user_id == user_id, self._mine(RefreshToken))
        count: int = (await self._session.execute(tokens)).scalar_one()
        statement = delete(User).where(User.id == user_id, self._mine(User))
        return {"users": rowcount(await self._session.execute(statement)), "refresh_tokens": count}
