from uuid import UUID

from app.core.ids import new_id
from app.evaluation.judging import Names, judge
from app.evaluation.questions import Item, Question
from app.schemas.search import Source

PAGES = Question("1", "q", {Item("d", 3): 1, Item("e"): 1})


def source(document_id: UUID, page: int | None = None) -> Source:
    return Source(n=1, document_id=document_id, title="title", page=page, text="", score=0.5)


def test_a_document_goes_by_the_name_that_the_question_uses() -> None:
    one, other = new_id(), new_id()
    names = Names({one: ["d", "d.pdf"]}, {one: "x-17", other: "y-18"})
    assert names.item(PAGES, source(one, 3)) == Item("d", 3)
    assert names.item(PAGES, source(one, 4)) == Item("d", 4)
    assert names.item(Question("2", "q", {Item("d.pdf"): 1}), source(one, 4)) == Item("d.pdf")
    assert names.item(PAGES, source(other, 4)) == Item("y-18", 4)
    assert Names({other: ["e"]}, {}).item(PAGES, source(other, 9)) == Item("e")


def test_pages_strict_and_lenient() -> None:
    found = [Item("d", 9), Item("d", 4), Item("d", 4), Item("d", 2), Item("d", 3), Item("e")]
    rank, scores = judge(PAGES, found)
    assert rank == 4  # of pages, each once
    assert (scores["page_strict@1"], scores["page_strict@5"], scores["page_lenient@1"]) == (0, 1, 0)
    assert judge(PAGES, found[1:])[1]["page_lenient@1"] == 1
    assert (scores["recall@3"], scores["recall@5"]) == (0, 1)
    assert judge(PAGES, [Item("d", 2)])[1]["page_lenient@5"] == 0


def test_documents_count_once_by_their_first_passage() -> None:
    question = Question("1", "q", {Item("d"): 1})
    rank, scores = judge(question, [Item("x")] * 9 + [Item("d")])
    assert (rank, scores["mrr@10"]) == (2, 0.5)
    assert "page_strict@1" not in scores


def test_mrr_ends_at_ten() -> None:
    rank, scores = judge(Question("1", "q", {Item("d"): 1}), [*(Item(str(n)) for n in range(10)), Item("d")])
    assert (rank, scores["mrr@10"], scores["ndcg@10"], scores["recall@20"]) == (11, 0, 0, 1)


def test_what_nobody_has_judged_has_no_scores() -> None:
    assert judge(Question("1", "q"), [Item("d")]) == (0, {})
