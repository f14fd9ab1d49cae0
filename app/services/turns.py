"""A turn's life in the database: begun, followed, cancelled, ended, and ended for it when its process died."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.core.caller import Caller, tenant_caller
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.db.uow import UnitOfWork, UowFactory
from app.languages import detect
from app.models import Turn, TurnEvent
from app.schemas.search import Source
from app.services.forgetting import forget_deleted
from app.services.idempotency import once
from app.services.live_turns import Event, LiveTurn, LiveTurns
from app.services.sessions import session_not_found

FOLLOW_POLL_SECONDS = 0.25
"""For a turn that runs in another process."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a turn is asked. `final_type` names its final message; `client_message_id` makes it happen once."""

    session_id: UUID
    content: str
    lang: str | None = None
    use_rag: bool = True
    top_k: int | None = None
    document_ids: list[UUID] | None = None
    client_message_id: str | None = None
    final_type: str = "assistant_message"


def turn_not_found() -> NotFound:
    return NotFound("turn_not_found", "There is no such turn.")


def turn_in_progress() -> Conflict:
    return Conflict("turn_in_progress", "A turn of this session is running; wait for it or cancel it.")


def make_event(turn_id: UUID, session_id: UUID, seq: int, type_: str, fields: dict[str, Any]) -> Event:
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    head = {
        "type": type_,
        "session_id": str(session_id),
        "turn_id": str(turn_id),
        "seq": seq,
        "timestamp": moment,
    }
    return head | fields


class TurnService:
    def __init__(self, uow: UowFactory, live: LiveTurns) -> None:
        self._uow = uow
        self._live = live

    async def begin(self, caller: Caller, question: Question) -> tuple[UUID, LiveTurn | None]:
        """Commits the user's message and the turn. (id, None) when this message began one before.

        Conflict(code="turn_in_progress") while another turn of the session runs.
        """
        turn_id = new_id()
        async with self._uow(caller) as uow, once(uow) as answer:
            if await uow.sessions.get(question.session_id, for_update=True) is None:
                raise session_not_found()
            if question.client_message_id is not None:
                before = await uow.turns.find(question.session_id, question.client_message_id)
                if before is not None:
                    answer.refer(before.id)
                    return before.id, None
            for dead in await uow.turns.expired(question.session_id):
                await interrupt(uow, dead)
            if await uow.turns.running(question.session_id) is not None:
                raise turn_in_progress()
            started = await self._insert(uow, turn_id, question)
            answer.refer(turn_id)
        live = self._live.open(turn_id, question.session_id)
        live.publish([started])
        return turn_id, live

    async def _insert(self, uow: UnitOfWork, turn_id: UUID, question: Question) -> Event:
        message_id = new_id()
        seq = await uow.sessions.take_seq(question.session_id)
        message = {
            "id": message_id,
            "session_id": question.session_id,
            "turn_id": turn_id,
            "seq": seq,
            "sender": "user",
            "content": question.content,
            "lang": question.lang or detect(question.content),
            "status": "completed",
        }
        await uow.messages.add(message)
        created = await uow.turns.create(
            {
                "id": turn_id,
                "session_id": question.session_id,
                "client_message_id": question.client_message_id,
                "user_message_id": message_id,
                "request": _options(question),
            }
        )
        if not created:
            raise turn_in_progress()
        fields = {"reply_to": question.client_message_id, "user_message_id": str(message_id)}
        started = make_event(turn_id, question.session_id, 1, "turn_started", fields)
        await uow.turns.add_events(turn_id, [(1, "turn_started", started)])
        return started

    async def get(self, caller: Caller, turn_id: UUID) -> Turn:
        async with self._uow(caller) as uow:
            turn = await uow.turns.get(turn_id)
        if turn is None:
            raise turn_not_found()
        return turn

    async def running(self, caller: Caller, session_id: UUID) -> UUID | None:
        async with self._uow(caller) as uow:
            return await uow.turns.running(session_id)

    async def cancel(self, caller: Caller, turn_id: UUID) -> Turn:
        """Asks the turn to stop; one that has ended stays as it is."""
        async with self._uow(caller) as uow:
            turn = await uow.turns.get(turn_id)
            if turn is None:
                raise turn_not_found()
            await uow.turns.request_cancel(turn_id)
        live = self._live.get(turn_id)
        if live is not None:
            live.cancelled.set()
        return turn

    async def follow(self, caller: Caller, turn_id: UUID, after: int = 0) -> AsyncIterator[Event]:
        """Every event after `after`, then what comes, to the last. Also for turns of other processes."""
        await self.get(caller, turn_id)
        live = self._live.get(turn_id)
        if live is not None:
            async for event in live.follow(after):
                yield event
            return
        while True:
            async with self._uow(caller) as uow:
                turn = await uow.turns.get(turn_id)
                rows = await uow.turns.events(turn_id, after)
            for row in rows:
                after = row.seq
                yield row.data
            if turn is None or turn.status != "running":
                return
            await asyncio.sleep(FOLLOW_POLL_SECONDS)

    async def interrupt_expired(self, system: Caller) -> int:
        """Ends every tenant's turns whose process is gone; how many there were."""
        async with self._uow(system) as uow:
            tenants = await uow.turns.tenants_with_expired()
        count = 0
        for tenant_id in tenants:
            async with self._uow(tenant_caller(tenant_id)) as uow:
                dead = await uow.turns.expired()
                for turn in dead:
                    await interrupt(uow, turn)
            count += len(dead)
        return count


def _options(question: Question) -> dict[str, Any]:
    return {
        "use_rag": question.use_rag,
        "top_k": question.top_k,
        "lang": question.lang,
        "document_ids": [str(i) for i in question.document_ids] if question.document_ids is not None else None,
        "final_type": question.final_type,
    }


async def interrupt(uow: UnitOfWork, turn: Turn) -> None:
    """Ends a turn with the text it had: the message, the final events and the turn's row in one transaction."""
    events = await uow.turns.events(turn.id)
    message_id = await _keep_partial(uow, turn, events)
    ended = {"finish_reason": "error", "error_code": "interrupted", "assistant_message_id": message_id}
    await uow.turns.finish(turn.id, ended | {"status": "interrupted"})
    closing = [
        (
            "error",
            error_fields("interrupted", "The answer was interrupted; ask again.", turn.client_message_id),
        ),
        ("done", done_fields("interrupted", "error", message_id)),
    ]
    last = events[-1].seq if events else 0
    made = [(seq, type_, fields) for seq, (type_, fields) in enumerate(closing, start=last + 1)]
    await uow.turns.add_events(
        turn.id,
        [(seq, type_, make_event(turn.id, turn.session_id, seq, type_, fields)) for seq, type_, fields in made],
    )


async def _keep_partial(uow: UnitOfWork, turn: Turn, events: list[TurnEvent]) -> UUID | None:
    text = "".join(event.data["text"] for event in events if event.type == "delta")
    if not text:
        return None
    docs: list[dict[str, Any]] = next((event.data["docs"] for event in events if event.type == "sources"), [])
    message: dict[str, Any] = {
        "id": new_id(),
        "session_id": turn.session_id,
        "turn_id": turn.id,
        "seq": await uow.sessions.take_seq(turn.session_id),
        "sender": "assistant",
        "content": text,
        "status": "interrupted",
        "finish_reason": "error",
    }
    sources = [Source.model_validate(doc) for doc in docs]
    await uow.messages.add(message, [source.model_dump() for source in sources])
    await forget_deleted(uow, {source.document_id for source in sources if source.document_id})
    kept: UUID = message["id"]
    return kept


def error_fields(code: str, message: str, reply_to: str | None, *, retryable: bool = True) -> dict[str, Any]:
    return {
        "code": code,
        "message": message,
        "retryable": retryable,
        "retry_after_ms": None,
        "reply_to": reply_to,
    }


def done_fields(
    status: str,
    finish_reason: str,
    message_id: UUID | None,
    *,
    usage: dict[str, int] | None = None,
    timing: dict[str, float] | None = None,
) -> dict[str, Any]:
    return {
        "status": status,
        "finish_reason": finish_reason,
        "message_id": str(message_id) if message_id else None,
        "usage": usage or {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
        "timing": timing or {},
    }
