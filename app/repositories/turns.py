from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from app.models import ChatSession, Turn, TurnEvent
from app.repositories.base import Repository

LEASE_SECONDS = 30
"""A process that runs a turn renews it well within this; past it the turn counts as interrupted."""

_LEASE = func.now() + text(f"interval '{LEASE_SECONDS} seconds'")

FORGET_QUERIES = text("""
UPDATE turns SET trace = trace - 'query'
WHERE tenant_id = :tenant AND trace ? 'query' AND trace->>'query' IS DISTINCT FROM trace->>'question'
  AND session_id IN (SELECT session_id FROM messages WHERE tenant_id = :tenant AND id = ANY(:messages))
""")


class TurnRepository(Repository):
    def _owned(self) -> ColumnElement[bool]:
        condition = self._mine(Turn)
        if self._caller.user_id is not None:
            mine = select(ChatSession.id).where(
                ChatSession.id == Turn.session_id, ChatSession.user_id == self._caller.user_id
            )
            condition = and_(condition, mine.exists())
        return condition

    async def create(self, values: dict[str, Any]) -> bool:
        """False when the session has a running turn: a unique index of the database decides."""
        statement = (
            pg_insert(Turn)
            .values(**values, tenant_id=self._caller.tenant_id, lease_until=_LEASE)
            .on_conflict_do_nothing()
            .returning(Turn.id)
        )
        return (await self._session.execute(statement)).scalar_one_or_none() is not None

    async def get(self, turn_id: UUID) -> Turn | None:
        statement = select(Turn).where(Turn.id == turn_id, self._owned())
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def find(self, session_id: UUID, client_message_id: str) -> Turn | None:
        statement = select(Turn).where(
            Turn.session_id == session_id, Turn.client_message_id == client_message_id, self._owned()
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def running(self, session_id: UUID) -> UUID | None:
        """The turn that runs in the session, if its process still renews it."""
        statement = select(Turn.id).where(
            Turn.session_id == session_id,
            Turn.status == "running",
            Turn.lease_until > func.now(),
            self._owned(),
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def expired(self, session_id: UUID | None = None, limit: int = 50) -> list[Turn]:
        """Running turns whose process is gone, locked for this transaction."""
        statement = select(Turn).where(Turn.status == "running", Turn.lease_until <= func.now(), self._owned())
        if session_id is not None:
            statement = statement.where(Turn.session_id == session_id)
        statement = statement.limit(limit).with_for_update(skip_locked=True)
        return [*(await self._session.execute(statement)).scalars()]

    async def tenants_with_expired(self) -> list[UUID]:
        """Of all tenants: for the worker, which looks after everybody's turns."""
        statement = select(Turn.tenant_id).where(Turn.status == "running", Turn.lease_until <= func.now()).distinct()
        return [*(await self._session.execute(statement)).scalars()]

    async def renew(self, turn_id: UUID) -> bool:
        """Whether somebody has asked for the turn to stop."""
        statement = (
            update(Turn)
            .where(Turn.id == turn_id, Turn.status == "running", self._mine(Turn))
            .values(lease_until=_LEASE)
            .returning(Turn.cancel_requested)
            .execution_options(synchronize_session=False)
        )
        return (await self._session.execute(statement)).scalar_one_or_none() is True

    async def request_cancel(self, turn_id: UUID) -> None:
        """For the process that runs the turn; it looks when it renews its lease."""
        await self._session.execute(
            update(Turn)
            .where(Turn.id == turn_id, Turn.status == "running", self._mine(Turn))
            .values(cancel_requested=True)
            .execution_options(synchronize_session=False)
        )

    async def finish(self, turn_id: UUID, values: dict[str, Any]) -> bool:
        """False when it is no longer running: somebody else ended it, and nothing may be added."""
        statement = (
            update(Turn)
            .where(Turn.id == turn_id, Turn.status == "running", self._mine(Turn))
            .values(**values, finished_at=func.now())
            .returning(Turn.id)
            .execution_options(synchronize_session=False)
        )
        return (await self._session.execute(statement)).scalar_one_or_none() is not None

    async def add_events(self, turn_id: UUID, events: Sequence[tuple[int, str, dict[str, Any]]]) -> None:
        """(seq, type, data) in order. The primary key refuses a seq twice."""
        tenant = self._caller.tenant_id
        rows = [
            {"tenant_id": tenant, "turn_id": turn_id, "seq": seq, "type": type_, "data": data}
            for seq, type_, data in events
        ]
        await self._session.execute(insert(TurnEvent), rows)

    async def replace_events(self, turn_id: UUID, events: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """(seq, data): what a client sees that replays them."""
        statement = (
            update(TurnEvent)
            .where(TurnEvent.turn_id == turn_id, TurnEvent.seq == bindparam("at"), self._mine(TurnEvent))
            .values(data=bindparam("new_data"))
            .execution_options(synchronize_session=False)
        )
        connection = await self._session.connection()
        await connection.execute(statement, [{"at": seq, "new_data": data} for seq, data in events])

    async def forget_queries(self, message_ids: Sequence[UUID]) -> None:
        """Rewritten questions leave the traces of the messages' sessions; the question as it was asked stays."""
        values = {"tenant": self._caller.tenant_id, "messages": [*message_ids]}
        await self._session.execute(FORGET_QUERIES, values)

    async def events(self, turn_id: UUID, after: int = 0) -> list[TurnEvent]:
        statement = (
            select(TurnEvent)
            .where(TurnEvent.turn_id == turn_id, TurnEvent.seq > after, self._mine(TurnEvent))
            .order_by(TurnEvent.seq)
        )
        return [*(await self._session.execute(statement)).scalars()]
