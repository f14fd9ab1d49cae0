"""The one turn function behind every transport.

The user's message is committed before anything is computed, and the turn goes on when nobody follows it.
"""

import asyncio
from typing import Any
from uuid import UUID

from app.core.background import cancel
from app.core.caller import Caller
from app.core.errors import Invalid, NotFound, RagchatError
from app.core.logging import get_logger
from app.db.uow import UowFactory
from app.languages import detect, get_language
from app.providers.llm import ProviderInterrupted
from app.providers.ports import Finished
from app.rag.conversation import MESSAGES, Said
from app.schemas.common import is_blank
from app.schemas.search import Filters
from app.services.answering import Answering, Asker, Item
from app.services.citing import Citing
from app.services.drafts import Draft
from app.services.draining import Draining
from app.services.event_log import EventLog
from app.services.live_turns import LiveTurn, LiveTurns
from app.services.pacing import Cancelled, pump
from app.services.retrieval import RetrievalService, require_known, said_before
from app.services.sessions import session_not_found
from app.services.turn_keeping import LeaseKeeper
from app.services.turn_writer import Ending, TurnWriter
from app.services.turns import Question, Retried, TurnService, error_of, interrupted_fields

log = get_logger(__name__)
MOST_HISTORY = 40
"""Messages that a language model may be shown; its window decides how many."""
INTERRUPT_SECONDS = 2.0
"""For storing what turns had said when the service stops."""


class ChatService:
    def __init__(
        self,
        uow: UowFactory,
        turns: TurnService,
        live: LiveTurns,
        retrieval: RetrievalService,
        answering: Answering,
        *,
        top_k: int,
        max_chars: int,
        citing: Citing | None = None,
        draining: Draining | None = None,
    ) -> None:
        self._uow = uow
        self._turns = turns
        self._live = live
        self._retrieval = retrieval
        self._answering = answering
        self._top_k = top_k
        self._max_chars = max_chars
        self._citing = citing or Citing()
        self._draining = draining or Draining()
        self._log = EventLog(uow, live.holder)
        self._leases = LeaseKeeper(uow, live)
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, caller: Caller, question: Question) -> UUID:
        """Begins the turn, or finds the one that the same client message began. Follow it with `turns.follow`.

        Invalid(empty_content | too_long | unsupported_language), NotFound, Conflict(turn_in_progress),
        RateLimited(quota_exceeded), Unavailable(server_draining).
        """
        self._draining.refuse_new()
        await self._check(caller, question)
        turn_id, live = await self._turns.begin(caller, question)
        if live is not None:
            self._start(caller, live, question)
        return turn_id

    async def retry(self, caller: Caller, turn_id: UUID) -> Retried:
        """Asks the question of a turn again that has not answered it. Follow the turn that this names.

        NotFound(turn_not_found), Conflict(turn_in_progress | turn_completed), Unavailable(server_draining).
        """
        self._draining.refuse_new()
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
        if self._answering.is_limited:
            await self._check_budget(caller, question)

    async def _check_budget(self, caller: Caller, question: Question) -> None:
        """Of a question that has begun its turn, nothing is asked any more."""
        async with self._uow(caller) as uow:
            session = await uow.sessions.get(question.session_id)
            if session is None:
                raise session_not_found()
            known = question.client_message_id
            if known is not None and await uow.turns.find(question.session_id, known) is not None:
                return
        await self._answering.check(caller, session.user_id, question)

    async def _run(self, caller: Caller, live: LiveTurn, question: Question) -> None:
        """The top of a turn's task: whatever happens, the turn ends, in the database and for its followers."""
        writer = TurnWriter(self._uow, caller, live, question, self._citing, self._log)
        draft = Draft(lang=question.lang or detect(question.content), model=self._answering.name)
        draft.masks = self._answering.masks(caller, question.session_id)
        ending: Ending = "completed"
        error: dict[str, Any] | None = None
        try:
            await self._answer(caller, live, question, writer, draft)
        except Cancelled:
            if live.interrupted:
                ending, error = "interrupted", interrupted_fields(question.client_message_id)
            else:
                ending, draft.finish_reason = "cancelled", "cancelled"
        except RagchatError as exc:
            ending = "interrupted" if isinstance(exc, ProviderInterrupted) else "failed"
            error = error_of(exc, question.client_message_id)
        except Exception:
            log.exception("turn.failed", turn_id=str(live.turn_id))
            ending, error = "failed", error_of(RagchatError(), question.client_message_id)
        try:
            await writer.finish(draft, ending, error)
        except NotFound:
            log.info("turn.session_deleted", turn_id=str(live.turn_id))
            live.publish(writer.session_deleted())
            await self._settle_alone(live, writer, draft)
        except Exception as exc:
            await self._give_up(caller, live, exc)
        finally:
            self._log.close(live)
            self._live.close(live)

    async def _settle_alone(self, live: LiveTurn, writer: TurnWriter, draft: Draft) -> None:
        try:
            await writer.settle_alone(draft)
        except RagchatError as exc:
            log.error("turn.not_settled", turn_id=str(live.turn_id), code=exc.code)

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
        history = await self._history(caller, live.turn_id, question, draft)
        if question.use_rag:
            await self._retrieve(caller, live, question, draft, history)
            writer.emit(("sources", {"docs": draft.docs}), ("status", {"state": "generating"}))
        writer.open_text(draft, *self._answering.filters(draft))

        def take(item: Item) -> None:
            if isinstance(item, Finished):
                draft.finish(item)
            else:
                writer.say(item.text)

        asker = Asker(caller, live.owner, live.turn_id, question)
        try:
            await pump(self._answering.write(asker, draft, history), take, live.cancelled)
        finally:
            writer.close_text()

    async def _history(self, caller: Caller, turn_id: UUID, question: Question, draft: Draft) -> list[Said]:
        """What was said before. Without a model the last messages are enough."""
        limit = MOST_HISTORY if self._answering.has_model else MESSAGES
        if not (question.use_rag or self._answering.has_model):
            return []
        async with self._uow(caller) as uow:
            before = said_before(await uow.messages.before_turn(turn_id, limit=limit))
            if before and self._answering.has_model:
                await draft.masks.recall(uow, question.session_id)
            return before

    async def _retrieve(
        self, caller: Caller, live: LiveTurn, question: Question, draft: Draft, history: list[Said]
    ) -> None:
        rewritten = await self._answering.rewritten(question, draft, history, live.cancelled)
        filters = Filters(document_ids=question.document_ids)
        # A key asks for somebody: from what that person may read, unless documents are named.
        found = await self._retrieval.retrieve(
            caller if question.document_ids is not None else caller.for_user(live.owner),
            rewritten or question.content,
            top_k=question.top_k or self._top_k,
            filters=filters,
            lang=question.lang,
            history=() if rewritten else history[-MESSAGES:],
        )
        draft.sources, draft.trace = found.sources, found.trace
        draft.answerable, draft.sure, draft.asked = found.answerable, found.sure, found.asked
        draft.timing["retrieval_ms"] = draft.passed()

    @property
    def answered_by(self) -> str:
        """Who is asked first for an answer."""
        return self._answering.name

    @property
    def running(self) -> int:
        return len(self._tasks)

    async def drain(self, seconds: float, hurry: asyncio.Event | None = None) -> int:
        """Lets running turns finish for so long, or until `hurry` is set; the others are ended as interrupted, with
        the text they had. How many those were."""
        if self._tasks:
            await _all_done(self._tasks, seconds, hurry or asyncio.Event())
        late = [*self._tasks]
        for live in self._live.all():
            live.interrupt()
        if late:
            _, stuck = await asyncio.wait(late, timeout=INTERRUPT_SECONDS)
            for task in stuck:  # their leases run out, and whoever sees that first ends them
                task.cancel()
        self._log.end()
        return len(late)


async def _all_done(tasks: set[asyncio.Task[None]], seconds: float, hurry: asyncio.Event) -> None:
    both = {asyncio.ensure_future(asyncio.wait([*tasks])), asyncio.ensure_future(hurry.wait())}
    await asyncio.wait(both, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    await cancel(*both)
