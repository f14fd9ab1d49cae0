"""Server-sent events of who may no longer see them: they end, and say why."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.api import streams
from app.core.errors import Unavailable
from app.providers.llm import ModelChain
from app.schemas.events import SERVER_EVENT
from app.services.answering import Answering
from tests.api import people
from tests.api.people import AUTH, Join, Person
from tests.api.test_document_events import in_work
from tests.conftest import MakeTenant, Tenant
from tests.fakes import ScriptedModel

join = people.join
ASKED = {"message": "Count.", "use_rag": False}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CHECK_SECONDS", 0.3)


@pytest.fixture
async def person(new_tenant: MakeTenant, join: Join, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Person]:
    """Somebody whose answers take twenty seconds."""
    tenant = await new_tenant()
    slow = Answering(ModelChain([ScriptedModel(400, 0.05)]))
    monkeypatch.setattr(tenant.runtime.chat, "_answering", slow)
    yield await join(tenant)
    for turn in tenant.runtime.chat._tasks:
        turn.cancel()


async def lines_of(response: httpx.Response, until: str) -> tuple[list[str], AsyncIterator[str]]:
    """To the first one that holds it."""
    assert response.status_code == 200, await response.aread()
    lines, seen = response.aiter_lines(), []
    async for line in lines:
        seen.append(line)
        if until in line:
            break
    return seen, lines


async def rest(lines: AsyncIterator[str]) -> list[str]:
    """Properly to the end: httpx raises for a body that is cut."""
    async with asyncio.timeout(10):
        return [line async for line in lines if line]


def last_event(lines: list[str]) -> dict[str, Any]:
    assert lines[-2] == "event: error"  # without an `id:` between the two
    data: dict[str, Any] = json.loads(lines[-1].removeprefix("data: "))
    assert (data["type"], data["code"], data["retryable"]) == ("error", "auth_expired", False)
    return data


@pytest.mark.parametrize("how", ["disabled", "logged out", "another password"])
async def test_with_the_user_or_the_login(person: Person, how: str) -> None:
    session = await person.session()
    async with person.http.stream("POST", f"/api/v1/sessions/{session}/chat/stream", json=ASKED) as response:
        seen, lines = await lines_of(response, "event: delta")
        turn = next(line for line in seen if line.startswith("id: "))[4:].rpartition(".")[0]
        if how == "disabled":
            await person.tenant.http.patch(f"/api/v1/users/{person.id}", json={"disabled": True})
        elif how == "logged out":
            await person.http.post(f"{AUTH}/logout")
        else:
            await person.tenant.runtime.accounts.logins.set_password(person.email, "staple battery horse")
        event = last_event(await rest(lines))
    assert (event["session_id"], event["turn_id"], event["seq"]) == (session, None, 0)
    SERVER_EVENT.validate_python(event)
    told = (await person.tenant.http.get(f"/api/v1/turns/{turn}")).json()
    assert told["status"] == "running"  # the turn does not belong to the stream


async def test_with_the_key(person: Person) -> None:
    tenant = person.tenant
    made = (await tenant.http.post("/api/v1/api-keys", json={"name": "bot", "scopes": ["chat"]})).json()
    session = await tenant.session()
    begun = tenant.http.stream("POST", f"/api/v1/sessions/{session}/chat/stream", json=ASKED)
    async with begun as first, tenant.service.client(made["key"]) as http:
        seen, own = await lines_of(first, "event: delta")
        turn = next(line for line in seen if line.startswith("id: "))[4:].rpartition(".")[0]
        async with http.stream("GET", f"/api/v1/turns/{turn}/events") as response:
            _, lines = await lines_of(response, "event: delta")
            await asyncio.sleep(0.5)  # a look that finds nothing ends nothing
            assert any("delta" in line for line in [await anext(lines) for _ in range(8)])
            assert (await tenant.http.delete(f"/api/v1/api-keys/{made['id']}")).status_code == 204
            assert last_event(await rest(lines))["session_id"] == session
            assert any("delta" in line for line in [await anext(own) for _ in range(8)])


async def test_of_a_document(tenant: Tenant) -> None:
    id_ = await in_work(tenant)
    made = (await tenant.http.post("/api/v1/api-keys", json={"name": "bot", "scopes": ["chat"]})).json()
    async with (
        tenant.service.client(made["key"]) as http,
        http.stream("GET", f"/api/v1/documents/{id_}/events") as response,
    ):
        _, lines = await lines_of(response, "data: ")
        assert (await tenant.http.delete(f"/api/v1/api-keys/{made['id']}")).status_code == 204
        last_event(await rest(lines))


async def test_of_openais_clients(person: Person) -> None:
    chat = {"model": "ragchat-plain", "stream": True, "messages": [{"role": "user", "content": "Count."}]}
    async with person.http.stream("POST", "/v1/chat/completions", json=chat) as response:
        _, lines = await lines_of(response, '"content":"w')
        assert (await person.http.post(f"{AUTH}/logout")).status_code == 204
        error = json.loads((await rest(lines))[-1].removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "auth_expired")


async def test_a_database_that_is_away_ends_nothing(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def away(*_: object) -> None:
        nonlocal looks
        looks += 1
        raise Unavailable

    session = await person.session()
    async with person.http.stream("POST", f"/api/v1/sessions/{session}/chat/stream", json=ASKED) as response:
        _, lines = await lines_of(response, "event: delta")
        monkeypatch.setattr(streams, "authenticate", away)
        async with asyncio.timeout(10):
            while looks < 2:
                await anext(lines)
        assert any("delta" in line for line in [await anext(lines) for _ in range(8)])
