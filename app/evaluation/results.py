"""A run as it is saved: what was asked of what, each question's scores, and their means by language."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from app.evaluation.errors import BadSet
from app.rag.metrics import percentile

ALL = "all"
LATENCIES = ("search_ms", "turn_ms")
PERCENTILES = (50, 95)


class Found(BaseModel):
    document: str
    page: int | None
    score: float
    right: bool
    text: str


class Answered(BaseModel):
    content: str
    finish_reason: str
    problems: list[str]
    """What is wrong with its citations."""


class QuestionResult(BaseModel):
    """`scores`: only those that this question can be judged by; shares and 0/1, never milliseconds."""

    id: str
    text: str
    lang: str
    answerable: bool | None
    expected: list[str]
    rank: int
    """Of the first right one, 0 when none was found."""
    found: list[Found]
    scores: dict[str, float]
    search_ms: float
    turn_ms: float | None = None
    answer: Answered | None = None


class SetInfo(BaseModel):
    name: str
    split: str | None
    questions: int
    judged: int
    unanswerable: int
    documents: int
    passages: int
    missing: list[str]
    """Named in the set, not there."""


class InstanceInfo(BaseModel):
    version: str
    model: str
    answered_by: str | None
    top_k: int
    at: str


class Run(BaseModel):
    format: Literal[1] = 1
    set: SetInfo
    instance: InstanceInfo
    metrics: dict[str, dict[str, float]] = Field(description="By language, and `all`.")
    counts: dict[str, int]
    questions: list[QuestionResult]


def metrics_by_language(results: Sequence[QuestionResult]) -> dict[str, dict[str, float]]:
    """`all` first. A language's row stands where there is more than one."""
    languages = sorted({result.lang for result in results})
    rows = {ALL: metrics(results)}
    if len(languages) > 1:
        rows |= {lang: metrics([result for result in results if result.lang == lang]) for lang in languages}
    return rows


def metrics(results: Sequence[QuestionResult]) -> dict[str, float]:
    """Means of what the questions have, in one order, then milliseconds."""
    gathered: dict[str, list[float]] = {}
    for result in results:
        for name, score in result.scores.items():
            gathered.setdefault(name, []).append(score)
    means = {name: sum(gathered[name]) / len(gathered[name]) for name in sorted(gathered, key=_place)}
    return means | latencies(results)


def latencies(results: Sequence[QuestionResult]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in LATENCIES:
        values = [value for result in results if (value := getattr(result, name)) is not None]
        if values:
            found |= {f"{name.removesuffix('_ms')}_p{p}_ms": percentile(values, p) for p in PERCENTILES}
    return found


ORDER = ("ndcg", "mrr", "recall", "page_strict", "page_lenient", "refusal_right", "refusal_wrong", "cited", "citation")


def _place(name: str) -> tuple[int, int]:
    family, _, k = name.partition("@")
    known = next((at for at, start in enumerate(ORDER) if family.startswith(start)), len(ORDER))
    return known, int(k or 0)


def lower_is_better(name: str) -> bool:
    return name == "refusal_wrong" or name.endswith("_ms")


def read_run(path: Path) -> Run:
    try:
        return Run.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise BadSet(f"there is no file {path}") from exc
    except ValidationError as exc:
        first: dict[str, Any] = dict(exc.errors()[0])
        place = ".".join(str(part) for part in first["loc"])
        raise BadSet(f"{path} is no saved run: {place + ': ' if place else ''}{first['msg']}") from exc
