"""Requests a minute for each principal. slowapi's limiter holds the counters; none of its middlewares is used:
they pass over every route of an included router, in silence (docs/decisions/0004-rate-limits.md).
"""

import time

from limits import RateLimitItem, RateLimitItemPerMinute
from slowapi import Limiter
from slowapi.util import get_remote_address

from app.core.caller import Caller
from app.core.errors import RateLimited


class RateLimit:
    """`per_minute` 0 stands for no limit. Counts in this process."""

    def __init__(self, per_minute: int) -> None:
        self._item: RateLimitItem | None = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._counters = Limiter(key_func=get_remote_address, strategy="moving-window").limiter

    def hit(self, caller: Caller) -> dict[str, str]:
        """Headers for the answer (draft-ietf-httpapi-ratelimit-headers). RateLimited when there were too many."""
        if self._item is None:
            return {}
        allowed = self._counters.hit(self._item, caller.principal)
        reset, left = self._counters.get_window_stats(self._item, caller.principal)
        seconds = max(1, round(reset - time.time()))
        if not allowed:
            raise RateLimited(retry_after=seconds)
        policy = f'"default";q={self._item.amount};w={self._item.get_expiry()}'
        return {"RateLimit-Policy": policy, "RateLimit": f'"default";r={left};t={seconds}'}
