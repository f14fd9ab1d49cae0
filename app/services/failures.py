"""What a turn failed with, raised again for clients that wait for an answer with a status."""

from collections.abc import Mapping

from app.core.errors import Invalid, NotFound, RagchatError, RateLimited, Unavailable
from app.services.live_turns import Event

RAISED: Mapping[str, type[RagchatError]] = {
    "quota_exceeded": RateLimited,
    "session_not_found": NotFound,
    "unknown_document": NotFound,
    "unsupported_language": Invalid,
}
"""By code; every other one is a part that was down, and worth a retry."""


def failure_of(error: Event | None) -> RagchatError:
    """`error` is the turn's event of this type. Without one, its last events could not be stored."""
    if error is None or error["code"] == "internal":
        return RagchatError()
    wait = error["retry_after_ms"]
    raised = RAISED.get(error["code"], Unavailable)
    return raised(error["code"], error["message"], retry_after=None if wait is None else wait / 1000)
