"""What two searches for one question have in common, and what can be said about the rest."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.models import Document
from app.schemas.trace import Trace, TraceHit
from app.services.forgetting import without_titles
from app.services.replay import Found, compare, reasons

ASKED = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LEAVE, PARKING = UUID(int=101), UUID(int=102)


def hit(n: int, chunk: int, document: UUID = LEAVE, **fields: Any) -> TraceHit:
    values = {"n": n, "chunk_id": UUID(int=chunk), "document_id": document, "document_version": 1, "score": 0.5}
    return TraceHit.model_validate(values | fields)


def found(*hits: TraceHit, texts: dict[int, str | None] | None = None, **fields: Any) -> Found:
    trace = Trace.model_validate(fields | {"hits": hits})
    return Found(trace, {UUID(int=chunk): text for chunk, text in (texts or {}).items()})


def document(
    id_: UUID, *, version: int = 1, created: datetime = ASKED - DAY, indexed: datetime | None = None
) -> Document:
    return Document(id=id_, indexed_version=version, created_at=created, indexed_at=indexed or created)


def why(before: Found, now: Found, *documents: Document) -> list[tuple[Any, ...]]:
    """(code, document, chunk, from, to) of each reason."""
    said = reasons(before, now, compare(before, now), {each.id: each for each in documents}, ASKED)
    return [(each.code, each.document_id, each.chunk and each.chunk.int, each.from_, each.to) for each in said]


def test_the_same() -> None:
    before = found(hit(1, 1), hit(2, 2))
    changes = compare(before, before)
    assert changes.model_dump() == {"added": [], "removed": [], "moved": [], "score_changes": []}
    assert why(before, before, document(LEAVE)) == []


def test_places_and_scores() -> None:
    before = found(hit(1, 1, score=0.8), hit(2, 2, score=0.7), hit(3, 3, score=0.5))
    now = found(hit(1, 2, score=0.9), hit(2, 1, score=0.8003), hit(3, 3, score=0.5))
    changes = compare(before, now).model_dump(by_alias=True)
    assert changes["moved"] == [{"chunk": UUID(int=2), "from": 2, "to": 1}, {"chunk": UUID(int=1), "from": 1, "to": 2}]
    assert changes["score_changes"] == [{"chunk": UUID(int=2), "from": 0.7, "to": 0.9}]
    assert why(before, now, document(LEAVE)) == [("rank_moved", None, 2, 2, 1), ("rank_moved", None, 1, 1, 2)]


def test_candidates_that_were_not_shown_only_explain() -> None:
    before = found(hit(1, 1), hit(2, 2, PARKING, used=False))
    now = found(hit(1, 2, PARKING), hit(2, 3, used=False), hit(7, 1, used=False))
    changes = compare(before, now)
    assert [each.chunk_id.int for each in changes.added] == [2]
    assert [each.chunk_id.int for each in changes.removed] == [1]
    assert why(before, now, document(LEAVE), document(PARKING)) == [
        ("rank_moved", LEAVE, 1, 1, 7), ("rank_moved", PARKING, 2, 2, 1),
    ]  # fmt: skip


def test_what_was_not_even_a_candidate_had_no_place() -> None:
    before, now = found(hit(1, 1)), found(hit(1, 2, PARKING))
    assert why(before, now, document(LEAVE), document(PARKING)) == [
        ("rank_moved", LEAVE, 1, 1, None), ("rank_moved", PARKING, 2, None, 1),
    ]  # fmt: skip


def test_the_same_text_in_a_new_version_is_the_same_passage() -> None:
    before = found(hit(1, 1), hit(2, 2), texts={1: "a", 2: "a"})
    now = found(
        hit(1, 11, document_version=2), hit(2, 12, document_version=2), hit(3, 13, PARKING),
        texts={11: "a", 12: "a", 13: "a"},
    )  # fmt: skip
    changes = compare(before, now)
    assert [each.chunk_id.int for each in changes.added] == [13]
    assert (changes.removed, changes.moved) == ([], [])


def test_a_forgotten_text_is_the_same_as_nothing() -> None:
    before, now = found(hit(1, 1), texts={1: None}), found(hit(1, 11), texts={11: None})
    assert len(compare(before, now).removed) == 1


def test_documents() -> None:
    before = found(hit(1, 1), hit(2, 2), hit(3, 3, PARKING))
    assert why(before, found(), document(PARKING, version=4)) == [
        ("document_deleted", LEAVE, None, None, None), ("document_updated", PARKING, None, 1, 4),
    ]  # fmt: skip


def test_a_document_is_new_when_its_first_version_came_later() -> None:
    now = found(hit(1, 1), hit(2, 2))
    added = [("document_added", LEAVE, None, None, None)]
    assert why(found(), now, document(LEAVE, created=ASKED + DAY)) == added
    assert why(found(), now, document(LEAVE, indexed=ASKED + DAY)) == added
    indexed_again = document(LEAVE, version=2, indexed=ASKED + DAY)
    assert {reason[0] for reason in why(found(), now, indexed_again)} == {"rank_moved"}


def test_the_service() -> None:
    before = found(space="old", reranker="a", mode="hybrid")
    assert why(before, found(space="new", reranker=None, mode="text")) == [
        ("embedding_space_changed", None, None, "old", "new"),
        ("reranker_changed", None, None, "a", None),
        ("mode_changed", None, None, "hybrid", "text"),
    ]
    assert why(found(), found(space="new", reranker="a", mode="text")) == [], "not recorded is not different"


def test_traces_are_stored_without_titles() -> None:
    trace = {"mode": "text", "hits": [{"n": 1, "title": "secret"}, {"n": 2}]}
    assert without_titles(trace) == {"mode": "text", "hits": [{"n": 1}, {"n": 2}]}
    assert trace["hits"][0] == {"n": 1, "title": "secret"}
    assert without_titles({"mode": "text"}) == {"mode": "text"}
