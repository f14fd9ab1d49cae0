from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, text, tuple_, update

from app.models import ChatSession
from app.repositories.base import Repository, like_pattern
from app.repositories.paging import Paging, decode_position, encode_cursor

# What every message and turn begins with: written out, as building them would cost more than the database does.
LOCK = text("""
SELECT user_id FROM chat_sessions
WHERE id = :session AND tenant_id = :tenant AND (CAST(:user AS text) IS NULL OR user_id = :user) FOR UPDATE
""")
LOCK_IF_FREE = text(f"{LOCK.text} SKIP LOCKED")
TAKE_SEQ = text("""
UPDATE chat_sessions SET next_seq = next_seq + CAST(:count AS int), last_activity_at = now()
WHERE id = :session AND tenant_id = :tenant AND (CAST(:user AS text) IS NULL OR user_id = :user)
RETURNING next_seq - CAST(:count AS int)
""")

CONTENTS = text("""
SELECT (SELECT count(*) FROM messages WHERE session_id = ANY(s.ids)) AS messages,
       (SELECT count(*) FROM message_sources x JOIN messages m ON m.id = x.message_id WHERE m.session_id = ANY(s.ids))
           AS message_sources,
       (SELECT count(*) FROM feedback f JOIN messages m ON m.id = f.message_id WHERE m.session_id = ANY(s.ids))
           AS feedback,
       (SELECT count(*) FROM turns WHERE session_id = ANY(s.ids)) AS turns,
       (SELECT count(*) FROM turn_events e JOIN turns t ON t.id = e.turn_id WHERE t.session_id = ANY(s.ids))
           AS turn_events
FROM (SELECT CAST(:ids AS uuid[]) AS ids) AS s
""")


class SessionRepository(Repository):
    def _owned(self) -> ColumnElement[bool]:
        condition = self._mine(ChatSession)
        if self._caller.user_id is not None:
            condition = and_(condition, ChatSession.user_id == self._caller.user_id)
        return condition

    async def create(self, session: ChatSession) -> ChatSession:
        session.tenant_id = self._caller.tenant_id
        self._session.add(session)
        await self._session.flush()
        await self._session.refresh(session)
        return session

    async def get(self, session_id: UUID, *, for_update: bool = False) -> ChatSession | None:
        statement = select(ChatSession).where(ChatSession.id == session_id, self._owned())
        if for_update:
            statement = statement.with_for_update()
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def lock(self, session_id: UUID, *, skip_locked: bool = False) -> str | None:
        """Whose it is, locked for this transaction; None when it is not the caller's. Whoever locks a session and a
        turn of it locks the session first."""
        found = await self._session.execute(LOCK_IF_FREE if skip_locked else LOCK, self._named(session_id))
        return found.scalar_one_or_none()

    def _named(self, session_id: UUID) -> dict[str, Any]:
        return {"session": session_id, "tenant": self._caller.tenant_id, "user": self._caller.user_id}

    async def list_page(
        self,
        *,
        paging: Paging,
        user_id: str | None = None,
        is_favorite: bool | None = None,
        scenario_id: str | None = None,
        q: str | None = None,
    ) -> tuple[list[ChatSession], int, str | None]:
        """Newest activity first: (rows, total, next cursor)."""
        statement = select(ChatSession).where(self._owned())
        if user_id is not None:
            statement = statement.where(ChatSession.user_id == user_id)
        if is_favorite is not None:
            statement = statement.where(ChatSession.is_favorite == is_favorite)
        if scenario_id is not None:
            statement = statement.where(ChatSession.scenario_id == scenario_id)
        if q is not None:
            statement = statement.where(self._says(q))
        total = await self._count(statement)
        rows = await self._page(statement, paging)
        more = len(rows) > paging.limit
        rows = rows[: paging.limit]
        cursor = encode_cursor(rows[-1].last_activity_at, rows[-1].id) if more else None
        return rows, total, cursor

    async def _page(self, statement: Select[ChatSession], paging: Paging) -> list[ChatSession]:
        position = tuple_(ChatSession.last_activity_at, ChatSession.id)
        if paging.cursor is not None:
            moment, last_id = decode_position(paging.cursor)
            statement = statement.where(position < tuple_(moment, last_id))
        statement = statement.order_by(ChatSession.last_activity_at.desc(), ChatSession.id.desc())
        statement = statement.offset(paging.skip).limit(paging.limit + 1)
        return [*(await self._session.execute(statement)).scalars()]

    @staticmethod
    def _says(q: str) -> ColumnElement[bool]:
        """In the title as typed, or all its words in one message: see search_sql.py for why a function looks there."""
        words = func.plainto_tsquery(text("'simple'::regconfig"), q)
        in_messages = ChatSession.id.in_(select(func.ragchat_sessions_saying(words)))
        return or_(ChatSession.title.ilike(like_pattern(q), escape="\\"), in_messages)

    async def update(self, session_id: UUID, values: dict[str, Any]) -> ChatSession | None:
        statement = (
            update(ChatSession)
            .where(ChatSession.id == session_id, self._owned())
            .values(**values, version=ChatSession.version + 1, updated_at=func.now(), last_activity_at=func.now())
            .returning(ChatSession)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def toggle_favorite(self, session_id: UUID) -> ChatSession | None:
        statement = (
            update(ChatSession)
            .where(ChatSession.id == session_id, self._owned())
            .values(is_favorite=~ChatSession.is_favorite, version=ChatSession.version + 1, updated_at=func.now())
            .returning(ChatSession)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def delete(self, session_id: UUID) -> bool:
        statement = delete(ChatSession).where(ChatSession.id == session_id, self._owned()).returning(ChatSession.id)
        return (await self._session.execute(statement)).scalar_one_or_none() is not None

    async def lock_of(self, user_id: str, *, limit: int) -> list[UUID]:
        """Some of the user's sessions, locked for this transaction."""
        statement = select(ChatSession.id).where(self._owned(), ChatSession.user_id == user_id)
        statement = statement.order_by(ChatSession.id).limit(limit).with_for_update()
        return [*(await self._session.execute(statement)).scalars()]

    async def after(self, last_id: UUID, *, user_id: str, limit: int) -> list[ChatSession]:
        """The user's, in the order of ids."""
        statement = select(ChatSession).where(self._owned(), ChatSession.user_id == user_id, ChatSession.id > last_id)
        return [*(await self._session.execute(statement.order_by(ChatSession.id).limit(limit))).scalars()]

    async def delete_many(self, session_ids: list[UUID]) -> dict[str, int]:
        """Those that this transaction has locked; what went with them, by table."""
        counts = (await self._session.execute(CONTENTS, {"ids": session_ids})).mappings().one()
        statement = delete(ChatSession).where(ChatSession.id.in_(session_ids), self._owned()).returning(ChatSession.id)
        deleted = [*(await self._session.execute(statement)).scalars()]
        return {"sessions": len(deleted), **counts}

    async def take_seq(self, session_id: UUID, count: int = 1) -> int | None:
        """The first of `count` message numbers, under the session's row lock; None when it is not the caller's.

        A PostgreSQL SEQUENCE would not do: numbers could become visible out of order, and readers by cursor would
        skip rows.
        """
        values = self._named(session_id) | {"count": count}
        return (await self._session.execute(TAKE_SEQ, values)).scalar_one_or_none()
