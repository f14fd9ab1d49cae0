"""What a chat model is sent. The port of chat models offers these names, too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """What was said before, or is asked now."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a chat model is sent. `messages` alternate and end with the user's."""

    system: str
    messages: Sequence[ChatMessage]
    max_tokens: int
    """Of the answer."""
