"""What a ranking is worth. Rankings hold each item once, best first; `grades` names the relevant ones."""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)


def first_rank(ranking: Sequence[Item], relevant: Collection[Item]) -> int:
    """Of the first relevant item, from 1; 0 when none is there."""
    return next((rank for rank, item in enumerate(ranking, start=1) if item in relevant), 0)


def reciprocal(rank: int) -> float:
    """1/rank; 0 for rank 0, which stands for not found."""
    return 1 / rank if rank else 0.0


def recall(ranking: Sequence[Item], relevant: Collection[Item], k: int) -> float:
    """The share of the relevant items, at least one, among the first k."""
    return sum(item in relevant for item in ranking[:k]) / len(relevant)


def ndcg(ranking: Sequence[Item], grades: Mapping[Item, int], k: int) -> float:
    """nDCG@k as trec_eval counts it: gain = grade, discount log2(rank + 1). 0 when no grade is positive."""
    best = _dcg(sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k])
    return _dcg([max(grades.get(item, 0), 0) for item in ranking[:k]]) / best if best else 0.0


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank; `values` must not be empty."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def mean(values: Collection[float]) -> float | None:
    return sum(values) / len(values) if values else None
