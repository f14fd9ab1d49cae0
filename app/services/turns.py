"""A turn's life in the database: begun, followed, cancelled, asked again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Conflict
from app.core.ids import new_id
from app.db.uow import UnitOfWork, UowFactory
from app.languages import detect
from app.models import Turn
from app.services.idempotency import once
from app.services.interruption import done_fields as done_fields
from app.services.interruption import end_dead, interrupt
from app.services.interruption import error_fields as error_fields
from app.services.interruption import error_of as error_of
from app.services.interruption import interrupted_fields as interrupted_fields
from app.services.live_turns import Event, Frame, LiveTurn, LiveTurns, make_frame
from app.services.sessions import session_not_found
from app.services.turn_following import Following
from app.services.turn_following import turn_not_found as turn_not_found
from app.services.turn_signals import TurnSignals

RETRIED = frozenset({"interrupted", "failed", "cancelled"})


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
    max_tokens: int | None = None
    """Of an answer that a language model writes; never more than the service allows."""


@dataclass(frozen=True, slots=True)
class Retried:
    """`live` is None when the question was asked again before, and that turn runs or has answered it."""

    turn_id: UUID
    live: LiveTurn | None
    question: Question


def turn_in_progress() -> Conflict:
    return Conflict("turn_in_progress", "A turn of this session is running; wait for it or cancel it.")


class TurnService:
    def __init__(self, uow: UowFactory, live: LiveTurns, signals: TurnSignals | None = None) -> None:
        self._uow = uow
        self._live = live
        self._signals = signals or TurnSignals(live)
        self._following = Following(uow, live, self._signals)

    async def begin(self, caller: Caller, question: Question) -> tuple[UUID, LiveTurn | None]:
        """Commits the user's message and the turn. (id, None) when this message began one before.

        Conflict(code="turn_in_progress") while another turn of the session runs.
        """
        turn_id, message_id = new_id(), new_id()
        self._signals.open()  # somebody may ask at once for it to stop
        async with self._uow(caller) as uow, once(uow) as answer:
            owner = await uow.sessions.lock(question.session_id)
            if owner is None:
                raise session_not_found()
            if question.client_message_id is not None:
                before = await uow.turns.find(question.session_id, question.client_message_id)
                if before is not None:
                    answer.refer(before)
                    return before, None
            await end_dead(uow, question.session_id)
            await _add_question(uow, turn_id, message_id, question)
            frames = await self._insert(uow, turn_id, message_id, question)
            answer.refer(turn_id)
        return turn_id, self._open(turn_id, caller, question, owner=owner, frames=frames)

    async def begin_again(self, caller: Caller, turn_id: UUID) -> Retried:
        """A new turn on the same question, whose answer comes after whatever the session holds by now. Asked twice, it
        gives the same one, unless that one has failed, too.

        NotFound(turn_not_found), Conflict(turn_in_progress | turn_completed).
        """
        again = new_id()
        self._signals.open()
        async with self._uow(caller) as uow:
            turn = await uow.turns.get(turn_id)
            owner = await uow.sessions.lock(turn.session_id) if turn else None
            if turn is None or owner is None:
                raise turn_not_found()
            await end_dead(uow, turn.session_id)
            turn = _ended_early(await uow.turns.get(turn_id))  # as it is under the session's lock
            question = await _asked(uow, turn)
            last = await uow.turns.last_retry(turn_id)
            if last is not None and last.status not in RETRIED:
                return Retried(last.id, None, question)
            frames = await self._insert(uow, again, turn.user_message_id, question, retry_of=turn_id)
        return Retried(again, self._open(again, caller, question, owner=owner, frames=frames), question)

    async def give_up(self, caller: Caller, live: LiveTurn) -> None:
        """Ends a turn of this process whose events could not be stored, with the text that could. Of no effect when
        somebody else has ended it."""
        async with self._uow(caller) as uow:
            await uow.sessions.lock(live.session_id)
            turn = await uow.turns.lock(live.turn_id, self._live.holder)
            if turn is not None:
                await interrupt(uow, turn)

    def _open(self, turn_id: UUID, caller: Caller, question: Question, *, owner: str, frames: list[Frame]) -> LiveTurn:
        live = self._live.open(turn_id, question.session_id, caller, owner=owner)
        live.last_seq = len(frames)
        live.publish(frames)
        return live

    async def _insert(
        self, uow: UnitOfWork, turn_id: UUID, message_id: UUID, question: Question, *, retry_of: UUID | None = None
    ) -> list[Frame]:
        """The turn's row and its first events, as far as they are known by now."""
        created = await uow.turns.create(
            {
                "id": turn_id,
                "session_id": question.session_id,
                "client_message_id": question.client_message_id,
                "user_message_id": message_id,
                "request": _options(question),
                "lease_token": self._live.holder,
                "retry_of": retry_of,
            }
        )
        if not created:
            raise turn_in_progress()
        frames = [
            make_frame(turn_id, question.session_id, seq, type_, fields)
            for seq, (type_, fields) in enumerate(_opening(question, message_id), start=1)
        ]
        await uow.turn_events.add(frames)
        return frames

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
        """Asks the turn to stop, wherever it runs; one that has ended stays as it is."""
        async with self._uow(caller) as uow:
            turn = await uow.turns.get(turn_id)
            if turn is None:
                raise turn_not_found()
            await uow.turns.request_cancel(turn_id)
            await uow.turn_events.notify("cancel", [turn_id])
        live = self._live.get(turn_id)
        if live is not None:
            live.cancelled.set()
        return turn

    def frames(self, caller: Caller, turn_id: UUID, after: int = 0) -> AsyncIterator[Frame]:
        """Every event after `after`, then what comes, to the last; encoded. Also of turns of other processes.

        NotFound(turn_not_found) at the first one.
        """
        return self._following.frames(caller, turn_id, after)

    async def follow(self, caller: Caller, turn_id: UUID, after: int = 0) -> AsyncIterator[Event]:
        """The same, decoded."""
        async for frame in self._following.frames(caller, turn_id, after):
            yield frame.event


def _ended_early(turn: Turn | None) -> Turn:
    if turn is None:
        raise turn_not_found()
    if turn.status == "running":
        raise turn_in_progress()
    if turn.status not in RETRIED:
        raise Conflict("turn_completed", "The turn has answered; ask a new question.")
    return turn


async def _add_question(uow: UnitOfWork, turn_id: UUID, message_id: UUID, question: Question) -> None:
    message = {
        "id": message_id,
        "session_id": question.session_id,
        "turn_id": turn_id,
        "seq": await uow.sessions.take_seq(question.session_id),
        "sender": "user",
        "content": question.content,
        "lang": question.lang or detect(question.content),
        "status": "completed",
    }
    await uow.messages.add(message)


async def _asked(uow: UnitOfWork, turn: Turn) -> Question:
    """What the turn was asked, without the client's message id, which has begun its turn."""
    message = await uow.messages.get(turn.user_message_id)
    if message is None:
        raise turn_not_found()
    options = turn.request
    ids = options.get("document_ids")
    return Question(
        session_id=turn.session_id,
        content=message["content"],
        lang=options.get("lang"),
        use_rag=options.get("use_rag", True),
        top_k=options.get("top_k"),
        document_ids=[UUID(id_) for id_ in ids] if ids is not None else None,
        final_type=options.get("final_type", "assistant_message"),
        max_tokens=options.get("max_tokens"),
    )


def _opening(question: Question, message_id: UUID) -> list[tuple[str, dict[str, Any]]]:
    started = {"reply_to": question.client_message_id, "user_message_id": str(message_id)}
    if question.use_rag:
        return [("turn_started", started), ("status", {"state": "retrieving"})]
    return [("turn_started", started), ("sources", {"docs": []}), ("status", {"state": "generating"})]


def _options(question: Question) -> dict[str, Any]:
    given = {} if question.max_tokens is None else {"max_tokens": question.max_tokens}
    return given | {
        "use_rag": question.use_rag,
        "top_k": question.top_k,
        "lang": question.lang,
        "document_ids": [str(i) for i in question.document_ids] if question.document_ids is not None else None,
        "final_type": question.final_type,
    }
