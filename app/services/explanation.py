"""Why an answer is as it is: what was found for its question, and what would be found today."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Conflict
from app.db.uow import UnitOfWork, UowFactory
from app.models import Document, Turn
from app.rag.conversation import MESSAGES
from app.schemas.messages import Citation
from app.schemas.search import Filters
from app.schemas.trace import Reason, Trace, TraceHit, TurnReplay, TurnTrace
from app.services.replay import Found, compare, reason_of, reasons
from app.services.retrieval import RetrievalService, said_before
from app.services.turns import turn_not_found

COPIED = ("document_id", "document_version", "page")
"""What an older trace lacks and the snapshots of the sources have."""
Documents = Mapping[UUID, Document]


@dataclass(frozen=True, slots=True)
class _Told:
    """A turn with its question and answer, and what it found."""

    turn: Turn
    question: str
    answer: dict[str, Any]
    found: Found
    before: list[dict[str, Any]]
    """Messages that the question may refer to."""
    owner: str
    """Whose session it is."""

    @property
    def stored(self) -> dict[str, Any]:
        return self.turn.trace or {}

    @property
    def asked(self) -> list[UUID] | None:
        """The documents it was restricted to; None when it was not."""
        ids = self.turn.request.get("document_ids")
        return None if ids is None else [UUID(id_) for id_ in ids]


class ExplanationService:
    def __init__(self, uow: UowFactory, retrieval: RetrievalService, *, top_k: int) -> None:
        self._uow = uow
        self._retrieval = retrieval
        self._top_k = top_k

    async def trace(self, caller: Caller, turn_id: UUID) -> TurnTrace:
        """NotFound(turn_not_found)."""
        async with self._uow(caller) as uow:
            told = await _load(uow, turn_id)
            documents = await _documents(uow, told.found)
        turn, answer, usage = told.turn, told.answer, told.answer.get("usage") or {}
        trace = told.found.trace
        hits = _titled(trace.hits, documents)
        return TurnTrace(
            turn_id=turn.id,
            status=turn.status,
            question=told.question,
            request=turn.request,
            trace=trace.model_copy(update={"hits": hits}) if told.stored or hits else None,
            model=told.stored.get("model") or usage.get("model"),
            prompt_version=told.stored.get("prompt_version"),
            usage=usage or None,
            finish_reason=turn.finish_reason,
            error_code=turn.error_code,
            citations=[Citation.model_validate(each) for each in answer.get("citations") or ()],
        )

    async def replay(self, caller: Caller, turn_id: UUID) -> TurnReplay:
        """Searches today's index for what the turn searched for. Nothing is stored, and no model is asked.

        NotFound(turn_not_found), Conflict(turn_running | no_retrieval).
        """
        async with self._uow(caller) as uow:
            told = await _load(uow, turn_id)
            known = await uow.documents.known(told.asked or [])
        if told.turn.status == "running":
            raise Conflict("turn_running", "The turn is running; wait for it or cancel it.")
        if not told.turn.request.get("use_rag", True):
            raise Conflict("no_retrieval", "The turn was asked to answer without documents.")
        now = await self._search(caller, told, known)
        async with self._uow(caller) as uow:
            documents = await _documents(uow, told.found, now)
        changes = compare(told.found, now)
        return TurnReplay(
            turn_id=turn_id,
            query=now.trace.query or told.question,
            before=_titled(told.found.used, documents),
            now=_titled(now.used, documents),
            changes=changes.model_copy(
                update={name: _titled(getattr(changes, name), documents) for name in ("added", "removed")}
            ),
            same=not (changes.added or changes.removed or changes.moved),
            because=_of_the_turn(told, known) + reasons(told.found, now, changes, documents, told.turn.created_at),
        )

    async def _search(self, caller: Caller, told: _Told, known: set[UUID]) -> Found:
        document_ids = None if told.asked is None else [id_ for id_ in told.asked if id_ in known]
        if document_ids == []:
            return Found(Trace(), {})
        request = told.turn.request
        today = await self._retrieval.retrieve(
            caller if document_ids is not None else caller.for_user(told.owner),
            told.question,
            top_k=request.get("top_k") or self._top_k,
            filters=Filters(document_ids=document_ids),
            lang=request.get("lang"),
            history=said_before(told.before),
        )
        return _found(today.trace, [source.model_dump() for source in today.sources])


async def _load(uow: UnitOfWork, turn_id: UUID) -> _Told:
    turn = await uow.turns.get(turn_id)
    question = await uow.messages.get(turn.user_message_id) if turn else None
    session = await uow.sessions.get(turn.session_id) if turn else None
    if turn is None or question is None or session is None:
        raise turn_not_found()
    answer = await uow.messages.get(turn.assistant_message_id) if turn.assistant_message_id else None
    answer = answer or {}
    before = await uow.messages.before_turn(turn_id, limit=MESSAGES)
    return _Told(
        turn, question["content"], answer, _found(turn.trace or {}, answer.get("sources", [])), before, session.user_id
    )


def _found(trace: dict[str, Any], sources: Sequence[dict[str, Any]]) -> Found:
    """`sources` complete what the trace lacks, and are all there is of a turn that recorded none."""
    shown = {str(source["chunk_id"]): source for source in sources if source["chunk_id"]}
    recorded = trace.get("hits") or [
        {key: source[key] for key in ("n", "chunk_id", "score")} for source in shown.values()
    ]
    hits = []
    for hit in recorded:
        source = shown.get(str(hit["chunk_id"]), {})
        hits.append({key: source.get(key) for key in COPIED} | hit | {"title": None})
    texts = {UUID(chunk): source["text"] for chunk, source in shown.items()}
    return Found(Trace.model_validate(trace | {"hits": hits}), texts)


async def _documents(uow: UnitOfWork, *found: Found) -> Documents:
    """Those of the hits that the caller can read, by id."""
    ids = {hit.document_id for each in found for hit in each.trace.hits if hit.document_id}
    return {document.id: document for document in await uow.documents.some(ids)}


def _titled(hits: Sequence[TraceHit], documents: Documents) -> list[TraceHit]:
    titles = {document.id: document.title for document in documents.values()}
    return [hit.model_copy(update={"title": hit.document_id and titles.get(hit.document_id)}) for hit in hits]


def _of_the_turn(told: _Told, known: set[UUID]) -> list[Reason]:
    found = []
    if "hits" not in told.stored and not told.found.used:
        found.append(reason_of("not_recorded"))
    if "question" in told.stored and "query" not in told.stored:
        found.append(reason_of("query_forgotten"))
    cited = {hit.document_id for hit in told.found.used}
    gone = [id_ for id_ in told.asked or () if id_ not in known and id_ not in cited]
    return found + [reason_of("document_deleted", document_id=id_) for id_ in gone]
