"""Chat over REST and SSE. The WebSocket is in chat_ws.py; all three run the same turn."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field

from app.api.bodies import JSON_BYTES
from app.api.deps import DIGITS, CallerDep, ChatCaller, IdPath, RuntimeDep, parse_id
from app.api.guard import GuardedRoute
from app.api.idempotency import OnceDep, answer_with
from app.api.rate_limit import counts_as
from app.api.streams import EventStream, error_frame_in
from app.core.caller import Caller
from app.core.errors import Conflict, Invalid, NotFound
from app.runtime import Runtime
from app.schemas.chat import ChatAnswer, ChatRequest, TurnOut
from app.schemas.events import protocol_schema
from app.schemas.trace import TurnReplay, TurnTrace
from app.services.failures import failure_of
from app.services.idempotency import in_progress
from app.services.sessions import session_not_found
from app.services.turns import Question, turn_not_found

router = APIRouter(prefix="/api/v1", tags=["chat"], route_class=GuardedRoute, max_body_size=JSON_BYTES)
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The events of the turn, as `/api/v1/chat/schema` describes them. It ends after ten minutes at "
        "the latest, and with the error `auth_expired` soon after the credential does: connect again.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def _question(session_id: UUID, body: ChatRequest) -> Question:
    return Question(
        session_id=session_id,
        content=body.message,
        lang=body.lang,
        use_rag=body.use_rag,
        top_k=body.top_k,
        document_ids=body.document_ids,
        client_message_id=body.client_message_id,
    )


@router.post(
    "/sessions/{session_id}/chat", response_model=ChatAnswer, operation_id="chat_ask",
    summary="Ask, and get the finished answer",
)  # fmt: skip
@counts_as("chat")
async def ask(
    runtime: RuntimeDep, caller: ChatCaller, once: OnceDep, session_id: IdPath, body: ChatRequest
) -> Response:
    question = _question(parse_id(session_id, session_not_found()), body)

    async def run(claiming: Caller) -> ChatAnswer:
        return await _finished(runtime, caller, await runtime.chat.ask(claiming, question))

    async def read(turn_id: UUID) -> ChatAnswer:
        return await _finished(runtime, caller, await _ended(runtime, caller, turn_id))

    return await once.answer(caller, run, _answered, again=read, early=True)


def _answered(answer: ChatAnswer) -> Response:
    return answer_with(answer, 200)


async def _ended(runtime: Runtime, caller: Caller, turn_id: UUID) -> UUID:
    if (await runtime.turns.get(caller, turn_id)).status == "running":
        raise in_progress()
    return turn_id


async def _finished(runtime: Runtime, caller: Caller, turn_id: UUID) -> ChatAnswer:
    error: dict[str, Any] | None = None
    try:
        async for event in runtime.turns.follow(caller, turn_id):
            if event["type"] == "error":
                error = event
        turn = await runtime.turns.get(caller, turn_id)
    except NotFound:  # it was there, and goes with its session only
        raise session_not_found() from None
    if turn.assistant_message_id is not None:
        message = await runtime.messages.get(caller, turn.assistant_message_id)
        if message is None:
            raise session_not_found()  # deleted while the answer was on its way
        return ChatAnswer.model_validate(message.model_dump())
    if turn.status == "cancelled":
        raise Conflict("turn_cancelled", "The turn was cancelled before it said anything.")
    raise failure_of(error)


@router.post(
    "/sessions/{session_id}/chat/stream", operation_id="chat_stream", summary="Ask, and get the events as they happen",
    response_class=Response, responses=EVENTS,
)  # fmt: skip
@counts_as("chat")
async def stream(
    runtime: RuntimeDep, caller: ChatCaller, once: OnceDep, session_id: IdPath, body: ChatRequest
) -> Response:
    question = _question(parse_id(session_id, session_not_found()), body)
    as_error = error_frame_in(question.session_id)
    return await once.answer(
        caller,
        partial(runtime.chat.ask, question=question),
        lambda turn_id: EventStream(runtime.turns.frames(caller, turn_id), encode_error=as_error),
        again=partial(_ended, runtime, caller),
        early=True,
    )


@router.get("/turns/{turn_id}", operation_id="turns_get", summary="A running or finished turn")
async def get_turn(runtime: RuntimeDep, caller: ChatCaller, turn_id: IdPath) -> TurnOut:
    return TurnOut.model_validate(await runtime.turns.get(caller, parse_id(turn_id, turn_not_found())))


@router.get(
    "/turns/{turn_id}/events", operation_id="turns_events", summary="The turn's events, from the start or after one",
    response_class=Response, responses=EVENTS,
)  # fmt: skip
async def events(
    runtime: RuntimeDep,
    caller: ChatCaller,
    turn_id: IdPath,
    after: Annotated[int, Field(ge=0, le=2**31 - 1), DIGITS, Query()] = 0,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> EventStream:
    id_ = parse_id(turn_id, turn_not_found())
    turn = await runtime.turns.get(caller, id_)
    frames = runtime.turns.frames(caller, id_, _after(after, last_event_id, id_))
    return EventStream(frames, encode_error=error_frame_in(turn.session_id))


def _after(after: int, last_event_id: str | None, turn_id: UUID) -> int:
    """The header as a stream gave it, or the number alone."""
    if last_event_id is None:
        return after
    turn, dot, seq = last_event_id.rpartition(".")
    if (dot and turn != str(turn_id)) or not (seq.isascii() and seq.isdigit() and len(seq) < 10):
        raise Invalid("invalid_event_id", "Last-Event-ID is not one that this turn gave.", pointer="/Last-Event-ID")
    return int(seq)


@router.post("/turns/{turn_id}/cancel", operation_id="turns_cancel", summary="Stop a running turn")
async def cancel(runtime: RuntimeDep, caller: ChatCaller, turn_id: IdPath) -> TurnOut:
    return TurnOut.model_validate(await runtime.turns.cancel(caller, parse_id(turn_id, turn_not_found())))


@router.post(
    "/turns/{turn_id}/retry", operation_id="turns_retry", status_code=202,
    summary="Ask the question of an interrupted, failed or cancelled turn again",
    responses={200: {"description": "It was asked again before; that turn runs or has answered.", "model": TurnOut}},
)  # fmt: skip
@counts_as("chat")
async def retry(runtime: RuntimeDep, caller: ChatCaller, turn_id: IdPath, response: Response) -> TurnOut:
    retried = await runtime.chat.retry(caller, parse_id(turn_id, turn_not_found()))
    response.headers["Location"] = f"/api/v1/turns/{retried.turn_id}"
    response.status_code = 202 if retried.live is not None else 200
    return TurnOut.model_validate(await runtime.turns.get(caller, retried.turn_id))


@router.get("/turns/{turn_id}/trace", operation_id="turns_trace", summary="Why this answer")
async def trace(runtime: RuntimeDep, caller: ChatCaller, turn_id: IdPath) -> TurnTrace:
    return await runtime.explanation.trace(caller, parse_id(turn_id, turn_not_found()))


@router.post(
    "/turns/{turn_id}/replay", operation_id="turns_replay",
    summary="What the same question finds today, and what has changed since",
)  # fmt: skip
async def replay(runtime: RuntimeDep, caller: ChatCaller, turn_id: IdPath) -> TurnReplay:
    return await runtime.explanation.replay(caller, parse_id(turn_id, turn_not_found()))


@router.get("/chat/schema", operation_id="chat_schema", summary="JSON Schema of the realtime events")
async def schema(_caller: CallerDep) -> dict[str, Any]:
    return protocol_schema()
