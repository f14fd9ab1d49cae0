"""What was told a moment ago, so that it is not asked for again at once."""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Name, Value]):
    """Of at most `size` names, each for `seconds`; in this process alone."""

    def __init__(self, seconds: float, size: int, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._size = size
        self._now = now
        self._known: dict[Name, tuple[float, Value]] = {}

    def get(self, name: Name) -> Value | None:
        if (known := self._known.get(name)) is None:
            return None
        until, value = known
        return value if until > self._now() else None

    def put(self, name: Name, value: Value) -> Value:
        if len(self._known) >= self._size:
            self._known.clear()
        self._known[name] = self._now() + self._seconds, value
        return value

    def forget(self, which: Callable[[Value], bool]) -> None:
        for name in [name for name, (_, value) in self._known.items() if which(value)]:
            del self._known[name]
