"""WebSockets of users: who is let in, and when it ends (H56, H57, H70)."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import websockets
from websockets.typing import Subprotocol

from app.api import sockets
from app.api.routers import chat_ws
from app.core import tokens
from app.core.tokens import Tokens
from tests.api import people
from tests.api import test_hostile_tools as tools
from tests.api.people import AUTH, Join, Person
from tests.api.test_hostile_sockets import MESSAGE, receive, say, until, upgrade
from tests.api.test_hostile_tools import check_problem, raw, watched_logs
from tests.api.test_jwt import claims_of
from tests.api.test_socket_limits import PING, closing
from tests.conftest import JWT_SECRET, Tenant

join, edge, unharmed = people.join, tools.edge, tools.unharmed


@contextlib.asynccontextmanager
async def opened(
    person: Person, *, token: str | None = None, session: str | None = None, by_protocol: bool = False, **options: Any
) -> AsyncIterator[websockets.ClientConnection]:
    """As a browser does it, or with a header."""
    url = f"ws://{person.tenant.service.address}/chat/{session or await person.session()}"
    token = token or person.token
    if by_protocol:
        options["subprotocols"] = [Subprotocol("ragchat.v1"), Subprotocol(f"bearer.{token}")]
    else:
        options["additional_headers"] = {"Authorization": f"Bearer {token}"}
    async with websockets.connect(url, **options) as socket:
        assert (await receive(socket))["type"] == "ready"
        yield socket


async def test_by_header_and_by_subprotocol(edge: Tenant, join: Join) -> None:
    person = await join(edge)
    for by_protocol in (False, True):
        async with opened(person, by_protocol=by_protocol) as socket:
            assert socket.subprotocol == ("ragchat.v1" if by_protocol else None)
            await socket.send(json.dumps(MESSAGE))
            events = await until(socket, "done")
            assert events[-1]["status"] == "completed"


async def test_a_key_of_the_tenant_opens_the_session_of_a_user(edge: Tenant, join: Join) -> None:
    person = await join(edge)
    async with opened(person, token=edge.key, by_protocol=True) as socket:
        assert (await say(socket, PING))["type"] == "pong"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthorized"),
        ({"Authorization": "Bearer {changed}"}, 401, "invalid_token"),
        ({"Sec_WebSocket_Protocol": "ragchat.v1, bearer.{changed}"}, 401, "invalid_token"),
        ({"Sec_WebSocket_Protocol": "ragchat.v1, bearer."}, 401, "unauthorized"),
        ({"Sec_WebSocket_Protocol": "ragchat.v1, bearer.{refresh}"}, 401, "unauthorized"),
        ({"Authorization": "Bearer {other}"}, 404, "session_not_found"),
        ({"Sec_WebSocket_Protocol": "ragchat.v1, bearer.{other}"}, 404, "session_not_found"),
        ({"Authorization": "Bearer {token}", "X_API_Key": "{key}"}, 400, "ambiguous_credentials"),
        ({"Authorization": "Bearer {token}", "Sec_WebSocket_Protocol": "bearer.{other}"}, 400, "ambiguous_credentials"),
        ({"Authorization": "Bearer {token}", "Origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ({"Sec_WebSocket_Protocol": "ragchat.v1, bearer.{token}", "Origin": "null"}, 403, "origin_not_allowed"),
        ({"Cookie": "access_token={token}; session={token}"}, 401, "unauthorized"),
    ],
)
async def test_refused_before_the_upgrade(
    edge: Tenant, join: Join, headers: dict[str, str], status: int, code: str
) -> None:
    person, other = await join(edge), await join(edge)
    words = {
        "token": person.token, "other": other.token, "key": edge.key, "refresh": person.pair["refresh_token"],
        "changed": person.token[:-8] + "AAAAAAAA",
    }  # fmt: skip
    sent = {name: value.format(**words) for name, value in headers.items()}
    session = await person.session()
    check_problem(await raw(edge.service.address, upgrade(f"/chat/{session}", None, **sent)), status, code)


async def test_a_foreign_session_and_an_unknown_one_look_alike(edge: Tenant, join: Join) -> None:
    person, other = await join(edge), await join(edge)
    answers = []
    for id_ in (await other.session(), await edge.session(), str(uuid4())):
        data = upgrade(f"/chat/{id_}", None, Authorization=f"Bearer {person.token}")
        problem = check_problem(await raw(edge.service.address, data), 404)
        answers.append({k: v for k, v in problem.items() if k not in ("instance", "request_id")})
    assert answers[0] == answers[1] == answers[2]


async def test_own_origin_is_fine_and_a_token_in_the_address_is_nothing(edge: Tenant, join: Join) -> None:
    person = await join(edge)
    path = f"/chat/{await person.session()}"
    offered = {"Sec_WebSocket_Protocol": f"ragchat.v1, bearer.{person.token}"}
    assert (await raw(edge.service.address, upgrade(path, None, Origin="http://here", **offered))).status == 101
    with watched_logs() as (events, records):
        for name in ("token", "access_token", "bearer"):
            data = upgrade(f"{path}?{name}={person.token}", None)
            check_problem(await raw(edge.service.address, data), 401, "unauthorized")
    assert person.token not in repr(events) + repr(records)


async def test_turns_of_others_are_not_there(edge: Tenant, join: Join) -> None:
    person, other = await join(edge), await join(edge)
    asked = await other.http.post(f"/api/v1/sessions/{await other.session()}/chat", json={"message": "Hello?"})
    async with opened(person) as socket:
        for type_ in ("cancel", "resume", "retry"):
            told = []
            for turn in (asked.json()["turn_id"], str(uuid4())):
                event = await say(socket, {"type": type_, "turn_id": turn, "after": 0} if type_ == "resume" else
                                  {"type": type_, "turn_id": turn})  # fmt: skip
                told.append((event["type"], event["code"], event["message"]))
            assert told[0] == told[1] == ("error", "turn_not_found", told[0][2])


class TestEnds:
    async def _ended(self, socket: websockets.ClientConnection) -> None:
        assert (await receive(socket))["code"] == "auth_expired"
        assert await closing(socket) == (1008, "credential expired")

    def test_it_is_looked_at_often_enough(self) -> None:
        """A token's end is noticed within a minute: the pause between two looks, and what it may be late."""
        assert sockets.CHECK_SECONDS + tokens.LEEWAY_SECONDS < 60

    async def test_with_the_token(self, edge: Tenant, join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sockets, "CHECK_SECONDS", 0.3)
        monkeypatch.setattr(tokens, "LEEWAY_SECONDS", 0)
        person = await join(edge)
        claims = claims_of(person)
        short = Tokens(JWT_SECRET, seconds=2)
        token = short.issue(*(UUID(claims[name]) for name in ("tenant", "sub", "family")))
        async with opened(person, token=token, by_protocol=True) as socket:
            began = time.monotonic()
            while time.monotonic() - began < 0.8:
                assert (await say(socket, PING))["type"] == "pong"
                await asyncio.sleep(0.1)
            await self._ended(socket)

    @pytest.mark.parametrize("type_", ["user_message", "retry"])
    async def test_before_a_question_when_its_process_knows(self, edge: Tenant, join: Join, type_: str) -> None:
        """Long before the next look."""
        person, bystander = await join(edge), await join(edge)
        async with opened(person) as socket, opened(bystander) as other:
            await person.http.post(f"{AUTH}/logout")
            assert (await say(socket, PING))["type"] == "pong"
            await socket.send(
                json.dumps(MESSAGE if type_ == "user_message" else {"type": "retry", "turn_id": str(uuid4())})
            )
            await self._ended(socket)
            await other.send(json.dumps(MESSAGE))
            assert (await until(other, "done"))[-1]["status"] == "completed"

    async def test_a_question_that_nothing_speaks_against_asks_nobody(
        self, edge: Tenant, join: Join, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never(*_: object) -> None:
            raise AssertionError("it was looked up")

        async with opened(await join(edge)) as socket:
            monkeypatch.setattr(chat_ws, "authenticate", never)
            await socket.send(json.dumps(MESSAGE))
            assert (await until(socket, "done"))[-1]["status"] == "completed"

    @pytest.mark.parametrize("how", ["disabled", "logged out", "reused"])
    async def test_with_the_user_or_the_login(
        self, edge: Tenant, join: Join, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        monkeypatch.setattr(sockets, "CHECK_SECONDS", 0.3)
        person, bystander = await join(edge), await join(edge)
        async with opened(person) as socket, opened(bystander) as other:
            await asyncio.sleep(0.5)
            assert (await say(socket, PING))["type"] == "pong"
            if how == "disabled":
                await edge.http.patch(f"/api/v1/users/{person.id}", json={"disabled": True})
            elif how == "logged out":
                await person.http.post(f"{AUTH}/logout")
            else:
                for _ in range(2):
                    await person.http.post(f"{AUTH}/refresh", json={"refresh_token": person.pair["refresh_token"]})
            await self._ended(socket)
            assert (await say(other, PING))["type"] == "pong"
