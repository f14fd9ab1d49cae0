"""What the two wire formats have in common."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tools.stand_in.steps import Damage, Fail, Refuse, Say, Stop


@dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Usage:
    """Tokens are counted by words and by steps: enough to have figures."""

    input_tokens: int
    output_tokens: int = 0
    text: list[str] = field(default_factory=list)
    """What was said, unless it was streamed."""


class Wire(Protocol):
    content_type: str

    def begin(self) -> bytes: ...

    def event(self, step: Say | Fail | Damage) -> bytes: ...

    def end(self, step: Stop, usage: Usage) -> Iterator[bytes]: ...

    def whole(self, step: Stop, usage: Usage) -> Mapping[str, Any]: ...

    def refusal(self, step: Refuse) -> Answer: ...
