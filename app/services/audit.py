"""The audit log, read. It is written by whoever does something, in the transaction that does it."""

from collections.abc import Sequence
from datetime import datetime

from app.core.caller import Caller
from app.db.uow import UowFactory
from app.schemas.exports import AuditEntryOut


class AuditService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def list_newest(
        self, caller: Caller, *, user_id: str | None, object_id: str | None, action: str | None,
        since: datetime | None, limit: int,
    ) -> Sequence[AuditEntryOut]:  # fmt: skip
        """`user_id` finds what a user did and what was done to them, also after they were erased."""
        async with self._uow(caller) as uow:
            rows = await uow.audit.list_newest(
                user_id=user_id, object_id=object_id, action=action, since=since, limit=limit
            )
        return [AuditEntryOut.model_validate(row) for row in rows]
