"""The one turn function behind every transport.

The user's message is committed before anything is computed; each event is committed before anybody sees it; the
answer, its sources and the end of the turn are one transaction.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Invalid, RagchatError
from app.core.ids import new_id
from app.core.logging import get_logger
from app.db.uow import UowFactory
from app.languages import detect, get_language
from app.providers.ports import Delta, Finished, Generation, LanguageModel, Passage
from app.rag.citations import MarkerFilter, verify
from app.schemas.common import is_blank
from app.schemas.search import SearchFilters, Source
from app.services.live_turns import Event, LiveTurn, LiveTurns
from app.services.pacing import Cancelled, Coalescer, paced
from app.services.retrieval import RetrievalService, require_known
from app.services.turns import Question, TurnService, done_fields, error_fields, make_event

log = get_logger(__name__)
RENEW_SECONDS = 10.0
Ending = Literal["completed", "cancelled", "failed"]


@dataclass
class Draft:
    """An answer in the making."""

    lang: str
    sources: list[Source] = field(default_factory=list)
    content: str = ""
    finish_reason: str = "stop"
    fallback_reason: str | None = None
    llm_used: bool = False
    usage: dict[str, int] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0})
    trace: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    timing: dict[str, float] = field(default_factory=dict)

    def passed(self) -> float:
        return round(1000 * (time.perf_counter() - self.began), 2)


class ChatService:
    def __init__(
        self,
        uow: UowFactory,
        turns: TurnService,
        live: LiveTurns,
        retrieval: RetrievalService,
        model: LanguageModel,
        *,
        top_k: int,
        max_chars: int,
    ) -> None:
        self._uow = uow
        self._turns = turns
        self._live = live
        self._retrieval = retrieval
        self._model = model
        self._top_k = top_k
        self._max_chars = max_chars
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, caller: Caller, question: Question) -> UUID:
        """Begins the turn, or finds the one that the same client message began. Follow it with `turns.follow`.

        Invalid(empty_content | too_long | unsupported_language), NotFound, Conflict(turn_in_progress).
        """
        await self._check(caller, question)
        turn_id, live = await self._turns.begin(caller, question)
        if live is not None:
            task = asyncio.create_task(self._run(caller, live, question))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return turn_id

    async def _check(self, caller: Caller, question: Question) -> None:
        if is_blank(question.content):
            raise Invalid("empty_content", "The message is empty.", pointer="/message")
        if len(question.content) > self._max_chars:
            raise Invalid("too_long", f"A message may have {self._max_chars} characters at most.", pointer="/message")
        if question.lang is not None:
            get_language(question.lang)
        if question.document_ids is not None:
            async with self._uow(caller) as uow:
                require_known(question.document_ids, await uow.documents.known(question.document_ids))

    async def _run(self, caller: Caller, live: LiveTurn, question: Question) -> None:
        """The top of a turn's task: whatever happens, the turn ends, in the database and for its followers."""
        renewing = asyncio.create_task(self._renew(caller, live))
        draft = Draft(lang=question.lang or detect(question.content))
        ending: Ending = "completed"
        error: Event | None = None
        try:
            await self._answer(caller, live, question, draft)
        except Cancelled:
            ending, draft.finish_reason = "cancelled", "cancelled"
        except RagchatError as exc:
            ending, error = "failed", error_fields(exc.code, exc.detail, question.client_message_id)
        except Exception:
            log.exception("turn.failed", turn_id=str(live.turn_id))
            error = error_fields("internal", "Something went wrong on our side.", question.client_message_id)
            ending = "failed"
        try:
            await self._finish(caller, live, question, draft, ending, error)
        except Exception:
            # Its lease runs out, and whoever sees that first ends it with what was stored.
            log.exception("turn.not_finished", turn_id=str(live.turn_id))
        finally:
            renewing.cancel()
            self._live.close(live)

    async def _renew(self, caller: Caller, live: LiveTurn) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                async with self._uow(caller) as uow:
                    await uow.turns.renew([live.turn_id])
            except RagchatError:
                log.warning("turn.lease_not_renewed", turn_id=str(live.turn_id))

    async def _answer(self, caller: Caller, live: LiveTurn, question: Question, draft: Draft) -> None:
        if not question.use_rag:
            await self._emit(caller, live, [("sources", {"docs": []}), ("status", {"state": "generating"})])
            await self._generate(caller, live, question, draft)
            return
        await self._emit(caller, live, [("status", {"state": "retrieving"})])
        filters = SearchFilters(document_ids=question.document_ids or None)
        found = await self._retrieval.retrieve(
            caller, question.content, top_k=question.top_k or self._top_k, filters=filters, lang=question.lang
        )
        draft.sources, draft.trace = found.sources, found.trace
        draft.timing["retrieval_ms"] = draft.passed()
        docs = [source_event(source) for source in found.sources]
        await self._emit(caller, live, [("sources", {"docs": docs}), ("status", {"state": "generating"})])
        await self._generate(caller, live, question, draft)

    async def _generate(self, caller: Caller, live: LiveTurn, question: Question, draft: Draft) -> None:
        coalescer = Coalescer()
        markers = MarkerFilter({source.n for source in draft.sources})
        async for item in paced(self._items(question, draft), live.cancelled):
            if isinstance(item, Finished):
                draft.finish_reason = (draft.fallback_reason and "fallback") or item.reason
                used = {"input_tokens": item.input_tokens, "output_tokens": item.output_tokens}
                draft.usage = used | {"total_tokens": sum(used.values())}
            elif isinstance(item, Delta):
                coalescer.add(markers.feed(item.text))
            await self._send(caller, live, draft, coalescer.take(time.monotonic()))
        coalescer.add(markers.flush())
        await self._send(caller, live, draft, coalescer.take(time.monotonic(), all_of_it=True))

    def _items(self, question: Question, draft: Draft) -> AsyncIterator[Delta | Finished]:
        if not question.use_rag and not self._model.is_llm:
            draft.fallback_reason = "no_language_model"
            return _said(get_language(draft.lang).plain_no_model)
        draft.llm_used = self._model.is_llm
        request = Generation(question.content, _passages(draft.sources), draft.lang)
        return self._model.generate(request)

    async def _send(self, caller: Caller, live: LiveTurn, draft: Draft, text: str) -> None:
        if text:
            await self._emit(caller, live, [("delta", {"text": text})])
            draft.content += text
            draft.timing.setdefault("first_token_ms", draft.passed())

    async def _emit(self, caller: Caller, live: LiveTurn, items: Sequence[tuple[str, dict[str, Any]]]) -> None:
        events = _events(live, items)
        async with self._uow(caller) as uow:
            await uow.turns.add_events(live.turn_id, [(event["seq"], event["type"], event) for event in events])
        live.publish(events)

    async def _finish(
        self,
        caller: Caller,
        live: LiveTurn,
        question: Question,
        draft: Draft,
        ending: Ending,
        error: Event | None,
    ) -> None:
        draft.timing["total_ms"] = draft.passed()
        citations = [
            {"n": c.n, "start": c.start, "end": c.end} for c in verify(draft.content, _passages(draft.sources))
        ]
        if ending == "failed":
            draft.finish_reason = "error"
        message_id = new_id() if draft.content else None
        items: list[tuple[str, dict[str, Any]]] = [("citation", citation) for citation in citations]
        if error is not None:
            items.append(("error", error))
        if message_id is not None:
            items.append((question.final_type, self._final(message_id, draft)))
        done = done_fields(ending, draft.finish_reason, message_id, usage=draft.usage, timing=draft.timing)
        events = _events(live, [*items, ("done", done)])
        async with self._uow(caller) as uow:
            if message_id is not None:
                await self._store(uow, live, message_id, draft, ending, citations)
            ended = {
                "status": ending,
                "finish_reason": draft.finish_reason,
                "error_code": error["code"] if error else None,
                "assistant_message_id": message_id,
                "trace": draft.trace | {"model": self._model.name, "timing": draft.timing},
            }
            if not await uow.turns.finish(live.turn_id, ended):
                raise RagchatError("turn_lost", "Another process has ended this turn.")
            await uow.turns.add_events(live.turn_id, [(event["seq"], event["type"], event) for event in events])
        live.publish(events)
        log.info("turn.done", turn_id=str(live.turn_id), status=ending, sources=len(draft.sources), **draft.timing)

    async def _store(
        self,
        uow: Any,
        live: LiveTurn,
        message_id: UUID,
        draft: Draft,
        ending: Ending,
        citations: list[dict[str, int]],
    ) -> None:
        seq = await uow.sessions.take_seq(live.session_id)
        message = {
            "id": message_id,
            "session_id": live.session_id,
            "turn_id": live.turn_id,
            "seq": seq,
            "sender": "assistant",
            "content": draft.content,
            "lang": draft.lang,
            "status": ending,
            "llm_used": draft.llm_used,
            "fallback_reason": draft.fallback_reason,
            "finish_reason": draft.finish_reason,
            "citations": citations,
            "usage": draft.usage | {"model": self._model.name},
        }
        await uow.messages.add(message, [source.model_dump() for source in draft.sources])

    def _final(self, message_id: UUID, draft: Draft) -> dict[str, Any]:
        return {
            "message_id": str(message_id),
            "content": draft.content,
            "answer": draft.content,
            "docs": [source_event(source) for source in draft.sources],
            "llm_used": draft.llm_used,
            "fallback_reason": draft.fallback_reason,
            "audio_url": None,
            "lang": draft.lang,
            "metadata": {"tokens": draft.usage["total_tokens"], "model": self._model.name},
        }

    async def close(self, seconds: float) -> None:
        """Lets running turns finish for so long, then stops them; their text is kept."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for live in self._live.all():
                live.cancelled.set()
            if late:
                await asyncio.wait(late, timeout=seconds)


def source_event(source: Source) -> dict[str, Any]:
    """With `doc_id` beside `document_id`: both seeds' spellings."""
    return source.model_dump(mode="json") | {"doc_id": str(source.document_id)}


async def _said(sentence: str) -> AsyncIterator[Delta | Finished]:
    yield Delta(sentence)
    yield Finished("stop")


def _passages(sources: Sequence[Source]) -> list[Passage]:
    return [Passage(s.n, s.title, s.page, s.text or "", s.score) for s in sources]


def _events(live: LiveTurn, items: Sequence[tuple[str, dict[str, Any]]]) -> list[Event]:
    first = live.last_seq + 1
    return [
        make_event(live.turn_id, live.session_id, seq, type_, fields)
        for seq, (type_, fields) in enumerate(items, start=first)
    ]
