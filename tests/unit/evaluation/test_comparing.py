import itertools
from pathlib import Path

import numpy as np
import pytest

from app.evaluation.comparing import Bound, compare, dropped, missed, p_value, parse_bound
from app.evaluation.errors import BadSet
from app.evaluation.results import InstanceInfo, QuestionResult, Run, SetInfo, metrics_by_language, read_run


def result(number: int, ms: float = 1, lang: str = "en", **scores: float) -> QuestionResult:
    scores = {name.replace("_at_", "@"): value for name, value in scores.items()}
    return QuestionResult(
        id=str(number), text=f"question {number}", lang=lang, answerable=True, expected=[], rank=0, found=[],
        scores=scores, search_ms=ms,
    )  # fmt: skip


def run(*results: QuestionResult) -> Run:
    info = SetInfo(name="s", split=None, questions=0, judged=0, unanswerable=0, documents=0, passages=0, missing=[])
    instance = InstanceInfo(version="1", model="m", answered_by=None, top_k=50, at="now")
    return Run(
        set=info, instance=instance, metrics=metrics_by_language(results), counts={"all": len(results)},
        questions=[*results],
    )  # fmt: skip


def test_means_by_language_and_percentiles() -> None:
    found = run(result(1, 10, ndcg_at_10=1), result(2, 30, "hi", ndcg_at_10=0), result(3, 20, "hi", refusal_wrong=1))
    assert [*found.metrics] == ["all", "en", "hi"]
    assert found.metrics["all"]["ndcg@10"] == 0.5
    assert found.metrics["hi"] == {"ndcg@10": 0, "refusal_wrong": 1, "search_p50_ms": 20, "search_p95_ms": 30}


def test_better_worse_and_which() -> None:
    before = run(result(1, ndcg_at_10=0.5), result(2, ndcg_at_10=0.5), result(3, refusal_wrong=0), result(4, ms=900))
    after = run(result(1, ndcg_at_10=1), result(2, ndcg_at_10=0.1), result(3, refusal_wrong=1), result(5, ms=900))
    found = compare(before, after)
    assert (found.questions, found.only_before, found.only_after) == (3, 1, 1)
    assert [moved.id for moved in found.better] == ["1"]
    assert [moved.id for moved in found.worse] == ["3", "2"]
    changes = {change.metric: change for change in found.changes}
    assert changes["ndcg@10"].drop == pytest.approx(-0.05)
    assert changes["refusal_wrong"].drop == 1
    assert (changes["search_p95_ms"].after, changes["search_p95_ms"].p) == (1, None)


def test_no_question_in_common() -> None:
    with pytest.raises(BadSet, match="no question in common"):
        compare(run(result(1)), run(result(2)))


def test_p_is_that_of_all_sign_flips() -> None:
    differences = np.array([0.5, 0.25, 0.0, 0.5, 0.1, -0.2, 0.3, 0.4, 0.1, 0.2])
    nonzero = differences[differences != 0]
    sums = [
        abs(sum(s * d for s, d in zip(signs, nonzero, strict=True))) for signs in itertools.product((1, -1), repeat=9)
    ]
    exact = sum(value >= nonzero.sum() - 1e-9 for value in sums) / len(sums)
    assert p_value(differences) == pytest.approx(exact, abs=0.01)
    assert p_value(np.zeros(5)) == 1
    assert p_value(np.full(30, 0.1)) < 0.001


def test_bounds() -> None:
    metrics = {"all": {"ndcg@10": 0.7, "refusal_wrong": 0.2}, "hi": {"ndcg@10": 0.4}}
    assert missed(metrics, [Bound("ndcg@10", 0.7)], [Bound("refusal_wrong", 0.2)]) == []
    assert missed(metrics, [Bound("ndcg@10", 0.71), Bound("ndcg@10", 0.5, "hi")], [Bound("refusal_wrong", 0.1)]) == [
        "ndcg@10 is 0.7000, not at least 0.71",
        "hi:ndcg@10 is 0.4000, not at least 0.5",
        "refusal_wrong is 0.2000, not at most 0.1",
    ]
    for bound in (Bound("nonsense", 1), Bound("ndcg@10", 1, "te")):
        with pytest.raises(BadSet):
            missed(metrics, [bound], [])


def test_bounds_as_they_are_typed() -> None:
    assert parse_bound("ndcg@10=0.7") == Bound("ndcg@10", 0.7)
    assert parse_bound("hi:ndcg@10=.7") == Bound("ndcg@10", 0.7, "hi")
    for text in ("ndcg@10", "ndcg@10=", "=1", "ndcg@10=much", ":ndcg@10=1", "hi:=1", "a=nan"):
        with pytest.raises(BadSet, match="is no limit"):
            parse_bound(text)


def test_drops() -> None:
    before = run(result(1, 10, ndcg_at_10=1, refusal_wrong=0))
    found = compare(before, run(result(1, 99, ndcg_at_10=0.9, refusal_wrong=1)))
    assert dropped(found, [], None) == []
    assert dropped(found, [], 0.1) == ["refusal_wrong is worse by 1.0000, allowed is 0.1"]
    assert len(dropped(found, [], 0.05)) == 2
    assert dropped(found, [Bound("refusal_wrong", 1), Bound("search_p50_ms", 50)], 0.1) == [
        "search_p50_ms is worse by 89.0000, allowed is 50"
    ]
    assert dropped(compare(before, before), [], 0) == []
    with pytest.raises(BadSet, match="not in both"):
        dropped(found, [Bound("recall@5", 0)], None)


def test_saved_runs(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    saved = run(result(1, ndcg_at_10=1))
    path.write_text(saved.model_dump_json())
    assert read_run(path) == saved
    path.write_text("{}")
    with pytest.raises(BadSet, match="is no saved run: set: Field required"):
        read_run(path)
    with pytest.raises(BadSet, match="there is no file"):
        read_run(tmp_path / "nowhere")
