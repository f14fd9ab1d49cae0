"""Guessing passwords: so many attempts for an account and for an address, and none when nobody can count them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from structlog.testing import capture_logs

from app.api.addresses import address_of
from app.api.deps import RateLimitsDep
from app.api.errors import add_error_handlers
from app.api.middleware import AddressLimit, RequestContext
from app.api.rate_limit import RateLimits, open_rate_limits
from app.core.errors import RateLimited, Unavailable
from app.core.security import new_key
from tests.api.test_hostile_tools import check_problem
from tests.conftest import make_settings
from tests.redis_server import running_redis, silent_redis

KEY = new_key()
NOWHERE = "redis://127.0.0.1:1/0"


@contextlib.asynccontextmanager
async def limits(uri: str = "", **settings: Any) -> AsyncIterator[RateLimits]:
    made = make_settings(app_env="production", api_key=KEY, rate_limit_storage_uri=uri, **settings)
    async with open_rate_limits(made) as opened:
        yield opened


async def allowed(limiter: RateLimits, address: str, account: str | None = None) -> bool:
    try:
        await limiter.hit_login(address, account)
    except RateLimited:
        return False
    return True


async def test_one_account_from_a_hundred_addresses() -> None:
    async with limits() as limiter:
        answers = [await allowed(limiter, f"198.51.100.{n}", "Ravi@shop.example ") for n in range(100)]
        assert answers == [True] * 10 + [False] * 90
        for spelling in (
            "ravi@SHOP.example",
            "ｒａｖｉ@shop.example",
            "ＲＡＶＩ＠shop．example",
            "\u2003ravi@shop.example",
        ):
            assert not await allowed(limiter, "203.0.113.1", spelling)  # as a login would find it
        assert await allowed(limiter, "203.0.113.1", "lakshmi@shop.example")


async def test_a_hundred_accounts_from_one_address() -> None:
    async with limits() as limiter:
        answers = [await allowed(limiter, "198.51.100.1", f"user-{n}") for n in range(100)]
        assert answers == [True] * 30 + [False] * 70
        assert await allowed(limiter, "198.51.100.2", "user-99")  # nobody is locked out by others for long
        assert not await allowed(limiter, "198.51.100.1")  # a refresh


async def test_the_owner_gets_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts that are refused do not count: the lock ends a minute after those that were let through."""
    now = 1_000_000.0
    monkeypatch.setattr("app.providers.counters.memory.time.time", lambda: now)
    async with limits() as limiter:
        for _ in range(10):
            assert await allowed(limiter, "198.51.100.1", "ravi")
        for step in range(6):
            now += 10
            assert await allowed(limiter, f"203.0.113.{step}", "ravi") == (step == 5)


@pytest.mark.parametrize("store", ["away", "silent"])
async def test_nobody_may_guess_while_nobody_counts(store: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        uri = NOWHERE if store == "away" else await stack.enter_async_context(silent_redis())
        limiter = await stack.enter_async_context(limits(uri))
        with pytest.raises(Unavailable, match="limits_unavailable"):
            await limiter.hit_login("198.51.100.1", "ravi")


async def test_everything_else_is_counted_here_meanwhile() -> None:
    async with limits(NOWHERE, rate_limit_address_per_minute=3) as limiter:
        scope = {"type": "http", "path": "/", "client": ("198.51.100.1", 1), "headers": []}
        for _ in range(3):
            await limiter.hit_address(scope)
        with pytest.raises(RateLimited):
            await limiter.hit_address(scope)


async def test_a_shared_store_learns_no_addresses_and_no_names() -> None:
    from redis.asyncio import Redis

    async with running_redis() as redis, limits(redis.uri) as limiter:
        await limiter.hit_login("198.51.100.77", "ravi@shop.example")
        async with Redis.from_url(redis.uri) as client:
            found = await client.keys()
            lives = [await client.ttl(key) for key in found]
    keys = repr(found)
    assert keys.count("ragchat:limits") == 2
    assert all(0 < seconds <= 60 for seconds in lives)
    assert "198.51" not in keys
    assert "ravi" not in keys


@contextlib.asynccontextmanager
async def served(uri: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A route that logs people in, beside nothing else."""
    app = FastAPI()

    @app.post("/login")
    async def login(request: Request, limits: RateLimitsDep, account: str) -> str:
        await limits.hit_login(address_of(request.scope), account)
        return "hello"

    add_error_handlers(app)
    app.add_middleware(AddressLimit)
    app.add_middleware(RequestContext)
    async with limits(uri, **settings) as app.state.rate_limits:
        transport = httpx.ASGITransport(app, client=("198.51.100.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            yield http


async def test_what_a_client_is_told() -> None:
    async with served("") as http:
        answers = [await http.post("/login", params={"account": "ravi"}) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    check_problem(answers[10], 429, "rate_limited")
    assert answers[10].headers["ratelimit-policy"] == '"login";q=10;w=60'
    assert 1 <= int(answers[10].headers["retry-after"]) <= 60


async def test_what_a_client_is_told_while_nobody_counts() -> None:
    async with served(NOWHERE) as http:
        answer = await http.post("/login", params={"account": "ravi"})
    check_problem(answer, 503, "limits_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_an_operator_who_forgot_the_proxy_is_told_once() -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.1"}
    with capture_logs() as events:
        async with served("", rate_limit_address_per_minute=2) as http:
            answers = [(await http.get("/", headers=forwarded)).status_code for _ in range(5)]
        async with served("", rate_limit_address_per_minute=2) as http:
            answers += [(await http.get("/")).status_code for _ in range(5)]
    assert answers == [404, 404, 429, 429, 429] * 2
    assert [event["event"] for event in events if event["log_level"] == "warning"] == ["rate_limit.proxy_not_trusted"]
