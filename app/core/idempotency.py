"""What a request says that must be carried out once, however often it is sent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The `Idempotency-Key` of a request. The same key of the same principal on another route is another claim."""

    route: str
    """Method and template, e.g. `POST /api/v1/sessions`."""
    key: str
    fingerprint: bytes
    """Of the address and the body, so that the key of another request is noticed."""
    present: Callable[[Any], Reply]
    """The answer for what the service made, so that both are stored in one transaction."""
