"""What every repository has: the transaction's session, and the caller whose rows alone it touches."""

from typing import Any

from sqlalchemy import ColumnElement, Result, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.caller import Caller
from app.repositories.paging import Paging, decode_position, encode_cursor


class Repository:
    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self._session = session
        self._caller = caller

    def _mine(self, table: Any) -> ColumnElement[bool]:
        """The tenant's rows. Nouns that belong to a person narrow it further."""
        condition: ColumnElement[bool] = table.tenant_id == self._caller.tenant_id
        return condition

    async def _count(self, statement: Select[Any]) -> int:
        counted = select(func.count()).select_from(statement.order_by(None).subquery())
        return (await self._session.execute(counted)).scalar_one()

    async def _newest(self, statement: Select[Any], table: Any, paging: Paging) -> tuple[list[Any], int, str | None]:
        """A page of `table`, newest first: (rows, total, next cursor)."""
        total = await self._count(statement)
        if paging.cursor is not None:
            moment, last_id = decode_position(paging.cursor)
            statement = statement.where(tuple_(table.created_at, table.id) < tuple_(moment, last_id))
        statement = statement.order_by(table.created_at.desc(), table.id.desc())
        found = await self._session.execute(statement.offset(paging.skip).limit(paging.limit + 1))
        rows = [*found.scalars()]
        more = len(rows) > paging.limit
        rows = rows[: paging.limit]
        return rows, total, encode_cursor(rows[-1].created_at, rows[-1].id) if more else None


def rowcount(result: Result[Any]) -> int:
    """How many rows a statement without RETURNING has changed."""
    return int(result.rowcount)  # type: ignore[attr-defined]


def like_pattern(text: str) -> str:
    """`text` taken literally anywhere inside; used with ESCAPE '\\'."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
