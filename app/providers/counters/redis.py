"""Counters in a Redis that several processes share, through the asynchronous half of `limits`.

A Redis that is gone or silent costs one request half a second; then it is left alone for a while.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.core.quotas import Quota
from app.providers.ports import Left

WAIT_SECONDS = 0.5
PAUSE_SECONDS = 5.0
"""Between two attempts to reach a Redis that did not answer."""
MOST_CONNECTIONS = 16
KEY_PREFIX = "ragchat:limits"
Answer = TypeVar("Answer")
log = get_logger(__name__)


class RedisCounters:
    def __init__(self, uri: str) -> None:
        self._pool = BlockingConnectionPool.from_url(
            uri, max_connections=MOST_CONNECTIONS, timeout=WAIT_SECONDS, socket_connect_timeout=WAIT_SECONDS,
            socket_timeout=WAIT_SECONDS, retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
        options: dict[str, Any] = {"connection_pool": self._pool}
        storage = RedisStorage(f"async+{uri}", implementation="redispy", key_prefix=KEY_PREFIX, **options)
        self._windows = MovingWindowRateLimiter(storage)
        self._away = False
        self._ask_again = 0.0

    async def take(self, quota: Quota, key: str, amount: int = 1) -> bool:
        return await self._ask(lambda: self._windows.hit(_item(quota), key, cost=amount))

    async def left(self, quota: Quota, key: str) -> Left:
        reset, left = await self._ask(lambda: self._windows.get_window_stats(_item(quota), key))
        return Left(max(0, left), max(0.0, reset - time.time()))

    async def close(self) -> None:
        await self._pool.aclose()

    async def _ask(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Unavailable(limits_unavailable), at once when it has just been found away."""
        if self._away:
            if time.monotonic() < self._ask_again:
                raise unavailable()
            self._ask_again = time.monotonic() + PAUSE_SECONDS  # one asks, the others do not wait for it
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                answer = await ask()
        except (RedisError, OSError, TimeoutError) as exc:
            self._lost(exc)
            raise unavailable() from exc
        if self._away:
            self._away = False
            log.warning("rate_limit.store_back")
        return answer

    def _lost(self, exc: Exception) -> None:
        self._ask_again = time.monotonic() + PAUSE_SECONDS
        if not self._away:
            self._away = True
            log.warning("rate_limit.store_away", reason=type(exc).__name__)


def unavailable() -> Unavailable:
    said = "Attempts cannot be counted at the moment; try again shortly."
    return Unavailable("limits_unavailable", said, retry_after=PAUSE_SECONDS)


def _item(quota: Quota) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(quota.amount, quota.seconds, namespace=quota.name)
