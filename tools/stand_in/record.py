"""What was asked, by model, for tests and for people: `GET /_requests`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MODELS = 10_000
RECENT = 5


@dataclass
class Asked:
    count: int = 0
    open: int = 0
    """Being answered now."""
    hung_up: int = 0
    """Clients that left before the end."""
    headers: dict[str, str] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    """The body of the last request."""
    recent: list[dict[str, Any]] = field(default_factory=list)
    """Those of the last few, it included."""


class Record:
    def __init__(self) -> None:
        self._models: dict[str, Asked] = {}

    def add(self, model: str, headers: Mapping[str, str], body: dict[str, Any]) -> Asked:
        while len(self._models) >= MODELS:
            self._models.pop(next(iter(self._models)))
        asked = self._models.setdefault(model, Asked())
        asked.count += 1
        asked.headers, asked.last = dict(headers), body
        asked.recent = [*asked.recent, body][-RECENT:]
        return asked

    def clear(self) -> None:
        self._models.clear()

    def shown(self) -> dict[str, Any]:
        models = {model: asdict(asked) for model, asked in self._models.items()}
        return {"total": sum(asked.count for asked in self._models.values()), "models": models}
