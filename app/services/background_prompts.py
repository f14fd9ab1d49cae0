"""Prompts that front ends send by themselves, for a title, tags or follow-up questions of a conversation.

They are no question about the documents and nobody's conversation: no search, and nothing is stored.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Protocol

from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.languages import detect, get_language
from app.providers.ports import ChatMessage, Delta, Finished, Prompt
from app.rag.rewriting import is_background_task
from app.services.masking import Masks
from app.services.material import restored

SYSTEM = (
    "Do what the message asks for, in the form that it asks for, and say nothing else. Words such as <PHONE_1> stand "
    "for personal data: where you need one, copy it unchanged."
)
MOST_TOKENS = 1000
WANTED = re.compile(r'\{\s*"(\w{1,40})":\s*(\[|")')
"""The shape of the answer, as such prompts show it: `{ "title": "your concise title here" }`."""
log = get_logger(__name__)


class Streams(Protocol):
    """A language model; what it tells beside Delta and Finished is passed over."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[Any, None]: ...


def is_background(question: str) -> bool:
    return is_background_task(question)


async def answer(
    model: Streams | None, prompt: str, max_tokens: int | None = None, *, masks: Masks | None = None
) -> AsyncIterator[Delta | Finished]:
    """The model's, or `without_model`. Unavailable when the model fails after it has begun."""
    masks = masks or Masks()
    begun = False
    try:
        if model is not None:
            (covered,) = await masks.cover(prompt)
            stream = model.stream(Prompt(SYSTEM, [ChatMessage("user", covered)], max_tokens or MOST_TOKENS))
            async for item in restored(stream, masks.restorer(_in_json if WANTED.search(prompt) else str)):
                if isinstance(item, Delta | Finished):
                    begun = True
                    yield item
            return
    except Unavailable as exc:
        if begun:
            raise
        log.warning("background_prompt.no_model", code=exc.code)
    yield Delta(without_model(prompt))
    yield Finished("stop")


def _in_json(value: str) -> str:
    """As it stands between the quotation marks."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def without_model(prompt: str) -> str:
    """Empty in the shape that was asked for: front ends then do without. Else a sentence that says why."""
    wanted = WANTED.search(prompt)
    if wanted is None:
        return get_language(detect(prompt)).plain_no_model
    return '{"%s": %s}' % (wanted[1], "[]" if wanted[2] == "[" else '""')  # noqa: UP031
