"""Everything that is stored about a user, as one JSON document in pieces: no more than a page of it is in memory, and
no connection is held while a client reads. What changes meanwhile may be in it or not.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from app.core.caller import Caller
from app.core.pseudonyms import user_label
from app.db.uow import UnitOfWork, UowFactory
from app.models import AuditEntry, ChatSession, Document, UsageRecord
from app.schemas.api_keys import ApiKeyOut
from app.schemas.exports import ExportedDocument, ExportedEvent, ExportedMessage, ExportedTurn, ExportedUsage
from app.schemas.feedback import FeedbackOut
from app.schemas.sessions import SessionOut
from app.services.documents import document_out
from app.services.messages import message_out
from app.services.users import user_not_found, user_out

FORMAT = "ragchat.export.v1"
FIRST_ID = UUID(int=0)
ROWS = 100
PIECE_CHARS = 1 << 16
OTHERS = {"user": "an administrator", "key": "an API key"}
"""How an export calls whoever did something with the user: their id is theirs."""
KEYS = TypeAdapter(list[ApiKeyOut])
Row = TypeVar("Row")
Page = Callable[[UnitOfWork, Any], Awaitable[Sequence[Row]]]


class ExportService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def begin(self, caller: Caller, user_id: str) -> AsyncIterator[str]:
        """The pieces. That somebody asked for them is in the audit log when this returns. NotFound(user_not_found) when
        nothing is left of them."""
        async with self._uow(caller) as uow:
            if not (await uow.erasures.is_known(user_id) or await uow.audit.is_known(user_id)):
                raise user_not_found()
            await uow.audit.record("user.export", "user", user_id)
        return Export(self._uow, caller, user_id).pieces()

    async def documents(self, caller: Caller, user_id: str) -> AsyncIterator[Document]:
        """The user's own, for whoever wants the files, too."""
        async for document in Export(self._uow, caller, user_id).documents():
            yield document


class Export:
    def __init__(self, uow: UowFactory, caller: Caller, user_id: str) -> None:
        self._uow = uow
        self._caller = caller
        self._user_id = user_id

    async def pieces(self) -> AsyncIterator[str]:
        """Joined to pieces of some size: each is a message of its own on its way to the client."""
        waiting: list[str] = []
        size = 0
        async for piece in self._whole():
            waiting.append(piece)
            size += len(piece)
            if size >= PIECE_CHARS:
                yield "".join(waiting)
                waiting, size = [], 0
        yield "".join(waiting)

    async def _whole(self) -> AsyncIterator[str]:
        head = {"format": FORMAT, "exported_at": datetime.now(UTC).isoformat(), "user_id": self._user_id}
        yield json.dumps(head, ensure_ascii=False)[:-1]
        async for piece in self._account():
            yield piece
        async for piece in self._sessions():
            yield piece
        for name, items in (
            ("documents", self._documents()),
            ("usage", self._usage()),
            ("events", self._events()),
        ):
            async for piece in _array(name, items):
                yield piece
        yield "}\n"

    async def _rows(self, page: "Page[Row]", first: Any, position: Callable[[Row], Any]) -> AsyncIterator[Row]:
        """A transaction for each page."""
        after = first
        while True:
            async with self._uow(self._caller) as uow:
                rows = await page(uow, after)
            for row in rows:
                yield row
            if len(rows) < ROWS:
                return
            after = position(rows[-1])

    async def _account(self) -> AsyncIterator[str]:
        """None of a user that only the calling system knows."""
        with contextlib.suppress(ValueError):
            id_ = UUID(self._user_id)
            async with self._uow(self._caller) as uow:
                user, keys = await uow.users.get(id_), await uow.api_keys.made_by(id_)
            if user is not None:
                yield ',"account":' + user_out(user).model_dump_json()
                yield ',"api_keys":' + KEYS.dump_json([ApiKeyOut.model_validate(key) for key in keys]).decode()
                return
        yield ',"account":null,"api_keys":[]'

    async def _sessions(self) -> AsyncIterator[str]:
        async def page(uow: UnitOfWork, after: UUID) -> Sequence[ChatSession]:
            return await uow.sessions.after(after, user_id=self._user_id, limit=ROWS)

        mark = ',"sessions":['
        async for session in self._rows(page, FIRST_ID, lambda row: row.id):
            yield mark + SessionOut.model_validate(session).model_dump_json()[:-1]
            async for piece in _array("messages", self._messages(session.id)):
                yield piece
            async for piece in _array("turns", self._turns(session.id)):
                yield piece
            mark = "},"
        yield "}]" if mark == "}," else mark + "]"

    async def _messages(self, session_id: UUID) -> AsyncIterator[BaseModel]:
        async def page(uow: UnitOfWork, after: int) -> Sequence[ExportedMessage]:
            rows = await uow.messages.after(session_id, after, limit=ROWS)
            said = await uow.feedback.of([row["id"] for row in rows])
            feedback = {each.message_id: FeedbackOut.model_validate(each) for each in said}
            return [ExportedMessage(**message_out(row).model_dump(), feedback=feedback.get(row["id"])) for row in rows]

        async for message in self._rows(page, 0, lambda row: row.seq):
            yield message

    async def _turns(self, session_id: UUID) -> AsyncIterator[BaseModel]:
        async def page(uow: UnitOfWork, after: UUID) -> Sequence[ExportedTurn]:
            rows = await uow.turns.after(after, session_id=session_id, limit=ROWS)
            return [ExportedTurn.model_validate(row) for row in rows]

        async for turn in self._rows(page, FIRST_ID, lambda row: row.id):
            yield turn

    async def documents(self) -> AsyncIterator[Document]:
        async def page(uow: UnitOfWork, after: UUID) -> Sequence[Document]:
            return await uow.documents.owned_by(self._user_id, after=after, limit=ROWS)

        async for document in self._rows(page, FIRST_ID, lambda row: row.id):
            yield document

    async def _documents(self) -> AsyncIterator[BaseModel]:
        async for document in self.documents():
            url = f"/api/v1/documents/{document.id}/content"
            yield ExportedDocument(**document_out(document).model_dump(), content_url=url)

    async def _usage(self) -> AsyncIterator[BaseModel]:
        async def page(uow: UnitOfWork, after: UUID) -> Sequence[UsageRecord]:
            return await uow.usage.after(after, user_id=self._user_id, limit=ROWS)

        async for record in self._rows(page, FIRST_ID, lambda row: row.id):
            yield ExportedUsage.model_validate(record)

    async def _events(self) -> AsyncIterator[BaseModel]:
        async def page(uow: UnitOfWork, after: UUID) -> Sequence[AuditEntry]:
            return await uow.audit.about(self._user_id, after=after, limit=ROWS)

        async for entry in self._rows(page, FIRST_ID, lambda row: row.id):
            yield self._event(entry)

    def _event(self, entry: AuditEntry) -> ExportedEvent:
        """Where somebody else acted, or somebody else was acted upon, this is not the place to tell who."""
        event, label = ExportedEvent.model_validate(entry), user_label(self._caller.tenant_id, self._user_id)
        kind, _, id_ = event.actor.partition(":")
        theirs = {"actor": OTHERS.get(kind, kind), "ip": None, "request_id": None} if id_ != label else {}
        if event.object_type == "user" and event.object_id != label:
            theirs["object_id"] = None
        return event.model_copy(update=theirs)


async def _array(name: str, items: AsyncIterator[BaseModel]) -> AsyncIterator[str]:
    mark = f',"{name}":['
    async for item in items:
        yield mark + item.model_dump_json()
        mark = ","
    yield "]" if mark == "," else mark + "]"
