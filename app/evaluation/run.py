"""An evaluation from a set to a result."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from app.core.caller import Caller
from app.core.version import VERSION
from app.evaluation.asking import PASSAGES, Asking
from app.evaluation.errors import BadSet
from app.evaluation.results import InstanceInfo, QuestionResult, Run, SetInfo, metrics_by_language
from app.evaluation.sets import EvaluationSet
from app.runtime import Runtime


async def evaluate(
    runtime: Runtime,
    caller: Caller,
    set_: EvaluationSet,
    *,
    answers: bool,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Run:
    """BadSet when the caller has none of the documents that the set names."""
    asking = Asking(runtime, caller, answers=answers)
    questions, missing = await asking.resolve(set_.questions)
    named = {item.document for question in questions for item in question.relevant}
    if named and len(missing) == len(named):
        raise BadSet(f"none of the {len(named)} documents that {set_.name} names is here; ingest them, or --documents")
    results = await asking.run(questions, progress)
    async with runtime.uow(caller) as uow:
        documents, passages = await uow.evaluation.count_documents()
    return Run(
        set=SetInfo(
            name=set_.name,
            split=set_.split,
            questions=len(results),
            judged=sum(bool(question.relevant) for question in set_.questions),
            unanswerable=sum(question.answerable is False for question in set_.questions),
            documents=documents,
            passages=passages,
            missing=missing,
        ),
        instance=InstanceInfo(
            version=VERSION,
            model=runtime.spaces.current.model,
            answered_by=runtime.chat.answered_by if answers else None,
            top_k=PASSAGES,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
        metrics=metrics_by_language(results),
        counts=_counts(results),
        questions=results,
    )


def _counts(results: Sequence[QuestionResult]) -> dict[str, int]:
    languages = sorted({result.lang for result in results})
    return {"all": len(results)} | {lang: sum(result.lang == lang for result in results) for lang in languages}
