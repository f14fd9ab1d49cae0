from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, insert, select, text, update

from app.models import ChatSession, Message, MessageSource
from app.repositories.base import Repository
from app.repositories.paging import Paging, decode_seq, encode_cursor

MESSAGE_COLUMNS = (
    Message.id,
    Message.session_id,
    Message.turn_id,
    Message.seq,
    Message.sender,
    Message.content,
    Message.lang,
    Message.status,
    Message.llm_used,
    Message.fallback_reason,
    Message.finish_reason,
    Message.citations,
    Message.context_metadata,
    Message.usage,
    Message.created_at,
)
SOURCE_KEYS = (
    "n", "document_id", "document_version", "chunk_id", "chunk_index", "title", "page", "char_start", "char_end",
    "text", "score", "lang", "url",
)  # fmt: skip


BEFORE_TURN = text("""
SELECT m.sender, m.content, m.status FROM turns t
JOIN messages asked ON asked.id = t.user_message_id
JOIN messages m ON m.session_id = asked.session_id AND m.seq < asked.seq
WHERE t.id = :turn AND t.tenant_id = :tenant
  AND m.sender IN ('user', 'assistant') AND m.status <> 'failed'
ORDER BY m.seq DESC LIMIT :limit
""")

CITING = text("""
SELECT m.id, m.turn_id, m.status, m.content, array_agg(s.n) AS numbers
FROM message_sources s JOIN messages m ON m.id = s.message_id
WHERE s.tenant_id = :tenant AND s.document_id = :document AND (s.text IS NOT NULL OR s.title <> :forgotten)
GROUP BY m.id ORDER BY m.id LIMIT :limit
""")

ADD = insert(Message.__table__).returning(Message.__table__.c.created_at)  # type: ignore[arg-type]
"""Made once, and about the table instead of the class: the ORM would take four times as long."""


class MessageRepository(Repository):
    """Core statements, not ORM objects: these two are what every client calls all day."""

    def _owned(self) -> ColumnElement[bool]:
        condition = self._mine(Message)
        if self._caller.user_id is not None:
            mine = select(ChatSession.id).where(
                ChatSession.id == Message.session_id, ChatSession.user_id == self._caller.user_id
            )
            condition = and_(condition, mine.exists())
        return condition

    async def add(self, values: dict[str, Any], sources: Sequence[dict[str, Any]] = ()) -> Any:
        """Stores a message and the snapshots of its passages; returns `created_at`.

        The session's number must have been taken in the same transaction (`sessions.take_seq`).
        """
        tenant = self._caller.tenant_id
        created_at = (await self._session.execute(ADD, values | {"tenant_id": tenant})).scalar_one()
        if sources:
            rows = [
                {key: source.get(key) for key in SOURCE_KEYS} | {"tenant_id": tenant, "message_id": values["id"]}
                for source in sources
            ]
            await self._session.execute(insert(MessageSource), rows)
        return created_at

    async def get(self, message_id: UUID) -> dict[str, Any] | None:
        rows = await self._rows(self._select().where(Message.id == message_id))
        return rows[0] if rows else None

    async def list_page(
        self, session_id: UUID, *, paging: Paging, descending: bool = False
    ) -> tuple[list[dict[str, Any]], int, str | None]:
        """Strictly by seq: (messages with their sources, total, next cursor)."""
        statement = self._select().where(Message.session_id == session_id)
        total = await self._count(select(Message.id).where(self._owned(), Message.session_id == session_id))
        if paging.cursor is not None:
            seq = decode_seq(paging.cursor)
            statement = statement.where(Message.seq < seq if descending else Message.seq > seq)
        order = Message.seq.desc() if descending else Message.seq
        rows = await self._rows(statement.order_by(order).offset(paging.skip).limit(paging.limit + 1))
        more = len(rows) > paging.limit
        rows = rows[: paging.limit]
        return rows, total, encode_cursor(rows[-1]["seq"]) if more else None

    async def after(self, session_id: UUID, seq: int, *, limit: int) -> list[dict[str, Any]]:
        """Messages of a session with their sources, in order, from behind `seq`."""
        statement = self._select().where(Message.session_id == session_id, Message.seq > seq)
        return await self._rows(statement.order_by(Message.seq).limit(limit))

    async def before_turn(self, turn_id: UUID, *, limit: int) -> list[dict[str, Any]]:
        """sender, content and status of what people and assistants said before the turn's question, oldest first."""
        values = {"tenant": self._caller.tenant_id, "turn": turn_id, "limit": limit}
        rows = (await self._session.execute(BEFORE_TURN, values)).mappings()
        return [dict(row) for row in rows][::-1]

    def _select(self) -> Select[Any]:
        return select(*MESSAGE_COLUMNS).where(self._owned())

    async def _rows(self, statement: Select[Any]) -> list[dict[str, Any]]:
        messages = [dict(row) for row in (await self._session.execute(statement)).mappings()]
        sources = await self._sources([message["id"] for message in messages])
        for message in messages:
            message["sources"] = sources.get(message["id"], [])
        return messages

    async def _sources(self, message_ids: list[UUID]) -> dict[UUID, list[dict[str, Any]]]:
        if not message_ids:
            return {}
        columns = [getattr(MessageSource, key) for key in SOURCE_KEYS]
        statement = (
            select(MessageSource.message_id, *columns)
            .where(MessageSource.message_id.in_(message_ids), self._mine(MessageSource))
            .order_by(MessageSource.message_id, MessageSource.n)
        )
        grouped: dict[UUID, list[dict[str, Any]]] = {}
        for row in (await self._session.execute(statement)).mappings():
            source = dict(row)
            grouped.setdefault(source.pop("message_id"), []).append(source)
        return grouped

    async def citing(self, document_id: UUID, *, forgotten: str, limit: int) -> list[dict[str, Any]]:
        """Messages with a snapshot of the document: id, turn_id, status, content, numbers of its sources. Snapshots
        without text and of the title `forgotten` do not count."""
        values = {"tenant": self._caller.tenant_id, "document": document_id, "limit": limit, "forgotten": forgotten}
        return [dict(row) for row in (await self._session.execute(CITING, values)).mappings()]

    async def set_content(self, message_id: UUID, content: str) -> None:
        statement = update(Message).where(Message.id == message_id, self._mine(Message)).values(content=content)
        await self._session.execute(statement.execution_options(synchronize_session=False))

    async def forget_sources(self, message_ids: Sequence[UUID], document_id: UUID, *, title: str) -> None:
        """Snapshots of the document keep its id and place, and lose text and title."""
        statement = (
            update(MessageSource)
            .where(
                MessageSource.message_id.in_(message_ids),
                MessageSource.document_id == document_id,
                self._mine(MessageSource),
            )
            .values(text=None, title=title)
        )
        await self._session.execute(statement.execution_options(synchronize_session=False))
