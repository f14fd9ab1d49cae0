"""Who writes an answer: a language model where one is configured, else the sentences of the passages themselves.

A model is asked only when the search found something that stands out: what the documents do not hold is refused without
a call. When no model answers, the passages do, and the answer says why (`fallback_reason`).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.languages import get_language
from app.providers.llm import ExtractiveModel, ModelChain, ModelsUnavailable
from app.providers.ports import Delta, Finished, Generation, ModelStarted, Prompt
from app.rag.citations import MarkerFilter
from app.rag.conversation import Said
from app.rag.passages import Passage
from app.rag.prompting import BuiltPrompt, build_answer_prompt, build_plain_prompt, build_rewrite_prompt
from app.rag.rewriting import parse_rewrite
from app.rag.safe_output import SafeOutput
from app.rag.support import is_enough
from app.rag.token_estimates import estimate_tokens
from app.services.budgets import BudgetService
from app.services.drafts import Draft
from app.services.masking import MaskingService, Masks
from app.services.material import Material, recent, restored
from app.services.pacing import pump
from app.services.spaces import SpaceService
from app.services.supporting import Supporting
from app.services.turn_writer import TextFilter
from app.services.turns import Question

MOST_CALLS = 3
"""Of a turn, its rewritten question included."""
REWRITE_SECONDS = 3.0
"""The answer is still to come, and people wait for it."""
log = get_logger(__name__)
Item = Delta | Finished


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked what; `user_id` is the session's."""

    caller: Caller
    user_id: str
    turn_id: UUID
    question: Question


class Answering:
    def __init__(
        self,
        models: ModelChain | None = None,
        *,
        budgets: BudgetService | None = None,
        masking: MaskingService | None = None,
        spaces: SpaceService | None = None,
        max_tokens: int = 1024,
        link_hosts: frozenset[str] = frozenset(),
    ) -> None:
        self._link_hosts = link_hosts
        self._models = models
        self._budgets = budgets
        self._masking = masking or MaskingService()
        self._max_tokens = max_tokens
        self._supporting = Supporting(spaces)
        self._passages = ExtractiveModel()

    @property
    def name(self) -> str:
        """Of who is asked first."""
        return self._models.name if self._models is not None else self._passages.name

    @property
    def has_model(self) -> bool:
        return self._models is not None

    def filters(self, draft: Draft) -> tuple[TextFilter, ...]:
        """What of an answer is shown: no live links but to its documents, no markers of passages that do not exist or
        that whoever answers has not read."""
        urls = {source.url for source in draft.sources if source.url}
        draft.read.update(source.n for source in draft.sources)
        return SafeOutput(self._link_hosts, urls), MarkerFilter(draft.read)

    def masks(self, caller: Caller, session_id: UUID) -> Masks:
        """For one turn of a session."""
        return self._masking.masks(caller, session_id)

    @property
    def is_limited(self) -> bool:
        return self._models is not None and self._budgets is not None and self._budgets.has_limits

    async def check(self, caller: Caller, user_id: str, question: Question) -> None:
        """RateLimited(quota_exceeded) when too little is left for a model's answer, as far as it is known by now."""
        if self._models is not None and self._budgets is not None:
            await self._budgets.check(
                caller,
                user_id,
                models=self._models.names,
                input_tokens=estimate_tokens(question.content),
                max_tokens=self._longest(question),
            )

    def _longest(self, question: Question) -> int:
        """Answer, in tokens."""
        return min(self._max_tokens, question.max_tokens or self._max_tokens)

    async def rewritten(
        self, question: Question, draft: Draft, history: Sequence[Said], cancelled: asyncio.Event
    ) -> str | None:
        """The question as it stands alone, by the model; None where it does not help, or takes long. Cancelled"""
        if self._models is None or not history:
            return None
        material = await self._material(self._models, question, draft, history)
        built = build_rewrite_prompt(material.question, material.history, draft.lang)
        said: list[str] = []
        draft.calls += 1

        def take(item: ModelStarted | Item) -> None:
            if isinstance(item, Delta):
                said.append(item.text)
            elif isinstance(item, Finished):
                draft.count(item.input_tokens, item.output_tokens)

        try:
            async with asyncio.timeout(REWRITE_SECONDS):
                stream = self._models.stream(built.prompt, most_calls=1)
                await pump(restored(stream, draft.masks.restorer()), take, cancelled)
        except (TimeoutError, Unavailable) as exc:
            log.info("question.not_rewritten", code=exc.code if isinstance(exc, Unavailable) else "timeout")
            return None
        return parse_rewrite("".join(said))

    async def write(self, asker: Asker, draft: Draft, history: Sequence[Said]) -> AsyncGenerator[Item, None]:
        """The answer as it comes. `draft` is told who writes it. ProviderInterrupted, RateLimited(quota_exceeded)."""
        question = asker.question
        if self._models is not None and (not question.use_rag or (draft.sources and draft.answerable)):
            try:
                async with aclosing(self._by_model(self._models, asker, draft, history)) as items:
                    async for item in items:
                        yield item
                return
            except ModelsUnavailable as exc:
                draft.fallback_reason = exc.reason
        async for item in await self._without_model(question, draft):
            yield item

    async def _by_model(
        self, models: ModelChain, asker: Asker, draft: Draft, history: Sequence[Said]
    ) -> AsyncGenerator[Item, None]:
        material = await self._material(models, asker.question, draft, history)
        built = self._prompt(models, asker.question, draft, material)
        if not built.fits:
            raise ModelsUnavailable(reason="invalid")
        draft.trace["prompt_version"] = built.version
        if self._budgets is not None:
            draft.reservation = await self._budgets.reserve(
                asker.caller,
                asker.user_id,
                turn_id=asker.turn_id,
                models=models.names,
                input_tokens=_estimated(built.prompt),
                max_tokens=built.prompt.max_tokens,
            )
        spoken = False
        stream = models.stream(built.prompt, most_calls=MOST_CALLS - draft.calls)
        async with aclosing(restored(stream, draft.masks.restorer())) as items:
            async for item in items:
                if isinstance(item, ModelStarted):
                    draft.model, draft.llm_used = item.name, True
                    draft.read.intersection_update(passage.n for passage in built.passages)
                    continue
                if isinstance(item, Finished) and item.reason == "refused" and not spoken:
                    yield Delta(get_language(draft.lang).declined)
                spoken = True
                yield item

    async def _material(
        self, models: ModelChain, question: Question, draft: Draft, history: Sequence[Said]
    ) -> Material:
        """What a prompt is made of, without personal data."""
        passages = draft.passages if question.use_rag else ()
        return await Material(question.content, recent(history, models.window), passages).covered(draft.masks)

    def _prompt(self, models: ModelChain, question: Question, draft: Draft, material: Material) -> BuiltPrompt[Passage]:
        window, most = models.window, self._longest(question)
        asked, history = material.question, material.history
        if not question.use_rag:
            return build_plain_prompt(asked, history, lang=draft.lang, window=window, max_tokens=most)
        passages = material.passages
        return build_answer_prompt(asked, passages, history, lang=draft.lang, window=window, max_tokens=most)

    async def _without_model(self, question: Question, draft: Draft) -> AsyncIterator[Item]:
        draft.model, draft.llm_used = self._passages.name, False
        if not question.use_rag:
            draft.fallback_reason = draft.fallback_reason or "no_language_model"
            return _said(get_language(draft.lang).plain_no_model)
        asked = draft.asked or question.content
        supported = await self._supported(asked, draft)
        return self._passages.generate(
            Generation(asked, draft.passages, draft.lang, answerable=draft.answerable, supported=supported)
        )

    async def _supported(self, asked: str, draft: Draft) -> bool | None:
        """None where words alone tell: they alone have found it, or the model's cosines say nothing."""
        if draft.sure or not draft.answerable:
            return draft.sure
        if draft.trace.get("mode") == "text":
            return None
        support = await self._supporting.measure(asked, draft.passages, draft.lang)
        if support is None:
            return None
        draft.trace["support"] = round(support, 6)
        return is_enough(support)


def _estimated(prompt: Prompt) -> int:
    return estimate_tokens(prompt.system) + sum(estimate_tokens(message.content) for message in prompt.messages)


async def _said(sentence: str) -> AsyncIterator[Item]:
    yield Delta(sentence)
    yield Finished("stop")
