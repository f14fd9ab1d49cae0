"""Language models in order: the first that begins to answer answers.

Before the first word everything may be tried again, with the same model or the next. After it nothing is: what has
been said was read, so a failure is told (ProviderInterrupted) and never papered over by another beginning.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from app.core.logging import get_logger
from app.providers.llm.breaker import Breaker, BreakerLimits, Permit
from app.providers.llm.budgets import Budgets
from app.providers.llm.call import Call
from app.providers.llm.errors import ModelFailed, ModelsUnavailable, ProviderInterrupted, Reason
from app.providers.llm.retries import Tries
from app.providers.ports import ChatModel, Delta, Finished, ModelStarted, Prompt

MOST_CALLS = 3
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Link:
    model: ChatModel
    breaker: Breaker


@dataclass(frozen=True, slots=True)
class _Begun:
    """A call whose first text is here."""

    link: _Link
    permit: Permit
    call: Call


class ModelChain:
    def __init__(
        self,
        models: Sequence[ChatModel],
        *,
        budgets: Budgets | None = None,
        limits: BreakerLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budgets = budgets or Budgets()
        self._clock = clock
        self._links = [_Link(model, Breaker(limits, clock)) for model in models]

    @property
    def name(self) -> str:
        """Of the first; `ModelStarted` tells which one answers."""
        return self._links[0].model.name

    @property
    def names(self) -> list[str]:
        return [link.model.name for link in self._links]

    @property
    def window(self) -> int:
        """The smallest: a prompt must fit whichever model answers."""
        return min(link.model.window for link in self._links)

    def degraded(self) -> list[str]:
        """The models that are left alone for now because they failed."""
        return [link.model.name for link in self._links if not link.breaker.closed]

    def each(self) -> list["ModelChain"]:
        """A chain of each model alone, to see which of them work. They share the models: close one of all."""
        return [ModelChain([link.model], budgets=self._budgets, clock=self._clock) for link in self._links]

    async def close(self) -> None:
        for link in self._links:
            await link.model.close()

    async def stream(
        self, prompt: Prompt, *, most_calls: int = MOST_CALLS
    ) -> AsyncGenerator[ModelStarted | Delta | Finished, None]:
        """ModelStarted once, then text, then Finished. Close it to hang up on the model.

        ModelsUnavailable before the first text, ProviderInterrupted after it.
        """
        begun = await self._begin(prompt, most_calls)
        name = begun.link.model.name
        try:
            yield ModelStarted(name)
            async with contextlib.aclosing(begun.call.rest()) as items:
                async for item in items:
                    yield item
        except ModelFailed as exc:
            _judge(begun.link, begun.permit, exc)
            log.warning("llm.interrupted", model=name, reason=exc.reason)
            raise ProviderInterrupted(exc.reason) from exc
        finally:
            await begun.call.close()

    async def _begin(self, prompt: Prompt, most_calls: int) -> _Begun:
        tries = Tries(self._budgets, most_calls)
        reason: Reason = "circuit_open"
        for at, link in enumerate(self._links):
            later = sum(other.breaker.would_admit() for other in self._links[at + 1 :])
            try:
                if tries.calls_left:
                    return await self._try(link, prompt, tries, later)
            except ModelFailed as exc:
                reason = exc.reason if reason == "circuit_open" else reason
        raise ModelsUnavailable(reason)

    async def _try(self, link: _Link, prompt: Prompt, tries: Tries, later: int) -> _Begun:
        """One model, with its retries. ModelFailed, of the last call of it"""
        retries = 0
        failure = ModelFailed(reason="circuit_open")
        while (permit := link.breaker.admit()) is not None:
            try:
                return await self._call(link, permit, prompt, tries.take(later))
            except ModelFailed as exc:
                failure = exc
            finally:
                permit.undecided()
            log.warning("llm.failed", model=link.model.name, reason=failure.reason, retries=retries)
            pause = tries.pause(failure, retries, later)
            if pause is None:
                break
            await asyncio.sleep(pause)
            retries += 1
        raise failure

    async def _call(self, link: _Link, permit: Permit, prompt: Prompt, seconds: float) -> _Begun:
        call = Call(link.model, prompt, self._budgets)
        try:
            await call.first(seconds)
        except BaseException as exc:
            await call.close()
            if isinstance(exc, ModelFailed):
                _judge(link, permit, exc)
            raise
        _judge(link, permit)
        return _Begun(link, permit, call)


def _judge(link: _Link, permit: Permit, failure: ModelFailed | None = None) -> None:
    """A question that the model refuses as wrong says nothing about the model."""
    before = link.breaker.closed
    if failure is None:
        permit.succeeded()
    elif failure.reason != "invalid":
        permit.failed()
    if link.breaker.closed != before:
        log.warning("llm.breaker", model=link.model.name, state="closed" if link.breaker.closed else "open")
