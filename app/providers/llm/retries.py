"""How many calls a question may cost, how long it may wait for its first word, and when a model is tried again."""

import asyncio
import random

from app.providers.llm.budgets import Budgets
from app.providers.llm.errors import ModelFailed


class Tries:
    """Of one question, over all models. `later` models come after the one in hand: a call and some time are theirs."""

    def __init__(self, budgets: Budgets, most_calls: int) -> None:
        self._budgets = budgets
        self._until = asyncio.get_running_loop().time() + budgets.start
        self.calls_left = most_calls

    def take(self, later: int) -> float:
        """Counts a call; how long it may take to its first word. ModelFailed(timeout) when no time is left."""
        seconds = min(self._budgets.first_token, self._time_left(later))
        if seconds <= 0:
            raise ModelFailed(reason="timeout")
        self.calls_left -= 1
        return seconds

    def pause(self, failure: ModelFailed, retries: int, later: int) -> float | None:
        """Seconds until the same model is tried again; None when it is not. The jitter is full: from none to all."""
        if not failure.retried or retries >= self._budgets.retries or self.calls_left <= later:
            return None
        pause = random.uniform(0, self._budgets.backoff * 2**retries)  # noqa: S311 - no secret
        pause += failure.retry_after or 0.0
        if (failure.retry_after or 0.0) > self._budgets.longest_wait or pause >= self._time_left(later):
            return None
        return pause

    def _time_left(self, later: int) -> float:
        """For the model in hand: never less than an even part of what is left for all."""
        later = min(later, self.calls_left - 1)
        left = self._until - asyncio.get_running_loop().time()
        return left - min(later * self._budgets.share, left * later / (later + 1))
