"""Counters of this process: slowapi's limiter with a storage that forgets.

The storage that it comes with keeps every name it has seen, and a thread of its own walks through all of them while
requests come: with the addresses of 100,000 strangers each request takes a millisecond.
"""

import time
from collections import OrderedDict, deque

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from slowapi import Limiter
from slowapi.util import get_remote_address

from app.core.quotas import Quota
from app.providers.ports import Left

MOST_NAMES = 100_000
"""For each length of window; those who came longest ago are forgotten first."""


class _Window:
    """What one name has taken: when, how much, and all of it together."""

    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        self.entries: deque[tuple[float, int]] = deque()
        self.total = 0

    def forget(self, before: float) -> None:
        while self.entries and self.entries[0][0] <= before:
            self.total -= self.entries.popleft()[1]

    def add(self, now: float, amount: int) -> None:
        self.entries.append((now, amount))
        self.total += amount


class ForgetfulStorage(MemoryStorage):
    """Windows in the order in which they were last used, so that the old ones are found at once."""

    STORAGE_SCHEME = ["forgetful"]  # noqa: RUF012  as the base has it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: str) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._windows: dict[int, OrderedDict[str, _Window]] = {}

    def __len__(self) -> int:
        return sum(len(windows) for windows in self._windows.values())

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = time.time()
        windows = self._windows.setdefault(expiry, OrderedDict())
        self._forget(windows, now - expiry)
        window = windows.pop(key, None) or _Window()
        windows[key] = window
        window.forget(now - expiry)
        if window.total + amount > limit:
            return False
        window.add(now, amount)
        return True

    def _forget(self, windows: OrderedDict[str, _Window], before: float) -> None:
        """A few at each hit: more than can come in between."""
        for _ in range(4):
            oldest = next(iter(windows), None)
            if oldest is None:
                return
            windows[oldest].forget(before)
            if windows[oldest].total and len(windows) <= MOST_NAMES:
                return
            del windows[oldest]

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002  the base's
        now = time.time()
        window = self._windows.setdefault(expiry, OrderedDict()).get(key)
        if window is None:
            return now, 0
        window.forget(now - expiry)
        return (window.entries[0][0] if window.entries else now), window.total


class MemoryCounters:
    def __init__(self) -> None:
        limiter = Limiter(key_func=get_remote_address, strategy="moving-window", storage_uri="forgetful://")
        self._windows = limiter.limiter

    async def take(self, quota: Quota, key: str, amount: int = 1) -> bool:
        return bool(self._windows.hit(_item(quota), key, cost=amount))

    async def left(self, quota: Quota, key: str) -> Left:
        reset, left = self._windows.get_window_stats(_item(quota), key)
        return Left(max(0, left), max(0.0, reset - time.time()))

    async def close(self) -> None:
        return


def _item(quota: Quota) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(quota.amount, quota.seconds, namespace=quota.name)
