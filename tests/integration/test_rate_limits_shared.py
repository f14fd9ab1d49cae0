"""Several processes count in one Redis; without it nothing stands still."""

import asyncio
import json
import time
from pathlib import Path

import httpx
import pytest
import websockets
from sqlalchemy import URL

from app.core.security import new_key
from app.providers.counters.redis import WAIT_SECONDS
from tests.conftest import JWT_SECRET, Service, make_database, make_settings, serving
from tests.integration.processes import Place, place
from tests.redis_server import running_redis, silent_redis

KEY = new_key()
PRODUCTION = {"app_env": "production", "api_key": KEY, "jwt_secret": JWT_SECRET, "rate_limit_per_minute": "10"}


async def test_two_processes_count_together(postgres: URL) -> None:
    url = await make_database(postgres, "test_shared_limits")
    async with running_redis() as redis:
        settings = PRODUCTION | {"database_url": url, "rate_limit_storage_uri": redis.uri}
        async with place(**settings) as here, place(**settings, worker_in_process="false") as there:
            await here.serve()
            await there.serve()
            async with here.client() as one, there.client() as other:
                await _requests_count_together(one, other)
                await _sockets_count_there_too(there)
                redis.stop()
                alone = [(await http.get("/api/v1/sessions")).status_code for http in (one, other) * 11]
                assert alone == [200] * 20 + [429] * 2, "each counts for itself while the store is away"


async def _requests_count_together(one: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    answers = [await http.get("/api/v1/sessions") for http in (one, other) * 5]
    assert [answer.status_code for answer in answers] == [200] * 10
    left = [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers]
    assert left == [f'"default";r={number}' for number in reversed(range(10))]
    assert [(await http.get("/api/v1/sessions")).status_code for http in (one, other)] == [429, 429]


async def _sockets_count_there_too(there: Place) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        url = f"ws://127.0.0.1:{there.port}/chat/some"
        await websockets.connect(url, additional_headers={"X-API-Key": KEY})
    assert refused.value.response.status_code == 429
    assert json.loads(refused.value.response.body)["code"] == "rate_limited"
    assert int(refused.value.response.headers["Retry-After"]) >= 1


async def test_a_silent_store_slows_nobody(database_url: str, tmp_path: Path) -> None:
    async with silent_redis() as uri:
        settings = make_settings(
            app_env="production", api_key=KEY, database_url=database_url, data_dir=tmp_path, worker_in_process=False,
            rate_limit_storage_uri=uri, rate_limit_per_minute=1000,
        )  # fmt: skip
        async with serving(settings) as (address, runtime), Service(address, runtime).client(KEY) as http:
            asked = asyncio.ensure_future(http.get("/api/v1/sessions"))
            await asyncio.sleep(0.05)
            assert (await http.get("/livez")).status_code == 200
            assert not asked.done(), "the loop is free while the store is waited for"
            assert (await asked).status_code == 200
            began = time.perf_counter()
            answers = [await http.get("/api/v1/sessions") for _ in range(20)]
            assert time.perf_counter() - began < 20 * WAIT_SECONDS / 2, "not the whole wait for each"
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers["ratelimit"].startswith('"default";r=')
