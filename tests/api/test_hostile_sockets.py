"""Bad frames, foreign turns and pages of other origins over WebSocket (H24, H56, H57, H59-H62, H65-H68)."""

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import websockets

from app.api import guard
from tests.api import test_hostile_tools as tools
from tests.api.test_hostile_tools import CANARY, check_problem, connection, raw, request
from tests.conftest import MakeTenant, Tenant

edge, unharmed = tools.edge, tools.unharmed
MESSAGE = {"type": "user_message", "content": "hello", "use_rag": False}


@contextlib.asynccontextmanager
async def opened(tenant: Tenant, session: str | None = None) -> AsyncIterator[websockets.ClientConnection]:
    url = f"ws://{tenant.service.address}/chat/{session or await tenant.session()}"
    async with websockets.connect(url, additional_headers={"X-API-Key": tenant.key}) as socket:
        await receive(socket)
        yield socket


async def receive(socket: websockets.ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(5):
        return dict(json.loads(await socket.recv()))


async def until(socket: websockets.ClientConnection, *types: str) -> list[dict[str, Any]]:
    events = [await receive(socket)]
    while events[-1]["type"] not in types:
        events.append(await receive(socket))
    return events


async def say(socket: websockets.ClientConnection, frame: str | dict[str, Any]) -> dict[str, Any]:
    await socket.send(frame if isinstance(frame, str) else json.dumps(frame))
    return await receive(socket)


def upgrade(path: str, key: str | None, **headers: str) -> bytes:
    nonce = base64.b64encode(os.urandom(16)).decode()
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": nonce,
        "Sec_WebSocket_Version": "13",
    }
    return request("GET", path, key, **(fields | headers))


class TestUpgrade:
    @pytest.mark.parametrize(
        ("path", "key", "headers", "status", "code"),
        [
            ("{session}", None, {}, 401, "unauthorized"),
            ("{session}", f"rgc_{CANARY}", {}, 401, "unauthorized"),
            ("{session}?token={key}&api_key={key}", None, {}, 401, "unauthorized"),
            ("{session}", None, {"Sec_WebSocket_Protocol": f"ragchat.v1, bearer.{CANARY}"}, 401, "unauthorized"),
            ("{session}", "{key}", {"Authorization": "Bearer other"}, 400, "ambiguous_credentials"),
            ("{session}", "{key}", {"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
            ("{session}", "{key}", {"Origin": "null"}, 403, "origin_not_allowed"),
            ("{session}", "{key}", {"Origin": "http://here.evil.example"}, 403, "origin_not_allowed"),
            ("{session}", "{key}", {"Origin": "http://here:81"}, 403, "origin_not_allowed"),
            ("{session}", "{key}", {"Origin": ""}, 403, "origin_not_allowed"),
            ("%00", "{key}", {}, 404, "session_not_found"),
            ("8c8f3a3e-5f3c-7cde-9a10-3b1f2c4d5e6f", "{key}", {}, 404, "session_not_found"),
            ("1%3BDROP", "{key}", {}, 404, "session_not_found"),
            ("{SESSION}", "{key}", {}, 404, "session_not_found"),
        ],
    )
    async def test_refused(
        self, edge: Tenant, path: str, key: str | None, headers: dict[str, str], status: int, code: str
    ) -> None:
        session = await edge.session()
        path = path.replace("{session}", session).replace("{SESSION}", session.upper()).replace("{key}", edge.key)
        key = edge.key if key == "{key}" else key
        check_problem(await raw(edge.service.address, upgrade(f"/chat/{path}", key, **headers)), status, code)

    async def test_own_origin_and_none_are_fine(self, edge: Tenant) -> None:
        for headers in ({}, {"Origin": "http://here"}):
            data = upgrade(f"/chat/{await edge.session()}", edge.key, **headers)
            assert (await raw(edge.service.address, data)).status == 101

    async def test_foreign_session_and_unknown_one_look_alike(self, edge: Tenant, new_tenant: MakeTenant) -> None:
        theirs = await (await new_tenant()).session()
        answers = []
        for id_ in (theirs, str(uuid4())):
            problem = check_problem(await raw(edge.service.address, upgrade(f"/chat/{id_}", edge.key)), 404)
            answers.append({k: v for k, v in problem.items() if k not in ("instance", "request_id")})
        assert answers[0] == answers[1]

    @pytest.mark.parametrize(
        "headers", [{"Sec_WebSocket_Version": "8"}, {"Sec_WebSocket_Key": "short"}, {"Sec_WebSocket_Key": ""}]
    )
    async def test_bad_handshakes(self, edge: Tenant, headers: dict[str, str]) -> None:
        data = upgrade(f"/chat/{await edge.session()}", edge.key, **headers)
        assert (await raw(edge.service.address, data)).status in (400, 426)

    async def test_other_ways_to_the_address(self, edge: Tenant) -> None:
        path = f"/chat/{await edge.session()}"
        check_problem(await edge.http.get(path), 404)
        check_problem(await edge.http.post(path), 404)
        check_problem(await raw(edge.service.address, upgrade("/nowhere", edge.key)), 404)


def asking(**fields: Any) -> str:
    return json.dumps({"type": "user_message", "content": "a"} | fields)


def about(type_: str, **fields: Any) -> str:
    return json.dumps({"type": type_, "turn_id": "8c8f3a3e-5f3c-7cde-9a10-3b1f2c4d5e6f"} | fields)


NOT_FRAMES = [
    "", "nonsense", "[]", "null", "5", "{}", '{"type":null}', '{"type":5}', '{"type":["ping"]}', "[" * 60_000,
    '{"type":"ping","type":"ping"}', '{"type":"ping","a":NaN}', '{"type":"ping","a":1e400}',
    '{"type":"ping","a":' + "1" * 5000 + "}", '{"type":"ping","id":{}}', '{"type":"hello","protocol":5}',
    '{"type":"user_message"}', asking(content=5), asking(content=["a"]), asking(content="\ud800"),
    asking(content="a\0"), asking(top_k="5"), asking(top_k=51), asking(use_rag="no"), asking(id=5), asking(id="\ud800"),
    asking(id=" "), asking(id="i" * 129), asking(document_ids=["x"]), asking(lang="te; DROP"),
    '{"type":"cancel"}', about("cancel", turn_id="x"), about("cancel", turn_id="8C8F3A3E-5F3C-7CDE-9A10-3B1F2C4D5E6F"),
    about("resume", after=-1), about("resume", after=10**12), about("resume", after="1"), about("resume", after=True),
]  # fmt: skip
FRAMES = [(frame, "bad_frame") for frame in NOT_FRAMES] + [
    ('{"type":"' + CANARY + '"}', "unknown_type"), ('{"type":"__class__"}', "unknown_type"),
    ('{"type":"\\ud800"}', "unknown_type"), ('{"type":"PING"}', "unknown_type"),
    ('{"type":"ping\\u0000"}', "unknown_type"), (asking(content=""), "empty_content"),
    (asking(content=" \u200b\u2060\ufe0f "), "empty_content"), (asking(content=CANARY * 1000), "too_long"),
    (json.dumps({"type": "user_message", "content": "😀" * 20_000}, ensure_ascii=False), "too_long"),
    (asking(document_ids=["8c8f3a3e-5f3c-7cde-9a10-3b1f2c4d5e6f"]), "unknown_document"),
    (asking(lang="xx"), "unsupported_language"),
    (about("cancel"), "turn_not_found"), (about("resume"), "turn_not_found"),
]  # fmt: skip


class TestFrames:
    async def test_faults_are_told_and_the_socket_stays_open(self, edge: Tenant) -> None:
        session = await edge.session()
        for start in range(0, len(FRAMES), 9):
            async with opened(edge, session) as socket:
                for frame, code in FRAMES[start : start + 9]:
                    event = await say(socket, frame)
                    assert (event["type"], event["code"], event["seq"]) == ("error", code, 0), frame[:80]
                    assert CANARY not in json.dumps(event)
                    assert not event["retryable"]
                assert (await say(socket, '{"type":"ping","id":"p"}'))["type"] == "pong"
        assert (await edge.http.get(f"/api/v1/sessions/{session}/messages")).json()["total"] == 0

    async def test_unknown_fields_and_nulls_are_passed_over(self, edge: Tenant) -> None:
        async with opened(edge) as socket:
            event = await say(socket, '{"type":"ping","id":"1","tenant_id":"x","metadata":{"a":[1]},"top_k":null}')
            assert (event["type"], event["id"]) == ("pong", "1")

    async def test_ten_bad_frames_end_it(self, edge: Tenant) -> None:
        async with opened(edge) as socket:
            for _ in range(10):
                await socket.send(CANARY)
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await until(socket, "never")
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, CANARY in closed.value.rcvd.reason) == (1008, False)

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            (b"\x82\x81\0\0\0\0a", 1003),  # binary
            (b"\x81\x82\0\0\0\0\xff\xfe", 1007),  # not UTF-8
            (b"\x81\x82\0\0\0\0\xc0\xaf", 1007),  # overlong
            (b"\x81\x83\0\0\0\0\xed\xa0\x80", 1007),  # a surrogate
            (b"\x81\x01a", 1002),  # not masked
            (b"\xc1\x81\0\0\0\0a", 1002),  # reserved bit
            (b"\x83\x81\0\0\0\0a", 1002),  # reserved opcode
            (b"\x89\xfe\0\x7e\0\0\0\0" + b"a" * 126, 1002),  # long ping
            (b"\x81\xff" + (2**40).to_bytes(8, "big") + b"\0\0\0\0", 1009),  # announced length
            (b"\x81\xff" + (2**63).to_bytes(8, "big") + b"\0\0\0\0", 1009),
            (b"\x81\xff" + (131_073).to_bytes(8, "big") + b"\0\0\0\0" + b"a" * 131_073, 1009),
            (
                b"\x01\xfe\xff\xff\0\0\0\0"
                + b"a" * 65_535
                + b"\0\xfe\xff\xff\0\0\0\0"
                + b"a" * 65_535
                + b"\x80\x84\0\0\0\0aaaa",
                1009,
            ),
            (b"\x80\x81\0\0\0\0a", 1002),  # continues nothing
        ],
        ids=range(13),
    )
    async def test_breaches_of_the_protocol_close_it(self, edge: Tenant, frame: bytes, code: int) -> None:
        async with connection(edge.service.address) as (reader, writer), asyncio.timeout(5):
            writer.write(upgrade(f"/chat/{await edge.session()}", edge.key))
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            writer.write(frame)
            assert await self._close_code(reader) in {code, 1002 if code == 1009 else code}

    async def _close_code(self, reader: asyncio.StreamReader) -> int:
        while True:
            opcode, length = await reader.readexactly(2)
            size = int.from_bytes(await reader.readexactly(2), "big") if length == 126 else length
            payload = await reader.readexactly(size)
            if opcode == 0x88:
                return int.from_bytes(payload[:2], "big")

    async def test_many_small_fragments_are_one_message(self, edge: Tenant) -> None:
        async with opened(edge) as socket:
            await socket.send([*'{"type":"ping","id":"' + "x" * 100 + '"}'])
            assert (await receive(socket))["type"] == "pong"


class TestTurns:
    async def test_start_twice_or_never(self, edge: Tenant) -> None:
        async with opened(edge) as socket:
            assert (await say(socket, MESSAGE))["type"] == "turn_started"
            await until(socket, "done")
            for _ in range(2):
                assert (await say(socket, '{"type":"session_start"}'))["type"] == "session_start"

    async def test_the_same_message_ten_times_on_two_sockets(self, edge: Tenant) -> None:
        session = await edge.session()
        async with opened(edge, session) as one, opened(edge, session) as two:
            for _ in range(5):
                for socket in (one, two):
                    await socket.send(json.dumps(MESSAGE | {"id": "same"}))
            seen = [event for socket in (one, two) for _ in range(5) for event in await until(socket, "done", "error")]
        assert len({event["turn_id"] for event in seen if event["type"] == "turn_started"}) == 1
        assert not [event for event in seen if event["type"] == "error"]
        messages = (await edge.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]
        assert [message["sender"] for message in messages] == ["user", "assistant"]

    async def test_two_messages_at_once_are_one_turn_after_the_other_or_refused(self, edge: Tenant) -> None:
        session = await edge.session()
        async with opened(edge, session) as socket:
            for _ in range(8):
                await socket.send(json.dumps(MESSAGE))
            ends = [(await until(socket, "done", "error"))[-1] for _ in range(8)]
        assert {event.get("code", "done") for event in ends} <= {"done", "turn_in_progress"}
        messages = (await edge.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]
        assert [message["seq"] for message in messages] == [*range(1, len(messages) + 1)]
        assert [message["sender"] for message in messages] == ["user", "assistant"] * (len(messages) // 2)

    async def test_anothers_turn(self, edge: Tenant, new_tenant: MakeTenant) -> None:
        other = await new_tenant()
        session = await other.session()
        body = {"message": CANARY, "use_rag": False}
        turn = (await other.http.post(f"/api/v1/sessions/{session}/chat", json=body)).json()["turn_id"]
        async with opened(edge) as socket:
            for type_ in ("resume", "cancel"):
                event = await say(socket, {"type": type_, "turn_id": turn})
                unknown = await say(socket, {"type": type_, "turn_id": str(uuid4())})
                assert event["code"] == "turn_not_found"
                assert {k: v for k, v in event.items() if k != "timestamp"} == {
                    k: v for k, v in unknown.items() if k != "timestamp"
                }
        async with opened(other, session) as socket:
            await socket.send(json.dumps({"type": "resume", "turn_id": turn}))
            assert (await until(socket, "done"))[-1]["status"] == "completed"


def test_frames_are_read_as_strictly_as_bodies() -> None:
    assert guard.parse_json('{"a": 1}') == guard.parse_json(b'{"a": 1}') == {"a": 1}
