"""P6 with real processes: a turn is followed, resumed, stopped, ended and asked again from any of them."""

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import websockets
from sqlalchemy import URL

from tests.conftest import make_database
from tests.integration.processes import Child, Place, rows
from tests.integration.turns import (
    ASK,
    answer_of,
    begin,
    connected,
    new_session,
    new_tenant,
    numbered,
    receive,
    replayed,
    said,
)

pytestmark = pytest.mark.xdist_group("turns_across_processes")
TOKENS, RATE = 2000, 200
CUTS = 50
SEED = 18_071


@dataclass(frozen=True)
class Pair:
    """Two API processes on one database; only the first has a worker."""

    here: Place
    there: Place
    url: str

    @property
    def both(self) -> tuple[Place, Place]:
        return self.here, self.there


@pytest.fixture(scope="module")
async def pair(postgres: URL) -> AsyncIterator[Pair]:
    url = await make_database(postgres, "test_pair")
    async with (
        numbered(TOKENS, RATE, database_url=url) as here,
        numbered(TOKENS, RATE, database_url=url, worker_in_process="false") as there,
    ):
        await here.serve()
        await there.serve()
        yield Pair(here, there, url)


class Reader:
    """Reads a turn through connections that are cut again and again, each time at the other process."""

    def __init__(self, pair: Pair, session: str) -> None:
        self._pair = pair
        self._session = session
        self._chance = random.Random(SEED)
        self.events: list[dict[str, Any]] = []
        self.cuts = 0

    @property
    def ended(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] == "done"

    async def read(self) -> None:
        while not self.ended:
            async with connected(self._pair.both[self.cuts % 2], self._session) as socket:
                await socket.send(json.dumps(self._resume(len(self.events)) if self.events else ASK))
                for _ in range(self._chance.randint(1, 3)):
                    self.events.append(await receive(socket))
                    if self.ended:
                        return
            self.cuts += 1

    def _resume(self, after: int) -> dict[str, Any]:
        return {"type": "resume", "turn_id": self.events[0]["turn_id"], "after": after}

    async def read_again(self) -> None:
        """Once the turn has ended: from anywhere, to anywhere."""
        while self.cuts < CUTS:
            async with connected(self._pair.both[self.cuts % 2], self._session) as socket:
                at = self._chance.randrange(len(self.events) - 5)
                await socket.send(json.dumps(self._resume(at)))
                assert [await receive(socket) for _ in range(5)] == self.events[at : at + 5]
            self.cuts += 1


async def test_cut_fifty_times_and_resumed_elsewhere_nothing_is_lost_or_doubled(pair: Pair) -> None:
    async with pair.here.client() as http, pair.there.client() as elsewhere:
        session = await new_session(http)
        reader = Reader(pair, session)
        await reader.read()
        assert reader.cuts > CUTS / 2, "too slow: most of the turn was read in few pieces"
        await reader.read_again()
        turn_id = reader.events[0]["turn_id"]
        assert [event["seq"] for event in reader.events] == [*range(1, len(reader.events) + 1)]
        assert said(reader.events) == "".join(f"{number} " for number in range(TOKENS))
        assert said(reader.events) == (await answer_of(elsewhere, session))["content"]
        assert await replayed(elsewhere, turn_id) == reader.events == await replayed(http, turn_id)
        middle = {"Last-Event-ID": f"{turn_id}.40"}
        response = await elsewhere.get(f"/api/v1/turns/{turn_id}/events", headers=middle)
        data = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
        assert data == reader.events[40:]
        await not_for_strangers(pair, turn_id, session)


async def not_for_strangers(pair: Pair, turn_id: str, session: str) -> None:
    _, key = await new_tenant(pair.url)
    own = {"headers": {"X-API-Key": key}, "timeout": 30.0}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pair.there.port}", **own) as http:  # type: ignore[arg-type]
        for method, path in (
            ("GET", ""),
            ("GET", "/events"),
            ("POST", "/cancel"),
            ("POST", "/retry"),
            ("GET", "/trace"),
        ):
            answer = await http.request(method, f"/api/v1/turns/{turn_id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "turn_not_found")
        theirs = await new_session(http)
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connected(pair.there, session, key):
                pass
        assert refused.value.response.status_code == 404
    async with connected(pair.there, theirs, key) as socket:
        for type_ in ("resume", "cancel", "retry"):
            await socket.send(json.dumps({"type": type_, "turn_id": turn_id}))
            assert (await receive(socket))["code"] == "turn_not_found"


async def test_cancel_at_another_process_is_effective_within_a_second(pair: Pair) -> None:
    async with pair.here.client() as http, pair.there.client() as elsewhere:
        session = await new_session(http)
        async with connected(pair.here, session) as socket:
            await socket.send(json.dumps(ASK))
            while (event := await receive(socket))["type"] != "delta":
                pass
            assert (await elsewhere.post(f"/api/v1/turns/{event['turn_id']}/cancel")).status_code == 200
            async with asyncio.timeout(1):
                while (event := await receive(socket))["type"] != "done":
                    pass
        assert (event["status"], event["finish_reason"]) == ("cancelled", "cancelled")
        assert (await answer_of(elsewhere, session))["status"] == "cancelled"


@contextlib.asynccontextmanager
async def third(pair: Pair) -> AsyncIterator[tuple[Place, Child]]:
    """A process more, to be killed or frozen."""
    async with numbered(TOKENS, RATE / 10, database_url=pair.url, worker_in_process="false") as made:
        yield made, await made.serve()


async def test_killed_and_frozen_processes_leave_interrupted_turns_that_can_be_asked_again(pair: Pair) -> None:
    async with third(pair) as (doomed, victim), third(pair) as (cold, zombie), pair.there.client() as http:
        killed, frozen = await new_session(http), await new_session(http)
        turns = {
            at: (await begin(at_place, at, until="delta"))[0]["turn_id"]
            for at, at_place in ((killed, doomed), (frozen, cold))
        }
        await asyncio.sleep(0.5)
        await victim.kill()
        zombie.send(signal.SIGSTOP)
        async with asyncio.timeout(30):
            ends = await asyncio.gather(*(replayed(http, turn_id) for turn_id in turns.values()))
        for (session, turn_id), events in zip(turns.items(), ends, strict=True):
            assert [event["type"] for event in events[-2:]] == ["error", "done"]
            assert (events[-2]["code"], events[-1]["status"]) == ("interrupted", "interrupted")
            assert [event["seq"] for event in events] == [*range(1, len(events) + 1)]
            answer = await answer_of(http, session)
            assert (answer["status"], answer["content"]) == ("interrupted", said(events))
            assert answer["content"].startswith("0 1 2 ")
            assert (await http.get(f"/api/v1/turns/{turn_id}")).json()["status"] == "interrupted"

        zombie.send(signal.SIGCONT)
        await zombie.until("turn_lost", seconds=20)
        assert await replayed(http, turns[frozen]) == ends[1]
        assert (await answer_of(http, frozen))["content"] == said(ends[1])
        await asked_again(http, pair, killed, turns[killed])
        assert await zombie.stop(seconds=30) == 0


async def asked_again(http: httpx.AsyncClient, pair: Pair, session: str, turn_id: str) -> None:
    answer = await http.post(f"/api/v1/turns/{turn_id}/retry")
    again = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/api/v1/turns/{again['id']}")
    same = await http.post(f"/api/v1/turns/{turn_id}/retry")
    assert (same.status_code, same.json()["id"]) == (200, again["id"])
    async with connected(pair.here, session) as socket:
        await socket.send(json.dumps({"type": "resume", "turn_id": again["id"]}))
        events = [await receive(socket)]
        while events[-1]["type"] != "done":
            events.append(await receive(socket))
    assert events[-1]["status"] == "completed"
    messages = (await http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]
    assert [(m["seq"], m["sender"], m["status"]) for m in messages] == [
        (1, "user", "completed"),
        (2, "assistant", "interrupted"),
        (3, "assistant", "completed"),
    ]
    assert messages[2]["content"] == said(events)
    stored = await rows(pair.url, "SELECT retry_of::text AS of FROM turns WHERE id = $1::text::uuid", again["id"])
    assert stored[0]["of"] == turn_id


async def test_a_database_that_dies_in_the_middle_of_a_turn() -> None:
    """The embedded one, which its service starts again: the turn waits for it, and nothing is lost or doubled."""
    async with numbered(1000, RATE) as here:
        service = await here.serve()
        async with here.client() as http:
            session = await new_session(http)
            events: list[dict[str, Any]] = []
            async with connected(here, session) as socket:
                await socket.send(json.dumps(ASK))
                while not events or events[-1]["type"] != "done":
                    events.append(await receive(socket, 40))
                    if len(events) == 10:
                        os.kill(here.postmaster(), signal.SIGKILL)
            assert events[-1]["status"] == "completed", events[-3:]
            assert [event["seq"] for event in events] == [*range(1, len(events) + 1)]
            assert said(events) == (await answer_of(http, session))["content"]
            assert await replayed(http, events[0]["turn_id"]) == events
        assert await service.stop(seconds=30) == 0
