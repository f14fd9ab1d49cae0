"""The default: no language model, the sentences of the passages themselves."""

import asyncio
from collections.abc import AsyncIterator

from app.languages import get_language
from app.providers.ports import Delta, Finished, Generation
from app.rag import extractive


class ExtractiveModel:
    name = "extractive"

    async def generate(self, request: Generation) -> AsyncIterator[Delta | Finished]:
        found = await asyncio.to_thread(
            extractive.answer, request.question, request.passages, request.lang,
            answerable=request.answerable, supported=request.supported,
        )  # fmt: skip
        text = found.text if found.found else get_language(request.lang).no_answer
        for piece in extractive.stream(text):
            yield Delta(piece)
        yield Finished("stop" if found.found else "no_context")
