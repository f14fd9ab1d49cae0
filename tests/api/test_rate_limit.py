"""A limit is proved by the request that is refused."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
import websockets
from sqlalchemy import URL

from app.core.security import new_key
from tests.conftest import Service, make_database, make_settings, serving

KEY = new_key()


@pytest.fixture(scope="module")
async def limited(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    settings = make_settings(
        database_url=await make_database(postgres, "test_rate_limit"),
        data_dir=tmp_path_factory.mktemp("limited"),
        app_env="production",
        api_key=KEY,
        rate_limit_per_minute=5,
        worker_in_process=False,
    )
    async with serving(settings) as (address, runtime):
        yield Service(address, runtime)


async def test_the_sixth_request_of_a_principal_is_refused(limited: Service) -> None:
    _, key = await limited.tenant()
    async with limited.client(key) as http:
        allowed = [await http.get("/api/v1/sessions") for _ in range(5)]
        refused = [await http.request(m, p) for m, p in (("GET", "/api/v1/documents"), ("POST", "/api/v1/search"))]
        open_to_all = await http.get("/readyz")
    assert [response.status_code for response in allowed] == [200] * 5
    assert allowed[0].headers["ratelimit-policy"] == '"default";q=5;w=60'
    assert allowed[4].headers["ratelimit"].startswith('"default";r=0;t=')
    for response in refused:
        assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(response.headers["retry-after"]) <= 60
    assert open_to_all.status_code == 200


async def test_every_protected_route_counts(limited: Service) -> None:
    async with limited.client() as http:
        document = (await http.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "security" not in operation:
                continue
            _, key = await limited.tenant()
            async with limited.client(key) as http:
                answers = [await _status(http, method, path) for _ in range(6)]
            assert answers[5] == 429, (method, path)
            assert 429 not in answers[:5], (method, path)


async def _status(http: httpx.AsyncClient, method: str, path: str) -> int:
    return (await http.request(method, path.replace("{", "").replace("}", ""))).status_code


async def test_another_principal_is_not_touched(limited: Service) -> None:
    async with limited.client(KEY) as http:
        assert (await http.get("/api/v1/sessions")).status_code == 200


async def test_questions_on_a_socket_count(limited: Service) -> None:
    _, key = await limited.tenant()
    async with limited.client(key) as http:
        session = (await http.post("/api/v1/sessions", json={"user_id": "ravi"})).json()["id"]
    url = f"ws://{limited.address}/chat/{session}"
    async with websockets.connect(url, additional_headers={"X-API-Key": key}) as socket:
        answers = []
        for number in range(6):
            await socket.send(json.dumps({"type": "user_message", "id": f"c-{number}", "content": "hello"}))
            async for frame in socket:
                event = json.loads(frame)
                if event["type"] in ("done", "error"):
                    answers.append(event.get("code", event.get("status")))
                    break
    assert answers == ["completed"] * 4 + ["rate_limited"] * 2
    assert event["retry_after_ms"] >= 1000
    assert event["reply_to"] == "c-5"
