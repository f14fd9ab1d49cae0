"""An answer in the making, and what it costs."""

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.db.uow import UnitOfWork
from app.providers.ports import Finished, Passage
from app.schemas.search import Source
from app.services.budgets import Reservation, Usage, release, settle, usage_of
from app.services.masking import Masks

PIECES = 64


@dataclass
class Draft:
    """`said` holds what was sent so far."""

    lang: str
    model: str
    sources: list[Source] = field(default_factory=list)
    answerable: bool = True
    sure: bool = False
    asked: str = ""
    """The question as the passages answer it: with what it refers to, where it says too little itself."""
    masks: Masks = field(default_factory=Masks)
    """What a language model is not shown."""
    read: set[int] = field(default_factory=set)
    """The numbers of the sources that whoever answers has read: not all of them may fit into a prompt."""
    said: list[str] = field(default_factory=list)
    finish_reason: str = "stop"
    fallback_reason: str | None = None
    llm_used: bool = False
    calls: int = 0
    """Of language models, beside the one that writes the answer."""
    reservation: Reservation | None = None
    usage: dict[str, int] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0})
    trace: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def finish(self, end: Finished) -> None:
        self.finish_reason = "fallback" if self.fallback_reason and end.reason == "stop" else end.reason
        self.count(end.input_tokens, end.output_tokens)

    def count(self, input_tokens: int, output_tokens: int) -> None:
        """What one call of a model took."""
        more = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        self.usage |= {name: self.usage[name] + tokens for name, tokens in more.items()}
        self.usage["total_tokens"] = self.usage["input_tokens"] + self.usage["output_tokens"]

    def passed(self) -> float:
        """Milliseconds since the turn began."""
        return round(1000 * (time.perf_counter() - self.began), 2)

    def say(self, text: str) -> None:
        if not text:
            return
        if not self.said:
            self.timing["first_token_ms"] = self.passed()
        self.said.append(text)
        if len(self.said) == PIECES:  # a list of small strings takes ten times the space of their text
            self.said = [self.content]

    @property
    def content(self) -> str:
        return "".join(self.said)

    @property
    def all_timing(self) -> dict[str, float]:
        """With the parts of the search."""
        searched: dict[str, float] = self.trace.get("timing", {})
        return searched | self.timing

    @property
    def passages(self) -> list[Passage]:
        return [Passage(s.n, s.title, s.page, s.text or "", s.score) for s in self.sources]

    @property
    def docs(self) -> list[dict[str, Any]]:
        """The sources as events spell them: with `doc_id` beside `document_id`, as in both seeds."""
        return [s.model_dump(mode="json") | {"doc_id": str(s.document_id)} for s in self.sources]


def used_of(draft: Draft) -> Usage | None:
    """What a model took, estimated where it did not say; None when none has answered."""
    if draft.reservation is None or not draft.llm_used:
        return None
    used = usage_of(
        draft.reservation, draft.model, text=draft.content,
        input_tokens=draft.usage["input_tokens"], output_tokens=draft.usage["output_tokens"],
    )  # fmt: skip
    if used.estimated:
        draft.count(used.input_tokens, used.output_tokens)
    return used


async def settle_draft(
    uow: UnitOfWork, draft: Draft, used: Usage | None, *, session_id: UUID | None, message_id: UUID | None
) -> None:
    if draft.reservation is None:
        return
    if used is None:
        await release(uow, draft.reservation)
    else:
        await settle(uow, draft.reservation, used, session_id=session_id, message_id=message_id)
