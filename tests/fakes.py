"""Stand-ins for ports, to be made slow, silent or broken at will."""

import asyncio
from collections.abc import AsyncIterator

from app.providers.llm.budgets import Budgets
from app.providers.ports import Delta, Finished, Prompt

WORDY = Budgets(chars=10**8, chars_a_token=10**6)
"""For models that say more than a real one may."""


class ScriptedModel:
    """Says `count` numbered words with a pause behind each; then ends as told: properly, cut off, or with an error."""

    name = "scripted"
    window = 8192

    def __init__(
        self, count: int, pause: float, *, error: Exception | None = None, prefix: str = "", pause_first: bool = False
    ) -> None:
        self._count, self._pause, self._error, self._prefix = count, pause, error, prefix
        self._pause_first = pause_first
        self.requests: list[Prompt] = []

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta | Finished]:
        self.requests.append(prompt)
        if self._pause_first:
            await asyncio.sleep(30)
        yield Delta(self._prefix)
        for number in range(self._count):
            yield Delta(f"w{number} ")
            await asyncio.sleep(self._pause)
        if self._error is not None:
            raise self._error
        yield Finished("stop", input_tokens=10, output_tokens=self._count)

    async def close(self) -> None: ...
