"""What is stored of a turn, by whom, and for how long."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import pytest
import structlog
import websockets
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text

from app.core.caller import Caller
from app.core.errors import Conflict, NotFound, Unavailable
from app.core.ids import new_id
from app.db.uow import UnitOfWork
from app.providers.ports import Delta, Finished, Prompt
from app.services import event_log
from app.services.event_log import EventLog
from app.services.live_turns import LiveTurn, LiveTurns, make_frame
from app.services.turns import Question
from tests.conftest import MakeTenant, Tenant
from tests.fakes import ScriptedModel
from tests.integration.test_turns import Process, messages, said

TELUGU = "నమస్కారం 👩‍👩‍👧 క్షి "


async def run_sql(tenant: Tenant, statement: str, **values: Any) -> list[Any]:
    async with tenant.runtime.owner.begin() as connection:
        result = await connection.execute(text(statement), values)
        return [*result] if result.returns_rows else []


async def age(tenant: Tenant, turn_id: UUID, hours: float) -> None:
    await run_sql(
        tenant,
        "UPDATE turns SET finished_at = finished_at - make_interval(secs => :s) WHERE id = :id",
        s=3600 * hours,
        id=turn_id,
    )


async def stored_types(tenant: Tenant, turn_id: UUID) -> list[str]:
    rows = await run_sql(tenant, "SELECT type FROM turn_events WHERE turn_id = :id ORDER BY seq", id=turn_id)
    return [row.type for row in rows]


class TestRetention:
    async def test_a_replay_without_its_deltas_is_the_same(self, tenant: Tenant) -> None:
        await tenant.add_text("Tea costs 15 rupees.", title="Menu")
        process = Process(tenant, ScriptedModel(40, 0.01, prefix=f"Tea costs 15 rupees. [1] {TELUGU}"))
        turn_id = await process.ask(await tenant.session(), "What does tea cost?")
        before = await process.follow(turn_id)
        deltas = [event["seq"] for event in before if event["type"] == "delta"]
        assert len(deltas) > 3
        await age(tenant, turn_id, 23.9)
        await process.housekeeping.compact()
        assert "delta" in await stored_types(tenant, turn_id)
        await age(tenant, turn_id, 0.2)
        assert await process.housekeeping.compact() >= 1
        assert "delta" not in await stored_types(tenant, turn_id)
        assert await process.follow(turn_id) == before
        for after in (deltas[0] - 1, deltas[0], deltas[2], deltas[-1], before[-1]["seq"], 10_000):
            assert await process.follow(turn_id, after) == before[after:]
        await process.housekeeping.compact()
        assert await process.follow(turn_id) == before

    async def test_of_a_turn_that_was_stopped_too(self, tenant: Tenant) -> None:
        process = Process(tenant, ScriptedModel(1000, 0.01, prefix=TELUGU))
        silent = Process(tenant, ScriptedModel(1000, 0.05, pause_first=True))
        ids = [await process.ask(await tenant.session()), await silent.ask(await tenant.session())]
        await process.until_delta(ids[0])
        await process.turns.cancel(tenant.caller, ids[0])
        await silent.turns.cancel(tenant.caller, ids[1])
        before = [await process.follow(ids[0]), await silent.follow(ids[1])]
        for turn_id in ids:
            await age(tenant, turn_id, 25)
        await process.housekeeping.compact()
        assert "delta" not in await stored_types(tenant, ids[0])
        assert [await process.follow(turn_id) for turn_id in ids] == before

    async def test_what_the_message_does_not_hold_stays(self, tenant: Tenant) -> None:
        process = Process(tenant, ScriptedModel(5, 0))
        turn_id = await process.ask(await tenant.session())
        before = await process.follow(turn_id)
        await run_sql(tenant, "UPDATE messages SET content = 'w0' WHERE turn_id = :id AND sender <> 'user'", id=turn_id)
        await age(tenant, turn_id, 25)
        await process.housekeeping.compact()
        assert await process.follow(turn_id) == before


class TestFence:
    async def test_a_turn_that_was_taken_away_stops_and_adds_nothing(self, tenant: Tenant) -> None:
        process, other = Process(tenant, ScriptedModel(3000, 0.01)), Process(tenant, ScriptedModel(0, 0))
        session = await tenant.session()
        turn_id = await process.ask(session)
        await process.until_delta(turn_id)
        following = asyncio.create_task(process.follow(turn_id))
        await run_sql(tenant, "UPDATE turns SET lease_until = now() - interval '1 second' WHERE id = :id", id=turn_id)
        while not await other.housekeeping.interrupt_expired():
            await asyncio.sleep(0.05)  # the owner has renewed it in between
        stored = await other.follow(turn_id)
        async with asyncio.timeout(5):
            await asyncio.gather(*process.chat._tasks)
            assert await following == stored
        assert stored[-1]["status"] == "interrupted"
        assert await other.follow(turn_id) == stored
        assert (await messages(tenant, session))[1]["content"] == said(stored)

    async def test_only_the_holder_adds_and_a_repetition_is_of_no_effect(self, tenant: Tenant) -> None:
        session = UUID(await tenant.session())
        turn_id, live = await tenant.runtime.turns.begin(tenant.caller, Question(session, "hello", use_rag=False))
        assert live is not None
        row = make_frame(turn_id, session, 4, "delta", {"text": "Hello."})
        for holder, expected in ((new_id(), set()), (live.holder, {turn_id}), (live.holder, {turn_id})):
            async with tenant.runtime.uow(tenant.caller) as uow:
                assert await uow.turn_events.append(holder, [row]) == expected
            assert (
                await stored_types(tenant, turn_id)
                == ["turn_started", "sources", "status", "delta"][: 3 + len(expected)]
            )
        async with tenant.runtime.uow(tenant.caller) as uow:
            assert not await uow.turns.finish(turn_id, {"status": "completed"}, holder=new_id())
            assert await uow.turns.finish(turn_id, {"status": "completed"}, holder=live.holder)
            assert await uow.turn_events.append(live.holder, [row]) == set()


class TestGroups:
    """Events of several turns in one transaction."""

    async def opened(self, tenant: Tenant, count: int) -> list[LiveTurn]:
        turns = []
        for _ in range(count):
            question = Question(UUID(await tenant.session()), "hello")
            _, live = await tenant.runtime.turns.begin(tenant.caller, question)
            assert live is not None
            turns.append(live)
        return turns

    async def test_one_bad_event_spoils_no_other_turn(self, tenant: Tenant) -> None:
        turns = await self.opened(tenant, 3)
        events = EventLog(tenant.runtime.uow, turns[0].holder)
        for number, turn in enumerate(turns):
            events.add(turn, ("status", {"state": "\ud800" if number == 1 else "generating"}))
        with structlog.testing.capture_logs() as logged:
            results = await asyncio.gather(*(events.flush(turn) for turn in turns), return_exceptions=True)
        assert [(line["event"], line["turn_id"]) for line in logged] == [("events.refused", str(turns[1].turn_id))]
        assert [type(result).__name__ for result in results] == ["NoneType", "RagchatError", "NoneType"]
        assert [len(await stored_types(tenant, turn.turn_id)) for turn in turns] == [3, 2, 3]

    async def test_a_filter_that_breaks_ends_its_own_turn(self, tenant: Tenant) -> None:
        turns = await self.opened(tenant, 2)
        events = EventLog(tenant.runtime.uow, turns[0].holder)
        turns[1].compose = lambda text: text[99]
        for turn in turns:
            events.say(turn, "Hello.")
        with structlog.testing.capture_logs() as logged:
            async with asyncio.timeout(10):
                while not (turns[1].failure and len(await stored_types(tenant, turns[0].turn_id)) == 3):
                    await asyncio.sleep(0.02)
        assert [line["event"] for line in logged if "turn" in line["event"] or "events" in line["event"]] == [
            "events.not_composed"
        ]

    async def test_a_first_try_that_took_too_long_is_no_answer(
        self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As for a process that was stopped meanwhile, and finds only now that the time is up."""
        [turn] = await self.opened(tenant, 1)
        monkeypatch.setattr(event_log, "PATIENCE_SECONDS", 0)
        failures = [Unavailable("database_unavailable")]

        @asynccontextmanager
        async def uow(caller: Caller) -> AsyncIterator[UnitOfWork]:
            if failures:
                raise failures.pop()
            async with tenant.runtime.uow(caller) as work:
                yield work

        events = EventLog(uow, turn.holder)
        events.add(turn, ("status", {"state": "generating"}))
        await events.flush(turn)
        assert len(await stored_types(tenant, turn.turn_id)) == 3
        failures += [Unavailable("database_unavailable")] * 2
        events.add(turn, ("status", {"state": "generating"}))
        with pytest.raises(Unavailable):
            await events.flush(turn)

    async def test_many_turns_cost_as_many_statements_as_one(self, tenant: Tenant) -> None:
        turns = await self.opened(tenant, 20)
        events = EventLog(tenant.runtime.uow, turns[0].holder)
        with statements(tenant) as seen:
            for turn in turns:
                events.add(turn, ("sources", {"docs": []}), ("status", {"state": "generating"}))
                events.say(turn, "Hello.")
            await asyncio.gather(*(events.flush(turn) for turn in turns))
        assert len(seen) <= 4, seen
        assert [len(await stored_types(tenant, turn.turn_id)) for turn in turns] == [5] * 20

    async def test_statements_of_a_turn(self, tenant: Tenant) -> None:
        process = Process(tenant, ScriptedModel(100, 0))
        session = await tenant.session()
        with statements(tenant) as seen:
            await process.follow(await process.ask(session, use_rag=False))
        groups = [statement for statement in seen if "turn_events" in statement or "FOR SHARE" in statement]
        others = [statement for statement in seen if statement not in groups]
        assert len(groups) <= 40, groups  # two each, of a hundred tokens; how many is a question of the disk's pace
        assert len(others) <= 9, others

    async def test_what_cannot_be_stored_is_replaced(self, tenant: Tenant) -> None:
        process = Process(tenant, ScriptedModel(1, 0, prefix="a\x00b\ud800c "))
        session = await tenant.session()
        events = await process.follow(await process.ask(session))
        assert events[-1]["status"] == "completed"
        assert said(events) == "a\ufffdb\ufffdc w0 " == (await messages(tenant, session))[1]["content"]

    async def test_words_are_not_held_back_and_come_in_pieces_of_a_beat(self, tenant: Tenant) -> None:
        process = Process(tenant, Halting())
        turn_id = await process.ask(await tenant.session(), use_rag=False)
        async with asyncio.timeout(10):
            await process.until_delta(turn_id)
        await process.turns.cancel(tenant.caller, turn_id)
        assert said(await process.follow(turn_id)) == "first"


class Halting:
    name = "halting"
    window = 8192

    async def stream(self, _prompt: Prompt) -> AsyncIterator[Delta | Finished]:
        yield Delta("first")
        await asyncio.sleep(60)

    async def close(self) -> None: ...


BY_THE_CLOCK = (
    "SELECT id, cancel_requested", "UPDATE turns SET lease_until", "turns.lease_until <= now()",
    "SELECT DISTINCT tenant_id FROM turns",
)  # fmt: skip
"""In what is sent once in a few seconds, whatever happens: leases looked at, renewed, run out; deltas that are old."""


@contextmanager
def statements(tenant: Tenant) -> Iterator[list[str]]:
    """What is sent about turns meanwhile; not BEGIN and COMMIT, nor what other parts of the service ask."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if any(part in statement for part in BY_THE_CLOCK):
            return
        if "turn" in statement or "session" in statement or "message" in statement:
            seen.append(statement)

    engine = tenant.runtime.engine.sync_engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sqlalchemy_event.remove(engine, "before_cursor_execute", note)


class TestRetry:
    async def stopped(self, tenant: Tenant, process: Process, session: str, **options: Any) -> UUID:
        turn_id = await process.ask(session, **options)
        await process.until_delta(turn_id)
        await process.turns.cancel(tenant.caller, turn_id)
        await process.follow(turn_id)
        return turn_id

    async def test_asks_the_same_and_answers_behind_what_was_said_since(self, tenant: Tenant) -> None:
        process = Process(tenant, ScriptedModel(1000, 0.01))
        session = await tenant.session()
        turn_id = await self.stopped(tenant, process, session, content="first question", top_k=2, lang="te")
        model = ScriptedModel(3, 0)
        other = Process(tenant, model)
        await other.follow(await other.ask(session, "second question"))
        retried = await other.chat.retry(tenant.caller, turn_id)
        assert (await other.follow(retried.turn_id))[-1]["status"] == "completed"
        asked = model.requests[-1].messages[-1].content
        assert "first question" in asked
        assert "(te)" in model.requests[-1].system
        said_now = [(m["seq"], m["sender"], m["status"]) for m in await messages(tenant, session)]
        assert said_now == [
            (1, "user", "completed"),
            (2, "assistant", "cancelled"),
            (3, "user", "completed"),
            (4, "assistant", "completed"),
            (5, "assistant", "completed"),
        ]
        trace = (await tenant.http.get(f"/api/v1/turns/{retried.turn_id}/trace")).json()
        assert (trace["question"], trace["request"]["top_k"]) == ("first question", 2)

    async def test_twice_at_once_is_one_turn(self, tenant: Tenant) -> None:
        process = Process(tenant, ScriptedModel(50, 0.01))
        turn_id = await self.stopped(tenant, process, await tenant.session())
        made = await asyncio.gather(*(process.chat.retry(tenant.caller, turn_id) for _ in range(5)))
        assert len({retried.turn_id for retried in made}) == 1
        assert (await process.follow(made[0].turn_id))[-1]["status"] == "completed"
        assert (await process.chat.retry(tenant.caller, turn_id)).turn_id == made[0].turn_id

    async def test_a_retry_that_was_stopped_may_be_repeated(self, tenant: Tenant) -> None:
        process = Process(tenant, ScriptedModel(1000, 0.01))
        session = await tenant.session()
        turn_id = await self.stopped(tenant, process, session)
        first = (await process.chat.retry(tenant.caller, turn_id)).turn_id
        await process.until_delta(first)
        await process.turns.cancel(tenant.caller, first)
        await process.follow(first)
        second = (await process.chat.retry(tenant.caller, turn_id)).turn_id
        assert second not in (first, turn_id)
        await process.turns.cancel(tenant.caller, second)
        await process.follow(second)

    async def test_refused_while_it_runs_or_another_does_and_once_it_has_answered(self, tenant: Tenant) -> None:
        process, quick = Process(tenant, ScriptedModel(1000, 0.01)), Process(tenant, ScriptedModel(1, 0))
        session = await tenant.session()
        turn_id = await process.ask(session)
        assert await self.refusal(process, tenant.caller, turn_id) == "turn_in_progress"
        await process.turns.cancel(tenant.caller, turn_id)
        await process.follow(turn_id)
        other = await process.ask(session)
        assert await self.refusal(process, tenant.caller, turn_id) == "turn_in_progress"
        await process.turns.cancel(tenant.caller, other)
        await process.follow(other)
        answered = await quick.ask(session)
        await quick.follow(answered)
        assert await self.refusal(process, tenant.caller, answered) == "turn_completed"

    async def refusal(self, process: Process, caller: Caller, turn_id: UUID) -> str:
        with pytest.raises((Conflict, NotFound)) as refused:
            await process.chat.retry(caller, turn_id)
        return str(refused.value.code)

    async def test_only_by_whom_it_belongs_to(self, tenant: Tenant, new_tenant: MakeTenant) -> None:
        process = Process(tenant, ScriptedModel(1000, 0.01))
        turn_id = await self.stopped(tenant, process, await tenant.session(user_id="ravi"))
        for stranger in (Caller(tenant.caller.tenant_id, "asha"), (await new_tenant()).caller):
            assert await self.refusal(process, stranger, turn_id) == "turn_not_found"
        assert (await process.chat.retry(Caller(tenant.caller.tenant_id, "ravi"), turn_id)).turn_id != turn_id

    async def test_over_a_websocket(self, tenant: Tenant) -> None:
        process = Process(tenant, ScriptedModel(1000, 0.01))
        session = await tenant.session()
        turn_id = await self.stopped(tenant, process, session)
        url = f"ws://{tenant.service.address}/chat/{session}"
        async with asyncio.timeout(20), websockets.connect(url, additional_headers={"X-API-Key": tenant.key}) as socket:
            assert "retry" in json.loads(await socket.recv())["capabilities"]
            await socket.send(json.dumps({"type": "retry", "turn_id": str(turn_id)}))
            events = [json.loads(await socket.recv())]
            while events[-1]["type"] != "done":
                events.append(json.loads(await socket.recv()))
        assert events[0]["type"] == "turn_started"
        assert events[0]["turn_id"] != str(turn_id)
        assert events[-1]["status"] == "completed"


async def test_a_live_turn_is_only_its_owners(tenant: Tenant) -> None:
    """Its events are in memory; who may see them is asked all the same."""
    process = Process(tenant, ScriptedModel(1000, 0.01))
    turn_id = await process.ask(await tenant.session(user_id="ravi"))
    await process.until_delta(turn_id)
    for stranger in (Caller(tenant.caller.tenant_id, "asha"), Caller(new_id(), "ravi")):
        with pytest.raises(NotFound):
            await anext(process.turns.frames(stranger, turn_id))
    assert (await anext(process.turns.frames(Caller(tenant.caller.tenant_id, "ravi"), turn_id))).seq == 1
    await process.turns.cancel(tenant.caller, turn_id)
    await process.follow(turn_id)


async def test_a_service_that_stops_interrupts_its_turns(tenant: Tenant) -> None:
    process = Process(tenant, ScriptedModel(1000, 0.01))
    session = await tenant.session()
    turn_id = await process.ask(session)
    await process.until_delta(turn_id)
    await process.chat.drain(0.1)
    events = await process.follow(turn_id)
    assert [(event["type"], event.get("code")) for event in events[-3:]] == [
        ("error", "interrupted"),
        ("assistant_message", None),
        ("done", None),
    ]
    assert events[-1]["status"] == "interrupted"
    stored = (await messages(tenant, session))[1]
    assert (stored["status"], stored["content"]) == ("interrupted", said(events))
    assert process.live.all() == LiveTurns().all() == []
