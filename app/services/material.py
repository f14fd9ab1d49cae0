"""What prompts are made of on its way out, and answers on their way back."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

from app.core.errors import Unavailable
from app.privacy import Restorer
from app.providers.ports import Delta, Finished, Passage
from app.rag.conversation import Said
from app.rag.markers import strip_unknown
from app.services.masking import Masks

CHARACTERS = 16
"""Of what was said before, for each token of a window: more than any prompt can hold."""
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Material:
    question: str
    history: Sequence[Said] = ()
    passages: Sequence[Passage] = ()

    async def covered(self, masks: Masks) -> "Material":
        """Without personal data. Markers leave earlier answers first: what one divided would come together later."""
        said = [one.text if one.role == "user" else strip_unknown(one.text, frozenset()) for one in self.history]
        parts = [part for passage in self.passages for part in (passage.title, passage.text)]
        question, *rest = await masks.cover(self.question, *said, *parts)
        before, found = rest[: len(said)], rest[len(said) :]
        return Material(
            question,
            [replace(one, text=text) for one, text in zip(self.history, before, strict=True)],
            [
                replace(passage, title=title, text=text)
                for passage, title, text in zip(self.passages, found[::2], found[1::2], strict=True)
            ],
        )


def recent(history: Sequence[Said], window: int) -> Sequence[Said]:
    """Without the old part that no prompt has room for."""
    left = window * CHARACTERS
    for at in range(len(history) - 1, -1, -1):
        left -= len(history[at].text)
        if left < 0:
            return history[at:]
    return history


async def restored(
    items: AsyncGenerator[Delta | Finished | Other, None], restorer: Restorer
) -> AsyncGenerator[Delta | Finished | Other, None]:
    """With the values of the placeholders in it. What is held back at the end, or when it breaks off, is text."""
    async with aclosing(items):
        try:
            async for item in items:
                if isinstance(item, Delta):
                    text = restorer.feed(item.text)
                    if text:
                        yield Delta(text)
                    continue
                if isinstance(item, Finished) and (rest := restorer.flush()):
                    yield Delta(rest)
                yield item
        except Unavailable:
            if rest := restorer.flush():
                yield Delta(rest)
            raise
