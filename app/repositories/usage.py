from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TIMESTAMP, ColumnElement, Date, Integer, Select, Text, and_, cast, func, literal, select, text

from app.core.pseudonyms import ERASED
from app.models import UsageRecord
from app.repositories.base import Repository, rowcount
from app.repositories.paging import Paging

_TOKENS = UsageRecord.input_tokens + UsageRecord.output_tokens
GROUPS: dict[str, ColumnElement[Any]] = {
    "day": func.to_char(func.timezone("UTC", UsageRecord.created_at), "YYYY-MM-DD"),
    "model": UsageRecord.model.expression,
    "user": UsageRecord.user_id.expression,
    "key": cast(UsageRecord.key_id, Text),
    "session": cast(UsageRecord.session_id, Text),
}
SUMS = (
    func.count().label("turns"),
    func.coalesce(func.sum(UsageRecord.input_tokens), 0).label("input_tokens"),
    func.coalesce(func.sum(UsageRecord.output_tokens), 0).label("output_tokens"),
    func.coalesce(func.sum(_TOKENS), 0).label("total_tokens"),
    func.trim_scale(func.sum(UsageRecord.cost)).label("cost"),
    func.coalesce(func.sum(_TOKENS).filter(UsageRecord.cost.is_(None)), 0).label("unpriced_tokens"),
    func.count().filter(UsageRecord.estimated).label("estimated_turns"),
)

ANONYMISE = text("""
UPDATE usage_records SET user_id = :erased WHERE id IN (
    SELECT id FROM usage_records WHERE tenant_id = :tenant AND user_id = :user LIMIT :limit FOR UPDATE
)
""")

PURGE = text("""
DELETE FROM usage_records WHERE id IN (
    SELECT id FROM usage_records WHERE created_at < now() - make_interval(days => :days)
    ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


def _midnight(day: ColumnElement[date]) -> ColumnElement[datetime]:
    return func.timezone("UTC", cast(day, TIMESTAMP))


class UsageRepository(Repository):
    def _owned(self) -> ColumnElement[bool]:
        condition = self._mine(UsageRecord)
        if self._caller.user_id is not None:
            condition = and_(condition, UsageRecord.user_id == self._caller.user_id)
        return condition

    async def today(self) -> date:
        today: date = (await self._session.execute(text("SELECT (now() AT TIME ZONE 'UTC')::date"))).scalar_one()
        return today

    async def anonymise(self, user_id: str, *, limit: int) -> int:
        """The amounts stay, for the tenant's account; how many rows there were."""
        values = {"tenant": self._caller.tenant_id, "user": user_id, "erased": ERASED, "limit": limit}
        return rowcount(await self._session.execute(ANONYMISE, values))

    async def after(self, last_id: UUID, *, user_id: str, limit: int) -> list[UsageRecord]:
        """The user's, in the order of ids."""
        statement = select(UsageRecord).where(self._owned(), UsageRecord.user_id == user_id, UsageRecord.id > last_id)
        return [*(await self._session.execute(statement.order_by(UsageRecord.id).limit(limit))).scalars()]

    async def purge(self, *, days: int, limit: int) -> int:
        """Of every tenant."""
        return rowcount(await self._session.execute(PURGE, {"days": days, "limit": limit}))

    async def overall(self, since: date, until: date) -> dict[str, Any]:
        found = await self._session.execute(self._between(select(*SUMS), since, until))
        return dict(found.mappings().one())

    async def grouped(
        self, group_by: str, since: date, until: date, *, paging: Paging
    ) -> tuple[list[dict[str, Any]], int]:
        """(rows, how many there are in all): days in order, else what used most first."""
        group = GROUPS[group_by].label("group")
        statement = self._between(select(group, *SUMS).group_by(group), since, until)
        total = await self._count(statement)
        order = (group,) if group_by == "day" else (text("total_tokens DESC"), group)
        found = await self._session.execute(statement.order_by(*order).offset(paging.skip).limit(paging.limit))
        return [dict(row) for row in found.mappings()], total

    def _between(self, statement: Select[Any], since: date, until: date) -> Select[Any]:
        """Both days included, as UTC has them."""
        return statement.where(
            self._owned(),
            UsageRecord.created_at >= _midnight(literal(since, Date)),
            UsageRecord.created_at < _midnight(literal(until, Date) + literal(1, Integer)),
        )
