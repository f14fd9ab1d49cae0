"""How language models fail.

Unavailable
├── ModelFailed          one call of one model; `reason` says how
├── ModelsUnavailable    no model of the chain began to answer (code llm_unavailable)
└── ProviderInterrupted  one had begun, and did not end (code provider_interrupted)

Reasons:
    throttled     too many requests
    timeout       no first word, no next word or no end in time
    unavailable   no connection, or a fault on the model's side
    invalid       the request was refused as wrong; trying again would not help
    unauthorized  the credentials are missing or refused
    bad_response  bytes that are not what the protocol says
    empty_answer  an answer without a word in it
    interrupted   the answer broke off
    circuit_open  not called: too many calls have failed a moment ago
"""

from typing import Literal, get_args

from app.core.errors import Unavailable

Reason = Literal[
    "throttled", "timeout", "unavailable", "invalid", "unauthorized", "bad_response", "empty_answer", "interrupted",
    "circuit_open",
]  # fmt: skip
REASONS: tuple[Reason, ...] = get_args(Reason)
NOT_RETRIED: frozenset[Reason] = frozenset({"invalid", "unauthorized", "timeout", "circuit_open"})
"""A call that ran out of time may have cost money, and the asker has waited long enough."""


class ModelFailed(Unavailable):
    default_code = "llm_unavailable"
    default_detail = "The language model did not answer."

    def __init__(self, *, reason: Reason, retry_after: float | None = None, retried: bool | None = None) -> None:
        """`retried` where the reason alone does not tell whether another call may help."""
        super().__init__(retry_after=retry_after)
        self.reason: Reason = reason
        self.retried = reason not in NOT_RETRIED if retried is None else retried


class ModelsUnavailable(Unavailable):
    default_code = "llm_unavailable"
    default_detail = "No language model answers at the moment; try again shortly."

    def __init__(self, reason: Reason) -> None:
        super().__init__()
        self.reason: Reason = reason


class ProviderInterrupted(Unavailable):
    default_code = "provider_interrupted"
    default_detail = "The language model broke off in the middle of its answer; what it had said is kept."

    def __init__(self, reason: Reason) -> None:
        super().__init__()
        self.reason: Reason = reason


def reason_of_status(status: int) -> Reason:
    """Of an answer that is not 2xx."""
    known: dict[int, Reason] = {401: "unauthorized", 403: "unauthorized", 408: "timeout", 429: "throttled"}
    if status in known:
        return known[status]
    if status >= 500:
        return "unavailable"
    return "invalid" if status >= 400 else "bad_response"


def seconds(retry_after: str | None) -> float | None:
    """The header Retry-After; a date in it is left alone."""
    try:
        value = float(retry_after or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
