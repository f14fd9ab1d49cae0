"""Messages of a session: stored, read by page or cursor, exported."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Invalid
from app.core.ids import new_id
from app.db.uow import UnitOfWork, UowFactory
from app.repositories.paging import Paging
from app.schemas.messages import MessageCreate, MessageOut
from app.schemas.sessions import SessionOut
from app.services.idempotency import once
from app.services.retrieval import require_known
from app.services.sessions import session_not_found

EXPORT_BATCH = 500
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class MessageService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def add(self, caller: Caller, session_id: UUID, request: MessageCreate) -> MessageOut:
        """Stores a message that was made elsewhere, with the passages it used."""
        sources = [
            source.model_dump() | {"n": source.n or position}
            for position, source in enumerate(request.sources, start=1)
        ]
        if len({source["n"] for source in sources}) < len(sources):
            raise Invalid("duplicate_source", "Two sources have the same number.", pointer="/sources")
        values: dict[str, Any] = {
            "id": new_id(),
            "session_id": session_id,
            "sender": request.sender,
            "content": request.content,
            "lang": request.lang,
            "status": "completed",
            "context_metadata": request.context_metadata,
        }
        async with self._uow(caller) as uow, once(uow) as answer:
            seq = await uow.sessions.take_seq(session_id)
            if seq is None:
                raise session_not_found()
            if caller.user_id is not None:
                await _require_readable(uow, request)
            created_at = await uow.messages.add(values | {"seq": seq}, sources)
            answer.refer(values["id"])
            spelled_anew = caller.claim is not None and bool(sources or request.context_metadata)
            if spelled_anew and (row := await uow.messages.get(values["id"])):
                return message_out(row)  # as it will be read when the key comes again
        return message_out(values | {"seq": seq, "created_at": created_at, "sources": sources})

    async def get(self, caller: Caller, message_id: UUID) -> MessageOut | None:
        async with self._uow(caller) as uow:
            row = await uow.messages.get(message_id)
        return message_out(row) if row else None

    async def require(self, caller: Caller, message_id: UUID) -> MessageOut:
        message = await self.get(caller, message_id)
        if message is None:
            raise session_not_found()  # a message goes with its session
        return message

    async def list_page(
        self, caller: Caller, session_id: UUID, paging: Paging, *, descending: bool = False
    ) -> tuple[list[MessageOut], int, str | None]:
        async with self._uow(caller) as uow:
            if await uow.sessions.get(session_id) is None:
                raise session_not_found()
            rows, total, cursor = await uow.messages.list_page(session_id, paging=paging, descending=descending)
        return [message_out(row) for row in rows], total, cursor

    async def export(self, caller: Caller, session_id: UUID) -> tuple[SessionOut, list[MessageOut]]:
        """The whole conversation, oldest first."""
        messages: list[MessageOut] = []
        cursor: str | None = None
        async with self._uow(caller) as uow:
            session = await uow.sessions.get(session_id)
            if session is None:
                raise session_not_found()
            while True:
                rows, _, cursor = await uow.messages.list_page(
                    session_id, paging=Paging(limit=EXPORT_BATCH, cursor=cursor)
                )
                messages += [message_out(row) for row in rows]
                if cursor is None:
                    return SessionOut.model_validate(session), messages


async def _require_readable(uow: UnitOfWork, request: MessageCreate) -> None:
    """A key may bring conversations along whose documents are elsewhere; a user quotes what they can read."""
    named = [source.document_id for source in request.sources if source.document_id is not None]
    require_known(named, await uow.documents.known(named), pointer="/sources")


def message_out(row: dict[str, Any]) -> MessageOut:
    empty = dict.fromkeys(("turn_id", "llm_used", "fallback_reason", "finish_reason", "citations", "usage", "lang"))
    return MessageOut.model_validate(empty | {"context_metadata": None} | row)


def as_json(session: SessionOut, messages: Sequence[MessageOut]) -> str:
    data = session.model_dump(mode="json") | {"messages": [message.model_dump(mode="json") for message in messages]}
    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def as_markdown(session: SessionOut, messages: Sequence[MessageOut]) -> str:
    lines = [f"# {_one_line(session.title or 'Conversation')}", ""]
    for message in messages:
        lines += [f"## {message.seq}. {message.sender} · {message.created_at:%Y-%m-%d %H:%M:%S} UTC", ""]
        lines += [message.content, ""]
        for source in message.sources:
            page = f", page {source.page}" if source.page is not None else ""
            lines.append(f"> [{source.n}] {_one_line(source.title)}{page}")
        if message.sources:
            lines.append("")
    return "\n".join(lines)


def as_csv(_session: SessionOut, messages: Sequence[MessageOut]) -> str:
    """Cells that a spreadsheet would run as a formula get a leading apostrophe (OWASP, CSV injection)."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow(["seq", "created_at", "sender", "content", "sources"])
    for message in messages:
        sources = "; ".join(
            f"[{s.n}] {s.title}" + (f" p. {s.page}" if s.page is not None else "") for s in message.sources
        )
        row = [message.seq, message.created_at.isoformat(), message.sender, message.content, sources]
        writer.writerow([_safe_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return output.getvalue()


def _safe_cell(cell: str) -> str:
    return "'" + cell if cell.lstrip(" ").startswith(FORMULA_STARTS) else cell


def _one_line(text: str) -> str:
    return " ".join(text.split())
