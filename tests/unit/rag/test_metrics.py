"""Against values worked out by hand."""

import math

import pytest

from app.rag.metrics import first_rank, mean, ndcg, percentile, recall, reciprocal


def test_ndcg_of_graded_judgements() -> None:
    grades = {"a": 2, "b": 1}
    best = 2 + 1 / math.log2(3)
    assert ndcg(["a", "b"], grades, 10) == 1
    assert ndcg(["b", "a"], grades, 10) == pytest.approx((1 + 2 / math.log2(3)) / best)
    assert ndcg(["x", "x2", "a"], grades, 10) == pytest.approx((2 / math.log2(4)) / best)
    assert ndcg(["x", "x2", "a"], grades, 2) == 0
    assert ndcg([], grades, 10) == ndcg(["a"], {}, 10) == ndcg(["a"], {"a": 0}, 10) == 0


def test_more_relevant_ones_than_places() -> None:
    assert ndcg(["a"], {"a": 1, "b": 1, "c": 1}, 1) == 1
    assert recall(["a", "x", "b"], {"a", "b", "c", "d"}, 2) == 0.25


def test_ranks() -> None:
    assert [first_rank(ranking, {"a"}) for ranking in (["a"], ["x", "a", "a"], ["x"], [])] == [1, 2, 0, 0]
    assert [reciprocal(rank) for rank in (1, 4, 0)] == [1, 0.25, 0]


def test_percentile_is_a_value_that_occurred() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [percentile(values, p) for p in (0, 20, 21, 50, 95, 100)] == [1, 1, 2, 3, 5, 5]
    assert (mean([]), mean([1, 0, 0, 1])) == (None, 0.5)
