"""An answer in the making, and the one who writes it down: every event is committed before anybody sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import RagchatError, Unavailable
from app.core.ids import new_id
from app.core.logging import get_logger
from app.db.uow import UnitOfWork, UowFactory
from app.services.citing import Citing
from app.services.drafts import Draft, settle_draft, used_of
from app.services.event_log import PAUSE_SECONDS, EventLog, Patience, turn_lost
from app.services.forgetting import forget_deleted, without_titles
from app.services.interruption import done_fields, error_fields
from app.services.live_turns import Frame, LiveTurn
from app.services.pacing import clean
from app.services.sessions import session_not_found
from app.services.turns import Question

log = get_logger(__name__)
Ending = Literal["completed", "cancelled", "failed", "interrupted"]


class TextFilter(Protocol):
    """Changes a text that comes in pieces, and may hold some of it back."""

    def feed(self, text: str) -> str: ...

    def flush(self) -> str:
        """What is still held."""
        ...


class TurnWriter:
    def __init__(
        self, uow: UowFactory, caller: Caller, live: LiveTurn, question: Question, citing: Citing, events: EventLog
    ) -> None:
        self._uow = uow
        self._caller = caller
        self._live = live
        self._question = question
        self._citing = citing
        self._log = events
        self._filters: tuple[TextFilter, ...] = ()

    def emit(self, *items: tuple[str, dict[str, Any]]) -> None:
        """(type, fields) in order. Stored at once, then published; nobody has to wait for it."""
        self._log.add(self._live, *items)

    def open_text(self, draft: Draft, *filters: TextFilter) -> None:
        """What is said from now on goes through the filters, one after the other, and into the draft."""

        def compose(text: str) -> str:
            text = clean(text)
            for each in self._filters:
                text = each.feed(text)
            draft.say(text)
            return text

        self._filters = filters
        self._live.compose = compose

    def say(self, text: str) -> None:
        """The next piece of the answer."""
        if text:
            self._log.say(self._live, text)

    def close_text(self) -> None:
        """Nothing more is said: what the filters have held back comes."""
        self._log.pour(self._live)
        rest = ""
        for each in self._filters:
            rest = each.feed(rest) + each.flush()
        self._filters = ()
        self.say(rest)

    async def finish(self, draft: Draft, ending: Ending, error: dict[str, Any] | None) -> None:
        """The answer, its sources, the last events and the end of the turn in one transaction."""
        await self._flush()
        content = draft.content
        draft.timing["total_ms"] = draft.passed()
        if error is not None:
            draft.finish_reason = "error"
        used = used_of(draft)
        citations = await self._citing.check(content, draft.passages, draft.sources) if draft.sources else []
        message_id = new_id() if content else None
        frames = self._live.number(self._closing(draft, ending, error, citations, message_id))
        ended = {
            "status": ending,
            "finish_reason": draft.finish_reason,
            "error_code": error["code"] if error else None,
            "assistant_message_id": message_id,
            "trace": without_titles(draft.trace) | {"model": draft.model, "timing": draft.all_timing},
        }

        async def store() -> None:
            async with self._uow(self._caller) as uow:
                if message_id is not None:
                    await self._store(uow, message_id, draft, ending, citations)
                await self._end(uow, ended, frames)
                await forget_deleted(uow, {source.document_id for source in draft.sources if source.document_id})
                await settle_draft(uow, draft, used, session_id=self._live.session_id, message_id=message_id)

        await self._patiently(store, ending)
        self._live.publish(frames)
        log.info(
            "turn.done", turn_id=str(self._live.turn_id), status=ending, sources=len(draft.sources),
            masked=draft.masks.counts, **draft.timing,
        )  # fmt: skip

    async def _flush(self) -> None:
        try:
            await self._log.flush(self._live)
        except RagchatError:
            async with self._uow(self._caller) as uow:
                if await uow.sessions.get(self._live.session_id) is None:
                    raise session_not_found() from None
            raise

    async def _end(self, uow: UnitOfWork, ended: dict[str, Any], frames: list[Frame]) -> None:
        if not await uow.turns.finish(self._live.turn_id, ended, holder=self._live.holder):
            raise turn_lost()
        await uow.turn_events.add(frames)
        if self._live.watched:
            await uow.turn_events.notify("events", [self._live.turn_id])

    async def _patiently(self, store: Callable[[], Awaitable[None]], ending: Ending) -> None:
        """Tries again while the database is away for a moment. It may have gone with the answer to a commit."""
        patience = Patience()
        while True:
            try:
                if not (patience.tried and await self._is_stored(ending)):
                    await store()
                return
            except Unavailable as exc:
                if patience.is_over():
                    raise
                log.warning("turn.waiting", turn_id=str(self._live.turn_id), code=exc.code)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _is_stored(self, ending: Ending) -> bool:
        async with self._uow(self._caller) as uow:
            return await uow.turns.is_finished_by(self._live.turn_id, self._live.holder, ending)

    def _closing(
        self,
        draft: Draft,
        ending: Ending,
        error: dict[str, Any] | None,
        citations: list[dict[str, Any]],
        message_id: UUID | None,
    ) -> list[tuple[str, dict[str, Any]]]:
        items: list[tuple[str, dict[str, Any]]] = [("citation", dict(citation)) for citation in citations]
        if error is not None:
            items.append(("error", error))
        if message_id is not None:
            items.append((self._question.final_type, _final_fields(message_id, draft)))
        done = done_fields(ending, draft.finish_reason, message_id, usage=draft.usage, timing=draft.timing)
        return [*items, ("done", done)]

    async def settle_alone(self, draft: Draft) -> None:
        """For a turn whose session is gone: what was spent was spent."""
        async with self._uow(self._caller) as uow:
            await settle_draft(uow, draft, used_of(draft), session_id=None, message_id=None)

    def session_deleted(self) -> list[Frame]:
        """For followers only: there is nothing left to store it under."""
        said = session_not_found()
        error = error_fields(said.code, said.detail, self._question.client_message_id, retryable=False)
        return self._live.renumber([("error", error), ("done", done_fields("failed", "error", None))])

    async def _store(
        self, uow: UnitOfWork, message_id: UUID, draft: Draft, ending: Ending, citations: list[dict[str, Any]]
    ) -> None:
        seq = await uow.sessions.take_seq(self._live.session_id)
        if seq is None:
            raise session_not_found()
        message = {
            "id": message_id,
            "session_id": self._live.session_id,
            "turn_id": self._live.turn_id,
            "seq": seq,
            "sender": "assistant",
            "content": draft.content,
            "lang": draft.lang,
            "status": ending,
            "llm_used": draft.llm_used,
            "fallback_reason": draft.fallback_reason,
            "finish_reason": draft.finish_reason,
            "citations": citations,
            "usage": draft.usage | {"model": draft.model},
        }
        await uow.messages.add(message, [source.model_dump() for source in draft.sources])


def _final_fields(message_id: UUID, draft: Draft) -> dict[str, Any]:
    return {
        "message_id": str(message_id),
        "content": draft.content,
        "answer": draft.content,
        "docs": draft.docs,
        "llm_used": draft.llm_used,
        "fallback_reason": draft.fallback_reason,
        "audio_url": None,
        "lang": draft.lang,
        "metadata": {"tokens": draft.usage["total_tokens"], "model": draft.model},
    }
