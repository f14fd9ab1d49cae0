from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, insert, or_, select, text

from app.core.audit import Action, ObjectType, Outcome, origin
from app.core.caller import Caller
from app.core.ids import new_id
from app.core.pseudonyms import user_label
from app.models import AuditEntry
from app.repositories.base import Repository

PURGE = text("SELECT audit_log_purge(:days, :limit)")


class AuditRepository(Repository):
    async def record(
        self,
        action: Action,
        object_type: ObjectType | None = None,
        object_id: str | UUID | None = None,
        *,
        outcome: Outcome = "ok",
        by: Caller | None = None,
    ) -> None:
        """In the transaction of what it tells. `by` for a unit of work that acts in somebody's place."""
        caller, came = by or self._caller, origin.get()
        if object_type == "user" and object_id is not None:
            object_id = user_label(self._caller.tenant_id, str(object_id))
        values = {
            "id": new_id(),
            "tenant_id": self._caller.tenant_id,
            "actor": _actor(caller, came.actor),
            "action": action,
            "object_type": object_type,
            "object_id": None if object_id is None else str(object_id),
            "outcome": outcome,
            "ip": came.network,
            "request_id": came.request_id,
        }
        await self._session.execute(insert(AuditEntry).values(values))

    async def list_newest(
        self, *, user_id: str | None, object_id: str | None, action: str | None, since: datetime | None, limit: int
    ) -> Sequence[AuditEntry]:
        """Of the tenant."""
        statement = select(AuditEntry).where(self._mine(AuditEntry))
        if user_id is not None:
            statement = statement.where(self._about(user_id))
        if object_id is not None:
            statement = statement.where(AuditEntry.object_id == object_id)
        if action is not None:
            statement = statement.where(AuditEntry.action == action)
        if since is not None:
            statement = statement.where(AuditEntry.at >= since)
        return [*(await self._session.execute(statement.order_by(AuditEntry.id.desc()).limit(limit))).scalars()]

    async def about(self, user_id: str, *, after: UUID, limit: int) -> Sequence[AuditEntry]:
        """In the order of ids."""
        statement = select(AuditEntry).where(self._mine(AuditEntry), AuditEntry.id > after, self._about(user_id))
        return [*(await self._session.execute(statement.order_by(AuditEntry.id).limit(limit))).scalars()]

    async def is_known(self, user_id: str) -> bool:
        """Whether it tells of them anything but that somebody asked for a copy."""
        statement = select(AuditEntry.id).where(
            self._mine(AuditEntry), self._about(user_id), AuditEntry.action != "user.export"
        )
        return (await self._session.execute(statement.limit(1))).scalar_one_or_none() is not None

    def _about(self, user_id: str) -> ColumnElement[bool]:
        """What the user did, and what was done with them."""
        label = user_label(self._caller.tenant_id, user_id)
        with_them = and_(AuditEntry.object_type == "user", AuditEntry.object_id == label)
        return or_(AuditEntry.actor == f"user:{label}", with_them)

    async def purge(self, *, days: int, limit: int) -> int:
        """Of every tenant. The database removes nothing that is younger than a year, whatever `days` says."""
        return int((await self._session.execute(PURGE, {"days": days, "limit": limit})).scalar_one())


def _actor(caller: Caller, otherwise: str) -> str:
    if caller.key_id is not None:
        return f"key:{caller.key_id}"
    if caller.user_id is not None:
        return f"user:{user_label(caller.tenant_id, caller.user_id)}"
    return otherwise
