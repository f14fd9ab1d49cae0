"""A limit is proved by the request that is refused."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import websockets
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts
from sqlalchemy import URL
from starlette.routing import Route

from app.api.guard import GuardedRoute
from app.api.rate_limit import quotas_of
from app.cli.server import Server
from app.core.security import new_key
from app.main import create_app
from tests.api.test_hostile_sockets import opened, upgrade
from tests.api.test_hostile_tools import check_problem, raw, request
from tests.conftest import Service, Tenant, make_database, make_settings, serving

KEY = new_key()
QUOTAS = {
    "rate_limit_per_minute": 5,
    "rate_limit_address_per_minute": 8,
    "rate_limit_chat_per_minute": 3,
    "rate_limit_embeddings_per_minute": 5,
    "rate_limit_uploads_per_hour": 2,
    "rate_limit_upload_mb_per_hour": 4,
    "rate_limit_frames_per_minute": 20,
}
NEVER_REFUSED = {
    "/health": "load balancers ask often, and a flood must not make a healthy service look dead",
    "/livez": "the same",
    "/readyz": "the same",
}
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
async def limited(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """The tests are its proxy, so that each request may come from another address."""
    settings = make_settings(
        database_url=await make_database(postgres, "test_rate_limit"),
        data_dir=tmp_path_factory.mktemp("limited"),
        app_env="production",
        api_key=KEY,
        worker_in_process=False,
        trusted_proxies="127.0.0.0/8",
        **QUOTAS,
    )
    async with serving(settings) as (address, runtime):
        yield Service(address, runtime)


def somewhere() -> str:
    """An address that nobody has had before."""
    number = next(NUMBERS)
    return f"198.18.{number // 256}.{number % 256}"


@contextlib.asynccontextmanager
async def principal(limited: Service) -> AsyncIterator[Tenant]:
    """A new one, whose every request comes from another address."""
    caller, key = await limited.tenant()

    async def elsewhere(request: httpx.Request) -> None:
        request.headers["X-Forwarded-For"] = somewhere()

    async with limited.client(key, event_hooks={"request": [elsewhere]}) as http:
        yield Tenant(limited, caller, key, http)


async def test_the_sixth_request_of_a_principal_is_refused(limited: Service) -> None:
    async with principal(limited) as tenant:
        allowed = [await tenant.http.get("/api/v1/sessions") for _ in range(5)]
        refused = [
            await tenant.http.request(m, p) for m, p in (("GET", "/api/v1/documents"), ("POST", "/api/v1/search"))
        ]
        open_to_all = await tenant.http.get("/readyz")
    assert [response.status_code for response in allowed] == [200] * 5
    assert allowed[0].headers["ratelimit-policy"] == '"default";q=5;w=60'
    assert [r.headers["ratelimit"].partition(";t=")[0] for r in allowed] == [
        f'"default";r={n}' for n in (4, 3, 2, 1, 0)
    ]
    for response in refused:
        check_problem(response, 429, "rate_limited")
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert response.headers["ratelimit-policy"] == '"default";q=5;w=60'
        assert response.headers["ratelimit"] == f'"default";r=0;t={response.headers["retry-after"]}'
    assert open_to_all.status_code == 200
    assert "ratelimit" not in open_to_all.headers


async def test_another_principal_is_not_touched(limited: Service) -> None:
    async with limited.client(KEY, headers={"X-Forwarded-For": somewhere()}) as http:
        assert (await http.get("/api/v1/sessions")).status_code == 200


async def test_a_problem_says_what_is_left_too(limited: Service) -> None:
    async with principal(limited) as tenant:
        missing = await tenant.http.get("/api/v1/sessions/none")
        asked = await tenant.http.post("/api/v1/sessions/none/chat", json={"message": "hello"})
    check_problem(missing, 404)
    assert missing.headers["ratelimit"].startswith('"default";r=4;t=')
    assert asked.headers["ratelimit-policy"] == '"default";q=5;w=60, "chat";q=3;w=60'
    assert asked.headers["ratelimit"].startswith('"default";r=3;t=')
    assert '"chat";r=2;t=' in asked.headers["ratelimit"]


class Walked(NamedTuple):
    path: str
    methods: frozenset[str]
    """None on a WebSocket."""
    guarded: bool


def every_route() -> Iterator[Walked]:
    app = create_app(make_settings())
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        assert isinstance(route, APIRoute | APIWebSocketRoute | Route), f"unknown kind of route: {context.path}"
        guarded = isinstance(route, GuardedRoute | APIWebSocketRoute)
        yield Walked(context.path_format or "", frozenset(context.methods or ()), guarded)


async def test_every_route_counts(limited: Service) -> None:
    """As a principal who comes from anywhere, and from one address without a credential."""
    routes = [*every_route()]
    assert {route.path for route in routes} >= set(create_app(make_settings()).openapi()["paths"]) | {"/docs"}
    for route in routes:
        for method in route.methods or {"WEBSOCKET"}:
            ask = partial(_status, limited, method, route.path.replace("{", "").replace("}", ""))
            here = {"X_Forwarded_For": somewhere()}
            answers = [await ask(here) for _ in range(9)]
            if route.path in NEVER_REFUSED:
                assert 429 not in answers
                continue
            assert (answers.count(429), answers[8]) == (1, 429), (method, route.path, answers)
            if route.guarded:
                _, key = await limited.tenant()
                answers = [await ask({"X_API_Key": key, "X_Forwarded_For": somewhere()}) for _ in range(6)]
                assert (answers[0] == 429, answers[5]) == (False, 429), (method, route.path, answers)


async def _status(limited: Service, method: str, path: str, headers: dict[str, str]) -> int:
    if method == "WEBSOCKET":
        return (await raw(limited.address, upgrade(path, None, **headers))).status
    return (await raw(limited.address, request(method, path, None, **headers))).status


async def test_an_unknown_address_counts_as_well(limited: Service) -> None:
    async with limited.client(headers={"X-Forwarded-For": somewhere()}) as http:
        answers = [(await http.get("/wp-login.php")).status_code for _ in range(9)]
    assert answers == [404] * 8 + [429]


async def test_invented_addresses_do_not_help(limited: Service) -> None:
    """The proxy appends the true one; what the client wrote stands to its left (H18)."""
    true = somewhere()
    async with limited.client() as http:
        answers = [await http.get("/", headers={"X-Forwarded-For": f"{somewhere()}, {true}"}) for _ in range(9)]
    assert [answer.status_code for answer in answers] == [200] * 8 + [429]
    check_problem(answers[8], 429, "rate_limited")
    assert answers[8].headers["ratelimit-policy"] == '"address";q=8;w=60'


async def test_questions_count_together_on_every_way(limited: Service) -> None:
    ask = {"message": "hello", "use_rag": False}
    async with principal(limited) as tenant:
        session = await tenant.session()
        paths = [f"/api/v1/sessions/{session}/chat", f"/api/v1/sessions/{session}/chat/stream"]
        assert [(await tenant.http.post(path, json=ask)).status_code for path in paths] == [200, 200]
        headers = {"X-API-Key": tenant.key, "X-Forwarded-For": somewhere()}
        async with websockets.connect(f"ws://{limited.address}/chat/{session}", additional_headers=headers) as socket:
            answers = [await _ask(socket, number) for number in range(3)]
            await socket.send(json.dumps({"type": "retry", "turn_id": session}))
            again = json.loads(await socket.recv())
        completion = {"model": "ragchat", "messages": [{"role": "user", "content": "hello"}]}
        refused = await tenant.http.post("/v1/chat/completions", json=completion)
    assert [answer.get("code", answer.get("status")) for answer in answers] == ["completed"] + ["rate_limited"] * 2
    assert 1000 <= answers[2]["retry_after_ms"] <= 60_000
    assert answers[2]["reply_to"] == "c-2"
    assert again["code"] == "rate_limited"
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limited"
    assert refused.headers["ratelimit-policy"] == '"chat";q=3;w=60'


def test_which_routes_have_a_quota_of_their_own() -> None:
    marked = {
        (context.path, quotas_of(context.endpoint))
        for context in iter_route_contexts(create_app(make_settings()).routes)
        if quotas_of(context.endpoint)
    }
    assert marked == {
        ("/api/v1/sessions/{session_id}/chat", ("chat",)),
        ("/api/v1/sessions/{session_id}/chat/stream", ("chat",)),
        ("/api/v1/turns/{turn_id}/retry", ("chat",)),
        ("/v1/chat/completions", ("chat",)),
        ("/api/v1/documents", ("uploads",)),
    }


async def _ask(socket: websockets.ClientConnection, number: int) -> dict[str, Any]:
    await socket.send(json.dumps({"type": "user_message", "id": f"c-{number}", "content": "hello", "use_rag": False}))
    async for frame in socket:
        event: dict[str, Any] = json.loads(frame)
        if event["type"] in ("done", "error"):
            return event
    raise AssertionError("closed")


async def test_frames_of_all_sockets_count_together_and_a_flood_ends(limited: Service) -> None:
    async with principal(limited) as tenant, opened(tenant) as one, opened(tenant) as other, asyncio.timeout(10):
        for _ in range(10):
            await one.send('{"type":"ping"}')
            await other.send('{"type":"ping"}')
        for _ in range(10):
            assert json.loads(await one.recv())["type"] == json.loads(await other.recv())["type"] == "pong"
        await one.send('{"type":"ping"}')
        told = json.loads(await one.recv())
        assert (told["type"], told["code"], told["retryable"]) == ("error", "rate_limited", True)
        assert 1000 <= told["retry_after_ms"] <= 60_000
        with contextlib.suppress(websockets.ConnectionClosed):
            for _ in range(2 * QUOTAS["rate_limit_frames_per_minute"]):
                await one.send('{"type":"ping"}')
            assert await one.recv() is None, "told once only"
        assert (one.close_code, one.close_reason) == (1008, "too many frames")
        assert json.loads(await _said(other))["code"] == "rate_limited"


async def _said(socket: websockets.ClientConnection) -> str:
    await socket.send('{"type":"ping"}')
    return str(await socket.recv())


class TestUploads:
    async def test_documents_count(self, limited: Service) -> None:
        async with principal(limited) as tenant:
            answers = [
                await tenant.http.post("/api/v1/documents", json={"title": "a", "text": f"text {number}"})
                for number in range(3)
            ]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert answers[2].headers["ratelimit-policy"] == '"uploads";q=2;w=3600'
        assert 60 < int(answers[2].headers["retry-after"]) <= 3600

    async def test_bytes_count(self, limited: Service) -> None:
        async with principal(limited) as tenant:
            answers = [
                await tenant.http.post("/api/v1/documents", files={"file": ("a.txt", b"word " * (size << 18))})
                for size in (1, 2)
            ]
        assert [answer.status_code for answer in answers] == [202, 429]  # two of four MiB, then three more
        assert answers[1].headers["ratelimit-policy"] == '"upload_mb";q=4;w=3600'

    async def test_a_body_without_a_length_counts_as_the_largest(self, limited: Service) -> None:
        async def blocks() -> AsyncIterator[bytes]:
            yield b'{"title": "a", '
            yield b'"text": "b"}'

        headers = {"Content-Type": "application/json"}
        async with principal(limited) as tenant:
            answers = [await tenant.http.post("/api/v1/documents", content=blocks(), headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 429]


async def test_nothing_is_counted_in_development(tenant: Tenant) -> None:
    answers = [await tenant.http.get("/api/v1/chat/schema") for _ in range(100)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


def test_the_server_leaves_addresses_to_us(tmp_path: Path) -> None:
    """uvicorn would believe whoever is local."""
    server = Server(make_settings(data_dir=tmp_path), migrate=False)
    assert not server.config.proxy_headers
