"""How long a language model may take, and how much it may say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budgets:
    """In seconds, but for the last three."""

    connect: float = 2.0
    first_token: float = 15.0
    idle: float = 20.0
    """Between two pieces of text."""
    total: float = 120.0
    """Of one answer, from the call to its end."""
    start: float = 22.0
    """Until the first token, over all models and retries: a person waits for it."""
    share: float = 3.5
    """Of `start`, kept for each model that comes after the one that is being called."""
    backoff: float = 0.4
    """Of the first retry at most; twice that of the next."""
    longest_wait: float = 2.0
    """A model that wants to be left alone for longer is not tried again; the next one is."""
    retries: int = 2
    chars: int = 64_000
    """Of an answer, or 16 for each token that was allowed: what exceeds it is cut off."""
    chars_a_token: int = 16

    def most_chars(self, max_tokens: int) -> int:
        return max(self.chars, self.chars_a_token * max_tokens)
