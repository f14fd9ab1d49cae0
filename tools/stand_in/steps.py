"""What a model server does, one step after the other, before it is put into a wire format."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["throttled", "unavailable", "invalid", "forbidden"]


@dataclass(frozen=True, slots=True)
class Refuse:
    """An error status instead of an answer. `message` names what is not supported, where that is the reason."""

    kind: Kind
    retry_after: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The proper end of an answer."""

    reason: Literal["stop", "length", "refused"] = "stop"
    usage: bool = True


@dataclass(frozen=True, slots=True)
class Fail:
    """An error among the events of the stream."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class Damage:
    """An event that cannot be read."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes of no format."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more, for as long as the client waits."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks."""


@dataclass(frozen=True, slots=True)
class End:
    """The response ends as HTTP has it, with nothing of the answer's own end."""


Step = Refuse | Say | Stop | Fail | Damage | Garbage | Hang | Cut | End
Steps = AsyncIterator[Step]
