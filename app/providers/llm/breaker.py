"""A circuit breaker: a model that keeps failing is left alone for a while, then tried with one call.

Open after five failures within 30 seconds, if they are at least half of the calls: a busy service has five failures
in 30 seconds though hardly a call fails.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

REMEMBERED = 200
"""Calls; more than that within the window say nothing new."""
State = Literal["closed", "open", "probing"]


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    failures: int = 5
    window: float = 30.0
    open: float = 30.0


class Breaker:
    def __init__(self, limits: BreakerLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or BreakerLimits()
        self._clock = clock
        self._calls: deque[tuple[float, bool]] = deque(maxlen=REMEMBERED)
        """When they ended, and whether well."""
        self._state: State = "closed"
        self._opened = 0.0

    @property
    def closed(self) -> bool:
        return self._state == "closed"

    def would_admit(self) -> bool:
        if self._state == "open":
            return self._clock() - self._opened >= self._limits.open
        return self._state == "closed"

    def admit(self) -> "Permit | None":
        """None when the model must be left alone. The permit must be told how the call went."""
        if not self.would_admit():
            return None
        probe = self._state == "open"
        if probe:
            self._state = "probing"
        return Permit(self, probe=probe)

    def succeeded(self, *, probe: bool) -> None:
        if probe:
            self._state = "closed"
            self._calls.clear()
        self._calls.append((self._clock(), True))

    def failed(self, *, probe: bool) -> None:
        """A call that began before the breaker opened changes nothing any more."""
        self._calls.append((self._clock(), False))
        if probe or (self._state == "closed" and self._too_many()):
            self._state = "open"
            self._opened = self._clock()

    def undecided(self, *, probe: bool) -> None:
        """Nobody knows: the caller left. The next call may probe."""
        if probe:
            self._state = "open"

    def _too_many(self) -> bool:
        while self._calls and self._calls[0][0] < self._clock() - self._limits.window:
            self._calls.popleft()
        failures = sum(not well for _, well in self._calls)
        return failures >= self._limits.failures and 2 * failures >= len(self._calls)


class Permit:
    """For one call. The first thing that it is told is what counts, but a failure after a success counts too."""

    def __init__(self, breaker: Breaker, *, probe: bool) -> None:
        self._breaker = breaker
        self._probe = probe
        self._told = False

    def succeeded(self) -> None:
        self._breaker.succeeded(probe=self._take_probe())

    def failed(self) -> None:
        self._breaker.failed(probe=self._take_probe())

    def undecided(self) -> None:
        if not self._told:
            self._breaker.undecided(probe=self._take_probe())

    def _take_probe(self) -> bool:
        probe, self._probe, self._told = self._probe, False, True
        return probe
