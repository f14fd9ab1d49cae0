from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, and_, bindparam, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from app.models import ChatSession, Message, Turn
from app.repositories.base import Repository

LEASE_SECONDS = 12
"""A process that runs a turn renews it well within this; past it the turn counts as interrupted. With the pause between
two looks for such turns it must stay well under the 30 seconds that are promised."""

_TURNS = Turn.__table__
_LEASE = func.now() + text(f"interval '{LEASE_SECONDS} seconds'")
# Made once, and about the table instead of the class: the ORM would take four times as long.
CREATE = (
    pg_insert(_TURNS).values(lease_until=_LEASE).on_conflict_do_nothing().returning(_TURNS.c.id)  # type: ignore[arg-type]
)

FORGET_QUERIES = text("""
UPDATE turns SET trace = trace - 'query'
WHERE tenant_id = :tenant AND trace ? 'query' AND trace->>'query' IS DISTINCT FROM trace->>'question'
  AND session_id IN (SELECT session_id FROM messages WHERE tenant_id = :tenant AND id = ANY(:messages))
""")

LOOK = text("""
SELECT id, cancel_requested FROM turns
WHERE tenant_id = :tenant AND id = ANY(CAST(:turns AS uuid[])) AND status = 'running' AND lease_token = :holder
""")

FINISH = (
    update(_TURNS)  # type: ignore[arg-type]
    .where(_TURNS.c.id == bindparam("turn"), _TURNS.c.tenant_id == bindparam("tenant"), _TURNS.c.status == "running")
    .where(or_(bindparam("holder", type_=Uuid()).is_(None), _TURNS.c.lease_token == bindparam("holder", type_=Uuid())))
    .values(finished_at=func.now())
    .returning(_TURNS.c.id)
)

EXPIRED = text("""
SELECT id FROM turns
WHERE session_id = :session AND tenant_id = :tenant AND status = 'running' AND lease_until <= now()
FOR UPDATE SKIP LOCKED
""")

RENEW = text("""
UPDATE turns SET lease_until = now() + make_interval(secs => :seconds)
WHERE tenant_id = :tenant AND id = ANY(CAST(:turns AS uuid[])) AND status = 'running' AND lease_token = :holder
""")


@dataclass(frozen=True, slots=True)
class TurnState:
    session_id: UUID
    status: str
    delta_ends: list[int] | None
    content: str | None
    """The answer's, once the turn's deltas are gone."""


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
        found = await self._session.execute(CREATE, values | {"tenant_id": self._caller.tenant_id})
        return found.scalar_one_or_none() is not None

    async def get(self, turn_id: UUID) -> Turn | None:
        """As it is now, also when it was read before in this transaction."""
        statement = select(Turn).where(Turn.id == turn_id, self._owned())
        statement = statement.execution_options(populate_existing=True)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def lock(self, turn_id: UUID, holder: UUID) -> Turn | None:
        """None when it is no longer running, or not held by `holder`."""
        statement = select(Turn).where(
            Turn.id == turn_id, Turn.status == "running", Turn.lease_token == holder, self._owned()
        )
        return (await self._session.execute(statement.with_for_update())).scalar_one_or_none()

    async def find(self, session_id: UUID, client_message_id: str) -> UUID | None:
        """The turn that this message of the client's began."""
        statement = select(Turn.id).where(
            Turn.session_id == session_id, Turn.client_message_id == client_message_id, self._owned()
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def state(self, turn_id: UUID) -> TurnState | None:
        """What following needs to know; None when it is not the caller's."""
        content = select(Message.content).where(Message.id == Turn.assistant_message_id, Turn.delta_ends.is_not(None))
        statement = select(Turn.session_id, Turn.status, Turn.delta_ends, content.scalar_subquery()).where(
            Turn.id == turn_id, self._owned()
        )
        row = (await self._session.execute(statement)).one_or_none()
        return TurnState(*row) if row else None

    async def last_retry(self, turn_id: UUID) -> Turn | None:
        statement = select(Turn).where(Turn.retry_of == turn_id, self._mine(Turn)).order_by(Turn.id.desc()).limit(1)
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

    async def after(self, last_id: UUID, *, session_id: UUID, limit: int) -> list[Turn]:
        """Of a session, in the order of ids."""
        statement = select(Turn).where(Turn.session_id == session_id, Turn.id > last_id, self._owned())
        return [*(await self._session.execute(statement.order_by(Turn.id).limit(limit))).scalars()]

    async def running_of(self, user_id: str) -> list[UUID]:
        """The turns that run in the user's sessions."""
        statement = select(Turn.id).join(ChatSession, ChatSession.id == Turn.session_id)
        statement = statement.where(Turn.status == "running", ChatSession.user_id == user_id, self._owned())
        return [*(await self._session.execute(statement)).scalars()]

    async def running_in(self, session_ids: Sequence[UUID]) -> list[tuple[UUID, UUID, bool]]:
        """(turn, session, whether its process still renews it)."""
        statement = select(Turn.id, Turn.session_id, Turn.lease_until > func.now()).where(
            Turn.session_id.in_(session_ids), Turn.status == "running", self._owned()
        )
        return [(row[0], row[1], row[2]) for row in await self._session.execute(statement)]

    async def expired(self, session_id: UUID) -> list[Turn]:
        """What runs in a session, which must be locked, although its process is gone; locked, too."""
        of = {"session": session_id, "tenant": self._caller.tenant_id}
        ids = [*(await self._session.execute(EXPIRED, of)).scalars()]
        if not ids:  # mostly, and every turn begins with this
            return []
        return [*(await self._session.execute(select(Turn).where(Turn.id.in_(ids), self._owned()))).scalars()]

    async def sessions_with_expired(self) -> list[tuple[UUID, UUID]]:
        """(tenant, session) of all tenants: for the housekeeping, which looks after everybody's turns."""
        statement = select(Turn.tenant_id, Turn.session_id).where(
            Turn.status == "running", Turn.lease_until <= func.now()
        )
        return [(tenant_id, session_id) for tenant_id, session_id in await self._session.execute(statement)]

    async def held(self, holder: UUID, turn_ids: Sequence[UUID], *, renew: bool) -> dict[UUID, bool]:
        """Those that `holder` still holds, and whether somebody has asked for them to stop."""
        values = {"tenant": self._caller.tenant_id, "holder": holder, "turns": [*turn_ids]}
        if renew:
            await self._session.execute(RENEW, values | {"seconds": LEASE_SECONDS})
        return {row.id: row.cancel_requested for row in await self._session.execute(LOOK, values)}

    async def request_cancel(self, turn_id: UUID) -> None:
        """For the process that runs the turn; it looks every second."""
        await self._session.execute(
            update(Turn)
            .where(Turn.id == turn_id, Turn.status == "running", self._mine(Turn))
            .values(cancel_requested=True)
            .execution_options(synchronize_session=False)
        )

    async def finish(self, turn_id: UUID, values: dict[str, Any], *, holder: UUID | None = None) -> bool:
        """False when it is no longer running, or not held by `holder`: somebody else ended it, and nothing may be
        added."""
        of = {"turn": turn_id, "tenant": self._caller.tenant_id, "holder": holder}
        return (await self._session.execute(FINISH, values | of)).scalar_one_or_none() is not None

    async def is_finished_by(self, turn_id: UUID, holder: UUID, status: str) -> bool:
        """Whether an attempt that was not answered went through."""
        statement = select(Turn.id).where(
            Turn.id == turn_id, Turn.status == status, Turn.lease_token == holder, self._mine(Turn)
        )
        return (await self._session.execute(statement)).scalar_one_or_none() is not None

    async def forget_queries(self, message_ids: Sequence[UUID]) -> None:
        """Rewritten questions leave the traces of the messages' sessions; the question as it was asked stays."""
        values = {"tenant": self._caller.tenant_id, "messages": [*message_ids]}
        await self._session.execute(FORGET_QUERIES, values)
