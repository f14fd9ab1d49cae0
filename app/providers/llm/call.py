"""One call of one model, within its budgets."""

import asyncio
from collections.abc import AsyncGenerator

from app.providers.llm.budgets import Budgets
from app.providers.llm.errors import ModelFailed
from app.providers.ports import ChatModel, Delta, Finished, Prompt


class Call:
    """First `first`, then `rest`, then `close`, which hangs up on the model if it still speaks."""

    def __init__(self, model: ChatModel, prompt: Prompt, budgets: Budgets) -> None:
        self._budgets = budgets
        self._until = asyncio.get_running_loop().time() + budgets.total
        self._room = budgets.most_chars(prompt.max_tokens)
        self._stream = model.stream(prompt)
        self._first: Delta | Finished | None = None

    async def first(self, seconds: float) -> None:
        """Until there is something to show; blanks are not. ModelFailed"""
        try:
            async with asyncio.timeout(seconds):
                self._first = await self._first_item()
        except TimeoutError as exc:
            raise ModelFailed(reason="timeout") from exc

    async def _first_item(self) -> Delta | Finished:
        async for item in self._stream:
            if isinstance(item, Delta):
                if text := item.text.lstrip():
                    return Delta(text)
            elif item.reason == "refused":
                return item
            else:
                raise ModelFailed(reason="empty_answer")
        raise ModelFailed(reason="interrupted")

    async def rest(self) -> AsyncGenerator[Delta | Finished, None]:
        """The first item and all others, up to the most characters. ModelFailed"""
        item = self._first
        while isinstance(item, Delta):
            if len(item.text) > self._room:
                yield Delta(item.text[: self._room])
                yield Finished("length")
                return
            self._room -= len(item.text)
            yield item
            item = await self._next()
        if item is not None:
            yield item

    async def _next(self) -> Delta | Finished:
        left = self._until - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(self._budgets.idle, left)):
                return await anext(self._stream)
        except TimeoutError as exc:
            raise ModelFailed(reason="timeout") from exc
        except StopAsyncIteration as exc:
            raise ModelFailed(reason="interrupted") from exc

    async def close(self) -> None:
        if isinstance(self._stream, AsyncGenerator):
            await self._stream.aclose()
