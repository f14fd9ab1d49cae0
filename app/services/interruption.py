"""The end of a turn whose process cannot end it: it is gone, or could not store what it had to say."""

from typing import Any
from uuid import UUID

from app.core.errors import Kind, RagchatError
from app.core.ids import new_id
from app.db.uow import UnitOfWork
from app.models import Turn, TurnEvent
from app.schemas.search import Source
from app.services.budgets import settle_interrupted
from app.services.forgetting import forget_deleted
from app.services.live_turns import make_frame

RETRYABLE = frozenset({Kind.UNAVAILABLE, Kind.RATE_LIMITED, Kind.CONFLICT, Kind.INTERNAL})
LONGEST_WAIT = 60.0
"""Seconds. What is over later is no reason for a program to try again by itself."""


async def end_dead(uow: UnitOfWork, session_id: UUID) -> int:
    """Ends what a dead process left running in the session, which must be locked; how many turns that were."""
    dead = await uow.turns.expired(session_id)
    for turn in dead:
        await interrupt(uow, turn)
    return len(dead)


async def interrupt(uow: UnitOfWork, turn: Turn) -> None:
    """With the text it had: the message, the final events and the turn's row in one transaction, which must have locked
    session and turn."""
    events = await uow.turn_events.decoded(turn.id)
    text = "".join(event.data["text"] for event in events if event.type == "delta")
    message_id = await _keep_partial(uow, turn, events, text)
    await settle_interrupted(uow, turn.id, text=text, session_id=turn.session_id, message_id=message_id)
    ended = {"finish_reason": "error", "error_code": "interrupted", "assistant_message_id": message_id}
    await uow.turns.finish(turn.id, ended | {"status": "interrupted"})
    closing = [
        ("error", interrupted_fields(turn.client_message_id)),
        ("done", done_fields("interrupted", "error", message_id)),
    ]
    last = events[-1].seq if events else 0
    frames = [
        make_frame(turn.id, turn.session_id, seq, type_, fields)
        for seq, (type_, fields) in enumerate(closing, start=last + 1)
    ]
    await uow.turn_events.add(frames)
    await uow.turn_events.notify("events", [turn.id])


async def _keep_partial(uow: UnitOfWork, turn: Turn, events: list[TurnEvent], text: str) -> UUID | None:
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


def error_fields(
    code: str, message: str, reply_to: str | None, *, retryable: bool = True, retry_after: float | None = None
) -> dict[str, Any]:
    """`retry_after` in seconds."""
    return {
        "code": code,
        "message": message,
        "retryable": retryable,
        "retry_after_ms": None if retry_after is None else round(1000 * retry_after),
        "reply_to": reply_to,
    }


def error_of(exc: RagchatError, reply_to: str | None) -> dict[str, Any]:
    wait = exc.retry_after
    retryable = exc.kind in RETRYABLE and (wait is None or wait <= LONGEST_WAIT)
    return error_fields(exc.code, exc.detail, reply_to, retryable=retryable, retry_after=wait)


def interrupted_fields(reply_to: str | None) -> dict[str, Any]:
    return error_fields("interrupted", "The answer was interrupted; ask again.", reply_to)


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
