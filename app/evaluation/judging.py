"""Passages found, held against what was expected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.evaluation.questions import Item, Question
from app.rag.metrics import first_rank, ndcg, recall, reciprocal
from app.schemas.search import Source

NDCG_AT = 10
RECALL_AT = (1, 3, 5, 10, 20)
PAGES_AT = (1, 5)


@dataclass(frozen=True, slots=True)
class Names:
    """What the set calls a document, and what this instance does."""

    given: Mapping[UUID, Sequence[str]]
    labels: Mapping[UUID, str]

    def item(self, question: Question, source: Source) -> Item:
        """As the question spells it where it is one that it expects."""
        id_ = source.document_id
        names = [*self.given.get(id_, ()), self.labels.get(id_, source.title)] if id_ else [source.title]
        for name in names:
            for page in (source.page, None):
                if Item(name, page) in question.relevant:
                    return Item(name, page)
        known = next((name for name in names if any(item.document == name for item in question.relevant)), names[0])
        return Item(known, source.page if question.has_pages else None)


def judge(question: Question, items: Sequence[Item]) -> tuple[int, dict[str, float]]:
    """(rank of the first right item, scores). `items`: one for each passage, best first."""
    relevant = question.relevant
    if not relevant:
        return 0, {}
    ranking = [*dict.fromkeys(items)]
    rank = first_rank(ranking, relevant)
    scores = {f"ndcg@{NDCG_AT}": ndcg(ranking, relevant, NDCG_AT)}
    scores[f"mrr@{NDCG_AT}"] = reciprocal(rank if rank <= NDCG_AT else 0)
    scores |= {f"recall@{k}": recall(ranking, relevant, k) for k in RECALL_AT}
    if question.has_pages:
        for k in PAGES_AT:
            scores[f"page_strict@{k}"] = float(any(item in relevant for item in items[:k]))
            scores[f"page_lenient@{k}"] = float(any(is_near(question, item) for item in items[:k]))
    return rank, scores


def is_near(question: Question, item: Item) -> bool:
    """The page, or the one after it: answers run over page ends."""
    before = item._replace(page=item.page - 1) if item.page is not None else item
    return item in question.relevant or before in question.relevant
