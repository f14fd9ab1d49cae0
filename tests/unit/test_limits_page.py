"""The tables of docs/limits.md and docs/edge.md are what the program does."""

import contextlib
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from app.api import bodies, forms, guard, http_protocol, request_head
from app.api.middleware import SECURITY_HEADERS
from app.api.rate_limit import UNCOUNTED, RateLimits, open_rate_limits
from app.core.caller import DEFAULT_TENANT, Caller
from app.core.errors import RateLimited
from app.core.security import new_key
from app.core.settings import Settings
from tests.conftest import ROOT, make_settings

LIMITS = (ROOT / "docs" / "limits.md").read_text()
EDGE = (ROOT / "docs" / "edge.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| `([A-Z_]+)` \| (\d+) \| an? (\w+) \| (\w+) \|", LIMITS, re.MULTILINE)
SECONDS = {"minute": 60, "hour": 3600}
CALLER = Caller(DEFAULT_TENANT, user_id="ravi")
KEY = new_key()


def scope(address: str) -> dict[str, Any]:
    return {"type": "http", "path": "/", "client": (address, 1), "headers": []}


Act = Callable[[RateLimits, int], Coroutine[Any, Any, None]]
ACTS: dict[str, Act] = {
    "default": lambda limits, _: limits.hit(scope("a"), CALLER),
    "address": lambda limits, _: limits.hit_address(scope("198.51.100.1")),
    "login": lambda limits, number: limits.hit_login(f"198.51.100.{number}", "ravi"),
    "login_address": lambda limits, number: limits.hit_login("198.51.100.1", f"user {number}"),
    "chat": lambda limits, _: limits.hit_principal("chat", CALLER),
    "embeddings": lambda limits, _: limits.hit_principal("embeddings", CALLER),
    "uploads": lambda limits, _: limits.hit_principal("uploads", CALLER),
    "upload_mb": lambda limits, _: limits.hit_principal("upload_mb", CALLER),
    "frames": lambda limits, _: limits.hit_principal("frames", CALLER),
}


def test_every_quota_has_a_row() -> None:
    quotas = {quota.name: quota for quota in make_settings(app_env="production", api_key=KEY).quotas}
    assert [(name, int(amount), SECONDS[window]) for name, _, amount, window, _ in ROWS] == [
        (quota.name, quota.amount, quota.seconds) for quota in quotas.values()
    ]
    assert set(ACTS) == set(quotas)
    variables = {name for name in Settings.model_fields if name.startswith("rate_limit_")}
    assert {row[1].lower() for row in ROWS} == variables - {"rate_limit_storage_uri"}
    assert not any(quota.amount for quota in make_settings().quotas)


@pytest.mark.parametrize(("name", "variable", "_amount", "window", "_whose"), ROWS)
async def test_a_row_is_what_happens(name: str, variable: str, _amount: str, window: str, _whose: str) -> None:
    async with open_rate_limits(make_settings(api_key=KEY, **{variable.lower(): 2})) as limits:
        await ACTS[name](limits, 1)
        await ACTS[name](limits, 2)
        with pytest.raises(RateLimited) as refused:
            await ACTS[name](limits, 3)
        assert refused.value.quota == limits.quotas[name]
        assert 0 < (refused.value.retry_after or 0) <= SECONDS[window]
    async with open_rate_limits(make_settings(api_key=KEY, **{variable.lower(): 0})) as limits:
        for number in range(100):
            await ACTS[name](limits, number)


async def test_who_counts_as_one() -> None:
    for name, _, _, _, whose in ROWS:
        async with open_rate_limits(make_settings(app_env="production", api_key=KEY)) as limits:
            with contextlib.suppress(RateLimited):
                for number in range(2000):
                    await ACTS[name](limits, number)
            names = () if name == "default" else (name,)
            fresh = {
                "principal": limits.hit(scope("a"), Caller(DEFAULT_TENANT, user_id="lakshmi"), names),
                "address": limits.hit_address(scope("203.0.113.1")),
                "account": limits.hit_login("203.0.113.1", "lakshmi"),
            }
            await fresh.pop(whose)
            for unused in fresh.values():
                unused.close()


def test_what_counts_nowhere_is_named() -> None:
    assert set(re.findall(r"`(/\w+)`", LIMITS.partition("count nowhere")[0].rpartition("\n\n")[2])) == UNCOUNTED


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("Path and query, bytes", request_head.MOST_TARGET_BYTES),
        ("Headers", request_head.MOST_HEADERS),
        ("Headers, bytes", request_head.MOST_HEADER_BYTES),
        ("A head that does not end, bytes", http_protocol.MOST_HEAD_BYTES),
        ("Seconds for a head", int(http_protocol.HEAD_SECONDS)),
        ("A body of JSON, bytes", bodies.JSON_BYTES),
        (
            f"Seconds before a body must come at {bodies.SLOWEST_BYTES_PER_SECOND} bytes a second",
            int(bodies.GRACE_SECONDS),
        ),
        ("Files in a form", forms.MOST_FILES),
        ("Fields in a form", forms.MOST_FIELDS),
        ("JSON: depth", guard.MAXIMUM_DEPTH),
        ("JSON: names", guard.MAXIMUM_KEYS),
        ("A client that takes nothing of its answer, seconds", int(http_protocol.STALL_SECONDS)),
    ],
)
def test_limits_of_the_edge(what: str, number: int) -> None:
    assert f"| {what} | {number} |" in EDGE


def test_headers_of_the_edge() -> None:
    for name, value in SECURITY_HEADERS.items():
        assert f"| `{name}` | `{value}`" in EDGE
