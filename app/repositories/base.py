"""What every repository has: the transaction's session, and the caller whose rows alone it touches."""

from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.caller import Caller


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


def like_pattern(text: str) -> str:
    """`text` taken literally anywhere inside; used with ESCAPE '\\'."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
