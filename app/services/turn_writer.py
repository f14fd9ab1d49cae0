"""An answer in the making, and the one who writes it down: every event is committed before anybody sees it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import RagchatError
from app.core.ids import new_id
from app.core.logging import get_logger
from app.db.uow import UnitOfWork, UowFactory
from app.providers.ports import Finished, Passage
from app.schemas.search import Source
from app.services.citing import Citing
from app.services.forgetting import forget_deleted, without_titles
from app.services.live_turns import Event, LiveTurn
from app.services.sessions import session_not_found
from app.services.turns import Question, done_fields, error_fields, make_event

log = get_logger(__name__)
Ending = Literal["completed", "cancelled", "failed", "interrupted"]


@dataclass
class Draft:
    """`content` holds what was sent so far."""

    lang: str
    model: str
    sources: list[Source] = field(default_factory=list)
    answerable: bool = True
    asked: str = ""
    """The question as the passages answer it: with what it refers to, where it says too little itself."""
    content: str = ""
    finish_reason: str = "stop"
    fallback_reason: str | None = None
    llm_used: bool = False
    usage: dict[str, int] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0})
    trace: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def finish(self, end: Finished) -> None:
        self.finish_reason = "fallback" if self.fallback_reason else end.reason
        total = end.input_tokens + end.output_tokens
        self.usage = {"input_tokens": end.input_tokens, "output_tokens": end.output_tokens, "total_tokens": total}

    def passed(self) -> float:
        """Milliseconds since the turn began."""
        return round(1000 * (time.perf_counter() - self.began), 2)

    @property
    def all_timing(self) -> dict[str, float]:
        """With the parts of the search."""
        searched: dict[str, float] = self.trace.get("timing", {})
        return searched | self.timing

    @property
    def passages(self) -> list[Passage]:
        return [Passage(s.n, s.title, s.page, s.text or "", s.score) for s in self.sources]

    @property
    def docs(self) -> list[dict[str, Any]]:
        """The sources as events spell them: with `doc_id` beside `document_id`, as in both seeds."""
        return [s.model_dump(mode="json") | {"doc_id": str(s.document_id)} for s in self.sources]


class TurnWriter:
    def __init__(self, uow: UowFactory, caller: Caller, live: LiveTurn, question: Question, citing: Citing) -> None:
        self._uow = uow
        self._caller = caller
        self._live = live
        self._question = question
        self._citing = citing

    async def emit(self, *items: tuple[str, dict[str, Any]]) -> None:
        """(type, fields) in order: stored, then published."""
        events = self._events(items)
        async with self._uow(self._caller) as uow:
            await self._add(uow, events)
        self._live.publish(events)

    async def send(self, draft: Draft, text: str) -> None:
        if text:
            await self.emit(("delta", {"text": text}))
            draft.content += text
            draft.timing.setdefault("first_token_ms", draft.passed())

    async def finish(self, draft: Draft, ending: Ending, error: dict[str, Any] | None) -> None:
        """The answer, its sources, the last events and the end of the turn in one transaction."""
        draft.timing["total_ms"] = draft.passed()
        if error is not None:
            draft.finish_reason = "error"
        citations = await self._citing.check(draft.content, draft.passages, draft.sources)
        message_id = new_id() if draft.content else None
        events = self._events(self._closing(draft, ending, error, citations, message_id))
        async with self._uow(self._caller) as uow:
            if message_id is not None:
                await self._store(uow, message_id, draft, ending, citations)
            ended = {
                "status": ending,
                "finish_reason": draft.finish_reason,
                "error_code": error["code"] if error else None,
                "assistant_message_id": message_id,
                "trace": without_titles(draft.trace) | {"model": draft.model, "timing": draft.all_timing},
            }
            if not await uow.turns.finish(self._live.turn_id, ended):
                raise RagchatError("turn_lost", "Another process has ended this turn.")
            await self._add(uow, events)
            await forget_deleted(uow, {source.document_id for source in draft.sources if source.document_id})
        self._live.publish(events)
        log.info(
            "turn.done", turn_id=str(self._live.turn_id), status=ending, sources=len(draft.sources), **draft.timing
        )

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

    def session_deleted(self) -> list[Event]:
        """For followers only: there is nothing left to store it under."""
        said = session_not_found()
        error = error_fields(said.code, said.detail, self._question.client_message_id, retryable=False)
        return self._events([("error", error), ("done", done_fields("failed", "error", None))])

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

    async def _add(self, uow: UnitOfWork, events: Sequence[Event]) -> None:
        await uow.turns.add_events(self._live.turn_id, [(event["seq"], event["type"], event) for event in events])

    def _events(self, items: Sequence[tuple[str, dict[str, Any]]]) -> list[Event]:
        first = self._live.last_seq + 1
        return [
            make_event(self._live.turn_id, self._live.session_id, seq, type_, fields)
            for seq, (type_, fields) in enumerate(items, start=first)
        ]


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
