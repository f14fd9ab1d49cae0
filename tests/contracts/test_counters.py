"""What every store of rate limits does: this process's own memory, and a real Redis."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from app.core.errors import Invalid, Unavailable
from app.core.quotas import Quota
from app.providers.counters import memory, open_counters
from app.providers.counters import redis as redis_counters
from app.providers.counters.memory import ForgetfulStorage, MemoryCounters
from app.providers.counters.redis import RedisCounters
from app.providers.ports import Counters
from tests.redis_server import running_redis, silent_redis

QUOTA = Quota("words", 3, 60)


@pytest.fixture(params=["memory", "redis"])
async def counters(request: pytest.FixtureRequest) -> AsyncIterator[Counters]:
    if request.param == "memory":
        yield MemoryCounters()
        return
    async with running_redis() as redis:
        made = open_counters(redis.uri)
        assert isinstance(made, RedisCounters)
        yield made
        await made.close()


async def test_so_many_and_no_more(counters: Counters) -> None:
    assert (await counters.left(QUOTA, "a")).amount == 3
    assert [await counters.take(QUOTA, "a") for _ in range(5)] == [True] * 3 + [False] * 2
    left = await counters.left(QUOTA, "a")
    assert left.amount == 0
    assert 50 < left.seconds <= 60
    assert await counters.take(QUOTA, "b")
    assert await counters.take(Quota("other", 3, 60), "a")


async def test_amounts(counters: Counters) -> None:
    assert await counters.take(QUOTA, "a", 2)
    assert not await counters.take(QUOTA, "a", 2)  # and nothing was taken
    assert await counters.take(QUOTA, "a", 1)
    assert not await counters.take(QUOTA, "c", 4)


async def test_all_at_once(counters: Counters) -> None:
    quota = Quota("many", 20, 60)
    taken = await asyncio.gather(*(counters.take(quota, "a") for _ in range(40)))
    assert sum(taken) == 20


async def test_what_is_old_no_longer_counts(counters: Counters) -> None:
    quota = Quota("short", 1, 1)
    assert [await counters.take(quota, "a"), await counters.take(quota, "a")] == [True, False]
    await asyncio.sleep(1.1)
    assert await counters.take(quota, "a")


class TestMemory:
    def test_names_that_are_no_longer_used_are_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What slowapi's own storage keeps for ever."""
        now = 1000.0
        monkeypatch.setattr("app.providers.counters.memory.time.time", lambda: now)
        storage = ForgetfulStorage()
        for number in range(1000):
            storage.acquire_entry(f"name {number}", 5, 60)
        assert len(storage) == 1000
        now += 61
        for _ in range(500):
            storage.acquire_entry("one", 5000, 60)
        assert len(storage) == 1

    def test_there_is_an_end_to_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "MOST_NAMES", 100)
        storage = ForgetfulStorage()
        for number in range(1000):
            storage.acquire_entry(f"name {number}", 5, 60)
        assert len(storage) <= 101

    def test_it_needs_no_redis(self) -> None:
        code = "import sys, app.main; sys.exit('redis' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestRedis:
    @pytest.mark.parametrize("uri", ["memcached://h", "http://h", "redis:/h"])
    def test_other_stores_are_refused(self, uri: str) -> None:
        with pytest.raises(Invalid, match="rate_limit_storage_unknown"):
            open_counters(uri)

    async def test_two_clients_count_together(self) -> None:
        async with running_redis() as redis:
            one, other = RedisCounters(redis.uri), RedisCounters(redis.uri)
            taken = [await counters.take(QUOTA, "a") for counters in (one, other) * 3]
            assert taken == [True] * 3 + [False] * 3
            await one.close()
            await other.close()

    async def test_a_silent_one_costs_one_call_a_moment(self) -> None:
        async with silent_redis() as uri:
            await self._unavailable(RedisCounters(uri))

    async def test_one_that_is_not_there(self) -> None:
        await self._unavailable(RedisCounters("redis://127.0.0.1:1/0"))

    async def _unavailable(self, counters: RedisCounters) -> None:
        began = time.perf_counter()
        with capture_logs() as events:
            for _ in range(200):
                with pytest.raises(Unavailable, match="limits_unavailable"):
                    await counters.take(QUOTA, "a")
        assert time.perf_counter() - began < 4 * redis_counters.WAIT_SECONDS
        assert [event["event"] for event in events] == ["rate_limit.store_away"]
        await counters.close()

    async def test_the_loop_goes_on_while_it_waits(self) -> None:
        async with silent_redis() as uri:
            counters = RedisCounters(uri)
            waiting = asyncio.ensure_future(counters.take(QUOTA, "a"))
            turns = 0
            while not waiting.done():
                await asyncio.sleep(0.005)
                turns += 1
            with pytest.raises(Unavailable):
                await waiting
            assert turns > 10
            await counters.close()

    async def test_it_is_asked_again_and_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_counters, "PAUSE_SECONDS", 0.2)
        async with running_redis() as redis:
            counters = RedisCounters(redis.uri)
            assert await counters.take(QUOTA, "a")
            redis.stop()
            with capture_logs() as events:
                with pytest.raises(Unavailable):
                    await counters.take(QUOTA, "a")
                await redis.start()
                await self._until_taken(lambda: counters.take(QUOTA, "a"))
            assert [event["event"] for event in events] == ["rate_limit.store_away", "rate_limit.store_back"]
            await counters.close()

    async def _until_taken(self, take: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while True:
                try:
                    await take()  # type: ignore[misc]
                    return
                except Unavailable:
                    await asyncio.sleep(0.05)

    async def test_one_that_refuses_to_write_is_one_that_is_away(self) -> None:
        async with running_redis() as redis:
            counters = RedisCounters(redis.uri)
            assert await counters.take(QUOTA, "a")
            async with Redis.from_url(redis.uri) as client:
                await client.config_set("maxmemory", "1")
            with pytest.raises(Unavailable):
                await counters.take(QUOTA, "a")
            await counters.close()
