"""How many sockets, how much, how long: bounds of one connection and of all of them (H62, H64, H69 to H71)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from sqlalchemy import text

from app.api import sockets, ws_protocol
from app.api.outbox import FOLLOWED_BYTES, FOLLOWED_FRAMES, MOST_FRAMES, Closing, Outbox
from tests.api import test_hostile_tools as tools
from tests.api.test_hostile_sockets import MESSAGE, opened, receive, say, until, upgrade
from tests.api.test_hostile_tools import check_problem, connection, raw
from tests.conftest import Service, Tenant, make_settings, serving
from tests.fakes import ScriptedModel
from tests.integration.streams import tight_socket
from tests.integration.test_turns import Process

edge, unharmed = tools.edge, tools.unharmed
PING = '{"type":"ping"}'


@contextlib.asynccontextmanager
async def limited(database_url: str, folder: Path, **limits: Any) -> AsyncIterator[Tenant]:
    """A service with limits of its own, and a tenant there."""
    settings = make_settings(database_url=database_url, data_dir=folder, worker_in_process=False, **limits)
    async with serving(settings) as (address, runtime):
        service = Service(address, runtime)
        caller, key = await service.tenant()
        async with service.client(key) as http:
            yield Tenant(service, caller, key, http)


async def closing(socket: websockets.ClientConnection, seconds: float = 10) -> tuple[int | None, str | None]:
    async with asyncio.timeout(seconds):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code, socket.close_reason


class TestCaps:
    async def test_so_many_for_a_user_and_so_many_for_all(self, database_url: str, tmp_path: Path) -> None:
        async with limited(database_url, tmp_path, ws_max_per_user=2, ws_max_sockets=4) as tenant:
            mine, theirs = await tenant.session(), await tenant.session(user_id="lakshmi")
            async with contextlib.AsyncExitStack() as stack:
                one = await stack.enter_async_context(opened(tenant, mine))
                await stack.enter_async_context(opened(tenant, await tenant.session()))
                await self._refused(tenant, mine, 429, "too_many_sockets")
                await stack.enter_async_context(opened(tenant, theirs))
                await one.close()
                await stack.enter_async_context(await self._admitted(tenant, mine))  # the place was given back
                await stack.enter_async_context(opened(tenant, theirs))
                await self._refused(tenant, await tenant.session(user_id="anna"), 503, "server_full")
            await self._the_same_name_elsewhere_is_somebody_else(tenant, mine)

    async def _the_same_name_elsewhere_is_somebody_else(self, tenant: Tenant, mine: str) -> None:
        caller, key = await tenant.service.tenant()
        async with (
            tenant.service.client(key) as http,
            await self._admitted(tenant, mine),
            opened(tenant),
            opened(Tenant(tenant.service, caller, key, http)),
        ):
            pass

    async def _refused(self, tenant: Tenant, session: str, status: int, code: str) -> None:
        answer = await raw(tenant.service.address, upgrade(f"/chat/{session}", tenant.key))
        check_problem(answer, status, code)
        assert int(answer.headers["retry-after"]) > 0

    async def _admitted(
        self, tenant: Tenant, session: str
    ) -> contextlib.AbstractAsyncContextManager[websockets.ClientConnection]:
        """As soon as a place is free."""
        async with asyncio.timeout(5):
            while True:
                answer = await raw(tenant.service.address, upgrade(f"/chat/{session}", tenant.key))
                if answer.status == 101:
                    return opened(tenant, session)
                await asyncio.sleep(0.05)

    def test_the_default_is_for_production(self) -> None:
        key = "rgc_3kVmW8sTqL0xZr5nYb7uJd2hCf6gPa9e"
        assert make_settings().sockets_per_user == 0
        assert make_settings(app_env="production", api_key=key).sockets_per_user == 10
        assert make_settings(app_env="production", api_key=key, ws_max_per_user=0).sockets_per_user == 0


class TestAges:
    async def test_who_says_nothing_is_closed_and_who_pings_is_not(self, database_url: str, tmp_path: Path) -> None:
        async with (
            limited(database_url, tmp_path, ws_idle_seconds=1.5) as tenant,
            opened(tenant) as silent,
            opened(tenant) as alive,
        ):
            ending = asyncio.create_task(closing(silent))
            for _ in range(6):
                assert (await say(alive, PING))["type"] == "pong"
                await asyncio.sleep(0.5)
            assert await ending == (1001, "idle")
            assert (await say(alive, PING))["type"] == "pong"

    async def test_the_oldest_are_asked_to_connect_again(self, database_url: str, tmp_path: Path) -> None:
        async with limited(database_url, tmp_path, ws_lifetime_seconds=1) as tenant, opened(tenant) as socket:
            last = await receive(socket)
            assert (last["type"], last["code"], last["retry_after_ms"]) == ("system", "reconnect", 0)
            assert await closing(socket) == (1012, "connect again")

    async def test_a_key_that_is_revoked_ends_it(self, new_tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        tenant: Tenant = await new_tenant()
        monkeypatch.setattr(sockets, "CHECK_SECONDS", 0.5)
        async with opened(tenant) as socket:
            await asyncio.sleep(1)
            assert (await say(socket, PING))["type"] == "pong"
            async with tenant.runtime.owner.begin() as database:
                delete = text("DELETE FROM api_keys WHERE tenant_id = :id")
                await database.execute(delete, {"id": tenant.caller.tenant_id})
            assert (await receive(socket))["code"] == "auth_expired"
            assert (await closing(socket))[0] == 1008


class TestFloods:
    async def test_frames_are_passed_over_and_then_it_ends(self, edge: Tenant) -> None:
        async with opened(edge) as socket:
            for _ in range(sockets.FRAMES_A_MINUTE + 20):
                await socket.send(PING)
            events = await until(socket, "error")
            assert [event["type"] for event in events[:-1]] == ["pong"] * sockets.FRAMES_A_MINUTE
            assert (events[-1]["code"], events[-1]["retryable"]) == ("rate_limited", True)
            with contextlib.suppress(websockets.ConnectionClosed):
                for _ in range(sockets.FRAMES_A_MINUTE):
                    await socket.send(PING)
            assert await closing(socket) == (1008, "too many frames")

    async def test_pings_of_the_protocol(self, edge: Tenant) -> None:
        async with connection(edge.service.address) as (reader, writer), asyncio.timeout(10):
            writer.write(upgrade(f"/chat/{await edge.session()}", edge.key))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x89\x80\0\0\0\0" * 2 * ws_protocol.CONTROL_FRAMES_A_MINUTE)
            assert (1008).to_bytes(2, "big") + b"too many pings" in await reader.read(-1)

    async def test_pongs_that_nobody_asked_for(self, edge: Tenant) -> None:
        async with connection(edge.service.address) as (reader, writer), asyncio.timeout(10):
            writer.write(upgrade(f"/chat/{await edge.session()}", edge.key))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x8a\x80\0\0\0\0" * 2 * ws_protocol.CONTROL_FRAMES_A_MINUTE)
            assert (1008).to_bytes(2, "big") in await reader.read(-1)

    async def test_empty_fragments_without_end(self, edge: Tenant) -> None:
        async with connection(edge.service.address) as (reader, writer), asyncio.timeout(10):
            writer.write(upgrade(f"/chat/{await edge.session()}", edge.key))
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 2 * ws_protocol.MOST_FRAGMENTS)
            assert (1009).to_bytes(2, "big") + b"too many fragments" in await reader.read(-1)

    async def test_many_followers_of_one_socket(self, edge: Tenant) -> None:
        session = await edge.session()
        body = {"message": "hello", "use_rag": False}
        turn = (await edge.http.post(f"/api/v1/sessions/{session}/chat", json=body)).json()["turn_id"]
        async with opened(edge, session) as socket:
            for _ in range(4 * sockets.MOST_FOLLOWED):
                await socket.send(json.dumps({"type": "resume", "turn_id": turn}))
            seen = [(await until(socket, "done", "error"))[-1] for _ in range(4 * sockets.MOST_FOLLOWED)]
            assert {event.get("code", "done") for event in seen} <= {"done", "rate_limited"}
            assert (await say(socket, PING))["type"] == "pong"


async def test_sockets_leave_nothing_behind(edge: Tenant) -> None:
    """Ended in each way, some of them in the middle of an answer."""
    session = await edge.session()
    async with opened(edge, session):
        pass
    before = await settled()
    for way in range(30):
        async with connection(edge.service.address) as (reader, writer):
            writer.write(upgrade(f"/chat/{session}", edge.key))
            await reader.readuntil(b"\r\n\r\n")
            frame = json.dumps(MESSAGE).encode()
            writer.write(b"\x81" + bytes([0x80 | len(frame)]) + b"\0\0\0\0" + frame)
            if way % 3 == 1:
                await reader.read(100)
            elif way % 3 == 2:
                writer.write(b"\x88\x80\0\0\0\0")
                await reader.read(-1)
    async with asyncio.timeout(10):
        while await settled() > before:
            await asyncio.sleep(0.1)


async def settled() -> int:
    """Tasks of this process, the service's among them."""
    await asyncio.sleep(0.3)
    return len(asyncio.all_tasks())


async def test_who_never_reads_is_not_kept(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the close frame gets through; the connection ends all the same."""
    monkeypatch.setattr(sockets, "SEND_SECONDS", 0.3)
    monkeypatch.setattr(ws_protocol, "GOODBYE_SECONDS", 0.5)
    process = Process(tenant, ScriptedModel(1, 0, prefix="much" * 500_000))
    session = await tenant.session()
    turn = await process.ask(session)
    await process.follow(turn)
    host, _, port = tenant.service.address.partition(":")
    with tight_socket(host, int(port)) as mute:
        mute.sendall(upgrade(f"/chat/{session}", tenant.key))
        mute.setblocking(False)
        await asyncio.get_running_loop().sock_recv(mute, 20)
        frame = json.dumps({"type": "resume", "turn_id": str(turn)}).encode()
        mute.send(b"\x81" + bytes([0x80 | len(frame)]) + b"\0\0\0\0" + frame)
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(10):
                while True:
                    mute.send(b"\x8a\x80\0\0\0\0")  # a pong that nobody asked for
                    await asyncio.sleep(0.2)


class TestOutbox:
    async def test_turns_wait_and_answers_do_not(self) -> None:
        box = Outbox()
        for number in range(FOLLOWED_FRAMES):
            await box.put(str(number))
        late = asyncio.create_task(box.put("late"))
        await asyncio.sleep(0)
        for number in range(FOLLOWED_FRAMES, MOST_FRAMES):
            box.put_now(str(number))
        with pytest.raises(Closing) as refused:
            box.put_now("more")
        assert refused.value.code == 1013
        got = [await box.get() for _ in range(MOST_FRAMES - FOLLOWED_FRAMES)]
        assert not late.done()
        got += [await box.get()]
        await late
        assert got == [str(number) for number in range(len(got))]

    async def test_bytes_count_as_they_are_sent(self) -> None:
        box = Outbox()
        await box.put("త" * (FOLLOWED_BYTES // 3))
        late = asyncio.create_task(box.put("a"))
        await asyncio.sleep(0.01)
        assert not late.done()
        await box.get()
        await late

    async def test_the_end_stands_behind_what_waits(self) -> None:
        box = Outbox()
        box.put_now("one")
        box.close(Closing(1012, "end"))
        box.close(Closing(1000, "another"))
        box.put_now("too late")
        await box.put("too late")
        assert await box.get() == "one"
        with pytest.raises(Closing) as ended:
            await box.get()
        assert ended.value.code == 1012
