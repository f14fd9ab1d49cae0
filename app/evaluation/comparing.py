"""Two runs of the same questions: what changed, and whether chance explains it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.evaluation.errors import BadSet
from app.evaluation.results import ALL, QuestionResult, Run, latencies, lower_is_better

SIGN_FLIPS = 10_000
FLIPS_AT_ONCE = 500
SEED = 20_000
DECIDING = ("ndcg@10", "page_strict@5", "refusal_right", "refusal_wrong")
"""The scores by which a question is called better or worse, the first that it has."""


@dataclass(frozen=True, slots=True)
class Change:
    """`drop`: by how much it is worse, in whatever direction worse is. `p`: of a paired randomisation test, two-sided;
    None for milliseconds."""

    language: str
    metric: str
    before: float
    after: float
    p: float | None

    @property
    def drop(self) -> float:
        return self.after - self.before if lower_is_better(self.metric) else self.before - self.after


@dataclass(frozen=True, slots=True)
class Moved:
    id: str
    text: str
    metric: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Difference:
    questions: int
    only_before: int
    only_after: int
    changes: list[Change]
    better: list[Moved]
    worse: list[Moved]


def compare(before: Run, after: Run) -> Difference:
    """Over the questions that both have. BadSet when there are none."""
    one = {question.id: question for question in before.questions}
    other = {question.id: question for question in after.questions}
    both = [id_ for id_ in one if id_ in other and one[id_].text == other[id_].text]
    if not both:
        raise BadSet("the two runs have no question in common")
    moved = [found for id_ in both if (found := _moved(one[id_], other[id_])) is not None]
    return Difference(
        questions=len(both),
        only_before=len(one) - len(both),
        only_after=len(other) - len(both),
        changes=[*_changes(before, after, [(one[id_], other[id_]) for id_ in both])],
        better=sorted((m for m in moved if _gain(m) > 0), key=lambda m: -_gain(m)),
        worse=sorted((m for m in moved if _gain(m) < 0), key=_gain),
    )


def _changes(before: Run, after: Run, pairs: Sequence[tuple[QuestionResult, QuestionResult]]) -> list[Change]:
    found = []
    for language, metrics in before.metrics.items():
        mine = [(a, b) for a, b in pairs if language in (ALL, a.lang)]
        if not mine:
            continue
        for metric in metrics:
            if metric not in after.metrics.get(language, {}):
                continue
            if metric.endswith("_ms"):
                one_ms, other_ms = (latencies(side)[metric] for side in zip(*mine, strict=True))
                found.append(Change(language, metric, one_ms, other_ms, None))
                continue
            scores = np.array([(a.scores[metric], b.scores[metric]) for a, b in mine if _have(metric, a, b)])
            if len(scores):
                one, other = scores.mean(axis=0)
                found.append(Change(language, metric, float(one), float(other), p_value(scores[:, 1] - scores[:, 0])))
    return found


def _have(metric: str, *results: QuestionResult) -> bool:
    return all(metric in result.scores for result in results)


def p_value(differences: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """How often chance alone, flipping the sign of each difference, gives a mean as far from 0 (Fisher's test)."""
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    random = np.random.default_rng(SEED)
    observed = abs(nonzero.sum()) - 1e-9
    extreme = 0
    for _ in range(SIGN_FLIPS // FLIPS_AT_ONCE):
        signs = random.integers(0, 2, (FLIPS_AT_ONCE, len(nonzero)), dtype=np.int8) * 2 - 1
        extreme += int((abs(signs @ nonzero) >= observed).sum())
    return (extreme + 1) / (SIGN_FLIPS + 1)


def _moved(one: QuestionResult, other: QuestionResult) -> Moved | None:
    metric = next((name for name in DECIDING if _have(name, one, other)), None)
    if metric is None or one.scores[metric] == other.scores[metric]:
        return None
    return Moved(one.id, one.text, metric, one.scores[metric], other.scores[metric])


def _gain(moved: Moved) -> float:
    difference = moved.after - moved.before
    return -difference if lower_is_better(moved.metric) else difference


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit on a metric, as it is typed: `ndcg@10=0.7`, for one language `hi:ndcg@10=0.6`."""

    metric: str
    value: float
    language: str = ALL

    @property
    def name(self) -> str:
        return self.metric if self.language == ALL else f"{self.language}:{self.metric}"


def parse_bound(text: str) -> Bound:
    name, equals, value = text.partition("=")
    language, colon, metric = name.strip().rpartition(":")
    try:
        bound = Bound(metric, float(value), language or ALL)
    except ValueError:
        equals = ""
    if not equals or not metric or (colon and not language) or bound.value != bound.value:
        raise BadSet(f"{text} is no limit: write a metric and a number, as in ndcg@10=0.7")
    return bound


def missed(metrics: Mapping[str, Mapping[str, float]], least: Sequence[Bound], most: Sequence[Bound]) -> list[str]:
    """One sentence for each bound that is not kept. BadSet for a metric that was not measured."""
    return [
        f"{bound.name} is {value:.4f}, not {word} {bound.value:g}"
        for bounds, word in ((least, "at least"), (most, "at most"))
        for bound in bounds
        if _missed(value := _value(metrics, bound), bound.value, word)
    ]


def _missed(value: float, bound: float, word: str) -> bool:
    return value < bound if word == "at least" else value > bound


def _value(metrics: Mapping[str, Mapping[str, float]], bound: Bound) -> float:
    measured = metrics.get(bound.language)
    if measured is None:
        raise BadSet(f"no row {bound.language}; there are {', '.join(metrics)}")
    if bound.metric not in measured:
        raise BadSet(f"{bound.name} was not measured; measured: {', '.join(measured)}")
    return measured[bound.metric]


def dropped(difference: Difference, limits: Sequence[Bound], every: float | None) -> list[str]:
    """One sentence for each metric that is worse by more than allowed; `every`: any but milliseconds."""
    known = {(change.language, change.metric) for change in difference.changes}
    for limit in limits:
        if (limit.language, limit.metric) not in known:
            raise BadSet(f"{limit.name} is not in both runs")
    allowed = {(limit.language, limit.metric): limit.value for limit in limits}
    found = []
    for change in difference.changes:
        fallback = every if change.language == ALL and not change.metric.endswith("_ms") else None
        most = allowed.get((change.language, change.metric), fallback)
        if most is not None and change.drop > most + 1e-9:
            name = Bound(change.metric, 0, change.language).name
            found.append(f"{name} is worse by {change.drop:.4f}, allowed is {most:g}")
    return found
