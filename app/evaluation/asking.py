"""Every question of a set, asked of one tenant's documents, one after the other."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from uuid import UUID

from app.core.caller import Caller
from app.evaluation.answers import answer, citation_problems
from app.evaluation.judging import Names, is_near, judge
from app.evaluation.questions import Item, Question
from app.evaluation.results import Answered, Found, QuestionResult
from app.languages import detect
from app.runtime import Runtime
from app.services.retrieval import Retrieval

PASSAGES = 50
"""Enough to have 10 documents."""
SHOWN = 10
SHOWN_CHARS = 300


async def retrieve(runtime: Runtime, caller: Caller, question: Question) -> Retrieval:
    """The one search of an evaluation: what answers use."""
    return await runtime.retrieval.retrieve(caller, question.text, top_k=PASSAGES, history=question.history)


class Asking:
    def __init__(self, runtime: Runtime, caller: Caller, *, answers: bool) -> None:
        self._runtime = runtime
        self._caller = caller
        self._answers = answers
        self._names: dict[UUID, list[str]] = {}
        self._labels: dict[UUID, str] = {}

    async def resolve(self, questions: Sequence[Question]) -> tuple[list[Question], list[str]]:
        """Learns which documents the set means: (the questions with a name of its own for each that is given by its
        id, the names of those that are not there)."""
        ids = {id_ for question in questions for id_ in question.documents.values()}
        async with self._runtime.uow(self._caller) as uow:
            here = await uow.documents.known([*ids])
            questions = [_with_ids(question, here) for question in questions]
            wanted = {item.document for question in questions for item in question.relevant}
            named = await uow.evaluation.named(wanted)
        given = [(name, id_) for q in questions for name, id_ in q.documents.items() if id_ in here]
        for name, id_ in dict.fromkeys([*named, *given]):
            self._names.setdefault(id_, []).append(name)
        return questions, sorted(wanted - {name for name, _ in [*named, *given]})

    async def run(self, questions: Sequence[Question], progress: Callable[[int, int], None]) -> list[QuestionResult]:
        await retrieve(self._runtime, self._caller, questions[0])  # the first use of everything is slower
        results = []
        for question in questions:
            results.append(await self._ask(question))
            progress(len(results), len(questions))
        return results

    async def _ask(self, question: Question) -> QuestionResult:
        began = time.perf_counter()
        found = await retrieve(self._runtime, self._caller, question)
        milliseconds = 1000 * (time.perf_counter() - began)
        await self._learn({source.document_id for source in found.sources if source.document_id})
        names = Names(self._names, self._labels)
        items = [names.item(question, source) for source in found.sources]
        rank, scores = judge(question, items)
        result = QuestionResult(
            id=question.id,
            text=question.text,
            lang=detect(question.text),
            answerable=question.answerable if question.answerable is not None else (bool(question.relevant) or None),
            expected=[_spelled(item) for item in question.relevant],
            rank=rank,
            found=_shown(question, found, items),
            scores=scores,
            search_ms=round(milliseconds, 2),
        )
        if self._answers:
            await self._answer(question, result)
        return result

    async def _learn(self, ids: Collection[UUID]) -> None:
        new = [id_ for id_ in ids if id_ not in self._labels]
        if new:
            async with self._runtime.uow(self._caller) as uow:
                self._labels |= await uow.evaluation.labels(new)

    async def _answer(self, question: Question, result: QuestionResult) -> None:
        turn = await answer(self._runtime, self._caller, question)
        problems = [] if turn.refused else await citation_problems(self._runtime, self._caller, turn)
        result.turn_ms = round(turn.milliseconds, 2)
        result.answer = Answered(content=turn.content, finish_reason=turn.finish_reason, problems=problems)
        if result.answerable is False:
            result.scores["refusal_right"] = float(turn.refused)
        elif result.answerable:
            result.scores["refusal_wrong"] = float(turn.refused)
        if not turn.refused:
            result.scores["cited"] = float(bool(turn.cited))
            if turn.cited or problems:
                result.scores["citation_valid"] = float(not problems)


def _with_ids(question: Question, here: Collection[UUID]) -> Question:
    """Titles need not be unique."""
    names = {name: f"{name} [{str(id_)[-12:]}]" for name, id_ in question.documents.items() if id_ in here}
    items = {
        item._replace(document=names.get(item.document, item.document)): g for item, g in question.relevant.items()
    }
    documents = {names.get(name, name): id_ for name, id_ in question.documents.items()}
    return replace(question, relevant=items, documents=documents)


def _shown(question: Question, found: Retrieval, items: Sequence[Item]) -> list[Found]:
    return [
        Found(
            document=item.document,
            page=source.page,
            score=source.score,
            right=is_near(question, item),
            text=(source.text or "")[:SHOWN_CHARS],
        )
        for source, item in [*zip(found.sources, items, strict=True)][:SHOWN]
    ]


def _spelled(item: Item) -> str:
    return item.document if item.page is None else f"{item.document}, page {item.page}"
