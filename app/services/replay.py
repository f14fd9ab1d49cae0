"""What has changed between the passages that an answer had and those that its question finds today, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.models import Document
from app.schemas.trace import Because, MovedHit, Reason, ReplayChanges, ScoreChange, Trace, TraceHit

ROUNDING = 0.0005
"""Scores that differ by less are the same: vectors are stored in 16 bits, and matrix products vary with the machine."""
DETAILS: dict[Because, str] = {
    "document_deleted": "The document has been deleted.",
    "document_updated": "The document has a newer version.",
    "document_added": "The document is new since.",
    "embedding_space_changed": "Another embedding model is in use.",
    "reranker_changed": "Passages are scored by another cross-encoder, or by none.",
    "mode_changed": "Other ways of searching were open to the question.",
    "rank_moved": "The passage has another place among those found.",
    "query_forgotten": "What was searched for is not known any more; the question as it was asked was used.",
    "not_recorded": "The turn ended before it recorded what it had found.",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One search: every candidate, best first, and the text of those that were used, by chunk."""

    trace: Trace
    texts: Mapping[UUID, str | None]

    @property
    def used(self) -> list[TraceHit]:
        return [hit for hit in self.trace.hits if hit.used]


def compare(before: Found, now: Found) -> ReplayChanges:
    names = _names(before, now)
    then = {names[hit.chunk_id]: (place, hit) for place, hit in enumerate(before.used, start=1)}
    today = {hit.chunk_id: (place, hit) for place, hit in enumerate(now.used, start=1)}
    both = [(chunk, then[chunk], today[chunk]) for chunk in today if chunk in then]
    return ReplayChanges(
        added=[hit for chunk, (_, hit) in today.items() if chunk not in then],
        removed=[hit for chunk, (_, hit) in then.items() if chunk not in today],
        moved=[MovedHit(chunk=chunk, from_=old, to=new) for chunk, (old, _), (new, _) in both if old != new],
        score_changes=[
            ScoreChange(chunk=chunk, from_=old.score, to=new.score)
            for chunk, (_, old), (_, new) in both
            if abs(old.score - new.score) > ROUNDING
        ],
    )


def _names(before: Found, now: Found) -> dict[UUID, UUID]:
    """Today's chunk of each passage that was used: the same text has another id in a new version of its document."""
    names = {hit.chunk_id: hit.chunk_id for hit in before.used}
    free = [hit for hit in now.used if hit.chunk_id not in names]
    ids = {hit.chunk_id for hit in now.used}
    for old in before.used:
        text = before.texts.get(old.chunk_id)
        if old.chunk_id in ids or text is None:
            continue
        same = (new for new in free if new.document_id == old.document_id and now.texts.get(new.chunk_id) == text)
        if (new := next(same, None)) is not None:
            names[old.chunk_id] = new.chunk_id
            free.remove(new)
    return names


def reasons(
    before: Found, now: Found, changes: ReplayChanges, documents: Mapping[UUID, Document], asked_at: datetime
) -> list[Reason]:
    """`documents` are those of the hits that the caller can still read."""
    found = _of_the_service(before.trace, now.trace)
    for hit in _one_each(before.used):
        reason = _of_document(hit, documents)
        if reason is not None:
            found.append(reason)
    explained = {reason.document_id for reason in found if reason.document_id}
    for hit in _one_each(changes.added):
        document = documents.get(hit.document_id) if hit.document_id else None
        if document is not None and document.id not in explained and _is_new(document, asked_at):
            found.append(reason_of("document_added", document_id=document.id))
            explained.add(document.id)
    return found + _of_ranks(before, now, changes, explained)


def reason_of(
    code: Because,
    *,
    document_id: UUID | None = None,
    chunk: UUID | None = None,
    from_: int | str | None = None,
    to: int | str | None = None,
) -> Reason:
    return Reason(code=code, detail=DETAILS[code], document_id=document_id, chunk=chunk, from_=from_, to=to)


def _of_the_service(before: Trace, now: Trace) -> list[Reason]:
    found = []
    if before.space and now.space and before.space != now.space:
        found.append(reason_of("embedding_space_changed", from_=before.space, to=now.space))
    if before.space and before.reranker != now.reranker:  # a turn that recorded one recorded the other
        found.append(reason_of("reranker_changed", from_=before.reranker, to=now.reranker))
    if before.mode and now.mode and before.mode != now.mode:
        found.append(reason_of("mode_changed", from_=before.mode, to=now.mode))
    return found


def _one_each(hits: Sequence[TraceHit]) -> list[TraceHit]:
    """The first of each document."""
    return [*{hit.document_id: hit for hit in reversed(hits) if hit.document_id}.values()][::-1]


def _of_document(hit: TraceHit, documents: Mapping[UUID, Document]) -> Reason | None:
    if hit.document_id is None:
        return None
    document = documents.get(hit.document_id)
    if document is None:
        return reason_of("document_deleted", document_id=hit.document_id)
    if hit.document_version is None or hit.document_version == document.indexed_version:
        return None
    return reason_of(
        "document_updated", document_id=document.id, from_=hit.document_version, to=document.indexed_version
    )


def _is_new(document: Document, asked_at: datetime) -> bool:
    """Its first version came after the question."""
    indexed = document.indexed_version == 1 and document.indexed_at is not None and document.indexed_at > asked_at
    return document.created_at > asked_at or indexed


def _of_ranks(before: Found, now: Found, changes: ReplayChanges, explained: set[UUID]) -> list[Reason]:
    """Of passages whose document is as it was; a place is null beyond what was found."""
    then = {hit.chunk_id: hit.n for hit in before.trace.hits}
    today = {hit.chunk_id: hit.n for hit in now.trace.hits}
    found = [reason_of("rank_moved", chunk=each.chunk, from_=each.from_, to=each.to) for each in changes.moved]
    for hit in [*changes.removed, *changes.added]:
        if hit.document_id not in explained:
            old, new = then.get(hit.chunk_id), today.get(hit.chunk_id)
            found.append(reason_of("rank_moved", document_id=hit.document_id, chunk=hit.chunk_id, from_=old, to=new))
    return found
