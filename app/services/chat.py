"""The one turn function behind every transport.

The user's message is committed before anything is computed, and the turn goes on when nobody follows it.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Invalid, NotFound, RagchatError
from app.core.logging import get_logger
from app.db.uow import UowFactory
from app.languages import detect, get_language
from app.providers.ports import Delta, Finished, Generation, LanguageModel
from app.rag.citations import MarkerFilter
from app.rag.conversation import MESSAGES
from app.schemas.common import is_blank
from app.schemas.search import SearchFilters
from app.services.citing import Citing
from app.services.event_log import EventLog
from app.services.live_turns import LiveTurn, LiveTurns
from app.services.pacing import Cancelled, pump
from app.services.retrieval import RetrievalService, require_known, said_before
from app.services.turn_keeping import LeaseKeeper
from app.services.turn_writer import Draft, Ending, TurnWriter
from app.services.turns import Question, Retried, TurnService, error_fields, interrupted_fields

log = get_logger(__name__)


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
        citing: Citing | None = None,
    ) -> None:
        self._uow = uow
        self._turns = turns
        self._live = live
        self._retrieval = retrieval
        self._model = model
        self._top_k = top_k
        self._max_chars = max_chars
        self._citing = citing or Citing()
        self._log = EventLog(uow, live.holder)
        self._leases = LeaseKeeper(uow, live)
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, caller: Caller, question: Question) -> UUID:
        """Begins the turn, or finds the one that the same client message began. Follow it with `turns.follow`.

        Invalid(empty_content | too_long | unsupported_language), NotFound, Conflict(turn_in_progress).
        """
        await self._check(caller, question)
        turn_id, live = await self._turns.begin(caller, question)
        if live is not None:
            self._start(caller, live, question)
        return turn_id

    async def retry(self, caller: Caller, turn_id: UUID) -> Retried:
        """Asks the question of a turn again that has not answered it. Follow the turn that this names.

        NotFound(turn_not_found), Conflict(turn_in_progress | turn_completed).
        """
        retried = await self._turns.begin_again(caller, turn_id)
        if retried.live is not None:
            self._start(caller, retried.live, retried.question)
        return retried

    def _start(self, caller: Caller, live: LiveTurn, question: Question) -> None:
        self._leases.begin()
        task = asyncio.create_task(self._run(caller, live, question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
        writer = TurnWriter(self._uow, caller, live, question, self._citing, self._log)
        draft = Draft(lang=question.lang or detect(question.content), model=self._model.name)
        ending: Ending = "completed"
        error: dict[str, Any] | None = None
        try:
            await self._answer(caller, live, question, writer, draft)
        except Cancelled:
            ending, draft.finish_reason = "cancelled", "cancelled"
            if live.interrupted:
                ending, error = "interrupted", interrupted_fields(question.client_message_id)
        except RagchatError as exc:
            ending, error = "failed", error_fields(exc.code, exc.detail, question.client_message_id)
        except Exception:
            log.exception("turn.failed", turn_id=str(live.turn_id))
            said = RagchatError()
            ending, error = "failed", error_fields(said.code, said.detail, question.client_message_id)
        try:
            await writer.finish(draft, ending, error)
        except NotFound:
            log.info("turn.session_deleted", turn_id=str(live.turn_id))
            live.publish(writer.session_deleted())
        except Exception as exc:
            await self._give_up(caller, live, exc)
        finally:
            self._log.close(live)
            self._live.close(live)

    async def _give_up(self, caller: Caller, live: LiveTurn, exc: Exception) -> None:
        """Followers read the rest from the table."""
        code = exc.code if isinstance(exc, RagchatError) else "internal"
        log.error("turn.not_finished", turn_id=str(live.turn_id), code=code, exc_info=code == "internal")
        try:
            await self._turns.give_up(caller, live)
        except Exception:
            # Its lease runs out, and whoever sees that first ends it with what was stored.
            log.exception("turn.left_behind", turn_id=str(live.turn_id))

    async def _answer(
        self, caller: Caller, live: LiveTurn, question: Question, writer: TurnWriter, draft: Draft
    ) -> None:
        if question.use_rag:
            await self._retrieve(caller, live.turn_id, question, draft)
            writer.emit(("sources", {"docs": draft.docs}), ("status", {"state": "generating"}))
        writer.open_text(draft, MarkerFilter({source.n for source in draft.sources}))

        def take(item: Delta | Finished) -> None:
            if isinstance(item, Finished):
                draft.finish(item)
            else:
                writer.say(item.text)

        try:
            await pump(self._generate(question, draft), take, live.cancelled)
        finally:
            writer.close_text()

    async def _retrieve(self, caller: Caller, turn_id: UUID, question: Question, draft: Draft) -> None:
        async with self._uow(caller) as uow:
            history = said_before(await uow.messages.before_turn(turn_id, limit=MESSAGES))
        filters = SearchFilters(document_ids=question.document_ids or None)
        found = await self._retrieval.retrieve(
            caller,
            question.content,
            top_k=question.top_k or self._top_k,
            filters=filters,
            lang=question.lang,
            history=history,
        )
        draft.sources, draft.trace = found.sources, found.trace
        draft.answerable, draft.asked = found.answerable, found.asked
        draft.timing["retrieval_ms"] = draft.passed()

    def _generate(self, question: Question, draft: Draft) -> AsyncIterator[Delta | Finished]:
        if not question.use_rag and not self._model.is_llm:
            draft.fallback_reason = "no_language_model"
            return _said(get_language(draft.lang).plain_no_model)
        draft.llm_used = self._model.is_llm
        return self._model.generate(
            Generation(draft.asked or question.content, draft.passages, draft.lang, answerable=draft.answerable)
        )

    async def close(self, seconds: float) -> None:
        """Lets running turns finish for so long, then stops them; their text is kept."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for live in self._live.all():
                live.interrupt()
            if late:
                await asyncio.wait(late, timeout=seconds)
        self._log.end()


async def _said(sentence: str) -> AsyncIterator[Delta | Finished]:
    yield Delta(sentence)
    yield Finished("stop")
