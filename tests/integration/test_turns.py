"""A turn is a fact in the database: it goes on without followers, stops when asked, and ends when its process dies."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.errors import Conflict, NotFound, RagchatError, Unavailable
from app.providers.llm import ModelChain
from app.providers.ports import ChatModel
from app.services.answering import Answering
from app.services.chat import ChatService
from app.services.live_turns import Event, LiveTurns
from app.services.turn_keeping import TurnHousekeeping
from app.services.turns import Question, TurnService
from tests.conftest import MakeTenant, Tenant
from tests.fakes import WORDY, ScriptedModel


class Process:
    """One service process's chat, with a model of the test's choice."""

    def __init__(self, tenant: Tenant, model: ChatModel) -> None:
        runtime, live = tenant.runtime, LiveTurns()
        self.tenant, self.live = tenant, live
        self.turns = TurnService(runtime.uow, live)
        self.housekeeping = TurnHousekeeping(runtime.uow, events_hours=24)
        answering = Answering(ModelChain([model], budgets=WORDY))
        self.chat = ChatService(runtime.uow, self.turns, live, runtime.retrieval, answering, top_k=3, max_chars=8000)

    async def ask(self, session: str, content: str = "tell me", **options: Any) -> UUID:
        """Without documents, which a model would not be asked about when there are none."""
        return await self.chat.ask(self.tenant.caller, Question(UUID(session), content, **{"use_rag": False} | options))

    async def follow(self, turn_id: UUID, after: int = 0) -> list[Event]:
        return [event async for event in self.turns.follow(self.tenant.caller, turn_id, after)]

    async def until_delta(self, turn_id: UUID) -> None:
        async for event in self.turns.follow(self.tenant.caller, turn_id):
            if event["type"] == "delta":
                return


async def messages(tenant: Tenant, session: str) -> list[dict[str, Any]]:
    return list((await tenant.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"])


def said(events: list[Event]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "delta")


async def test_followers_here_and_elsewhere_see_the_same(tenant: Tenant) -> None:
    here, elsewhere = Process(tenant, ScriptedModel(60, 0.01)), Process(tenant, ScriptedModel(0, 0))
    session = await tenant.session()
    turn_id = await here.ask(session)
    seen = await asyncio.gather(here.follow(turn_id), elsewhere.follow(turn_id), here.follow(turn_id, 4))
    assert seen[0] == seen[1]
    assert seen[2] == seen[0][4:]
    assert [event["seq"] for event in seen[0]] == [*range(1, len(seen[0]) + 1)]
    assert said(seen[0]) == "".join(f"w{i} " for i in range(60)) == (await messages(tenant, session))[1]["content"]
    assert await elsewhere.follow(turn_id) == seen[0]
    deltas = [event for event in seen[0] if event["type"] == "delta"]
    assert 5 < len(deltas) < 40


async def test_cancel_stops_it_and_keeps_the_text(tenant: Tenant) -> None:
    process = Process(tenant, ScriptedModel(1000, 0.01))
    session = await tenant.session()
    turn_id = await process.ask(session)
    await process.until_delta(turn_id)
    await process.turns.cancel(tenant.caller, turn_id)
    async with asyncio.timeout(1):
        events = await process.follow(turn_id)
    assert (events[-1]["status"], events[-1]["finish_reason"]) == ("cancelled", "cancelled")
    stored = (await messages(tenant, session))[1]
    assert (stored["status"], stored["content"]) == ("cancelled", said(events))


async def test_cancel_from_another_process(tenant: Tenant) -> None:
    process, other = Process(tenant, ScriptedModel(3000, 0.01)), Process(tenant, ScriptedModel(0, 0))
    turn_id = await process.ask(await tenant.session())
    await process.until_delta(turn_id)
    await other.turns.cancel(tenant.caller, turn_id)
    async with asyncio.timeout(10):
        assert (await process.follow(turn_id))[-1]["status"] == "cancelled"


async def test_one_running_turn_a_session(tenant: Tenant) -> None:
    process = Process(tenant, ScriptedModel(1000, 0.01))
    session = await tenant.session()
    turn_id = await process.ask(session, client_message_id="c-1")
    with pytest.raises(Conflict) as refused:
        await process.ask(session)
    assert refused.value.code == "turn_in_progress"
    assert await process.ask(session, client_message_id="c-1") == turn_id
    assert len(await messages(tenant, session)) == 1
    await process.turns.cancel(tenant.caller, turn_id)
    await process.follow(turn_id)
    assert await process.ask(session) != turn_id


@pytest.mark.parametrize(
    ("error", "code"), [(Unavailable("llm_unavailable", "No."), "llm_unavailable"), (ValueError("x"), "internal")]
)
async def test_a_model_that_breaks_off(tenant: Tenant, error: Exception, code: str) -> None:
    process = Process(tenant, ScriptedModel(5, 0, error=error))
    session = await tenant.session()
    events = await process.follow(await process.ask(session))
    assert [event["type"] for event in events[-3:]] == ["error", "assistant_message", "done"]
    assert (events[-3]["code"], events[-1]["status"]) == (code, "failed")
    stored = (await messages(tenant, session))[1]
    assert (stored["status"], stored["content"]) == ("failed", "w0 w1 w2 w3 w4 ")


async def test_a_dead_process_leaves_an_interrupted_turn(tenant: Tenant) -> None:
    process = Process(tenant, ScriptedModel(1000, 0.01))
    session = await tenant.session()
    turn_id = await process.ask(session)
    await process.until_delta(turn_id)
    for task in process.chat._tasks:  # the process dies: nothing of it runs any more
        task.cancel()
    await asyncio.sleep(0.05)
    assert (await process.turns.get(tenant.caller, turn_id)).status == "running"
    async with tenant.runtime.owner.begin() as connection:
        expire = text("UPDATE turns SET lease_until = now() - interval '1 second' WHERE id = :id")
        await connection.execute(expire, {"id": turn_id})
    other = Process(tenant, ScriptedModel(1, 0))
    await other.housekeeping.interrupt_expired()
    events = await other.follow(turn_id)
    assert [event["type"] for event in events[-2:]] == ["error", "done"]
    assert [event["seq"] for event in events] == [*range(1, len(events) + 1)]
    assert events[-1]["status"] == "interrupted"
    stored = (await messages(tenant, session))[1]
    assert (stored["status"], stored["content"]) == ("interrupted", said(events))
    assert (await other.follow(await other.ask(session)))[-1]["status"] == "completed"


async def test_a_dead_turn_does_not_block_its_session(tenant: Tenant) -> None:
    process = Process(tenant, ScriptedModel(1000, 0.01))
    session = await tenant.session()
    await process.ask(session)
    for task in process.chat._tasks:
        task.cancel()
    async with tenant.runtime.owner.begin() as connection:
        await connection.execute(
            text("UPDATE turns SET lease_until = now() - interval '1 second' WHERE status = 'running'")
        )
    other = Process(tenant, ScriptedModel(1, 0))
    assert (await other.follow(await other.ask(session)))[-1]["status"] == "completed"


async def test_shutdown_keeps_what_was_said(tenant: Tenant) -> None:
    process = Process(tenant, ScriptedModel(1000, 0.01))
    session = await tenant.session()
    turn_id = await process.ask(session)
    await process.until_delta(turn_id)
    assert await process.chat.drain(0.1) == 1
    events = await process.follow(turn_id)
    assert events[-1]["type"] == "done"
    assert (await messages(tenant, session))[1]["content"] == said(events)


async def test_invented_markers_do_not_survive(tenant: Tenant) -> None:
    await tenant.add_text("Tea costs 15 rupees.", title="Menu")
    process = Process(tenant, ScriptedModel(3, 0, prefix="Tea costs 15 rupees. [1] Coffee is free. [7][99] "))
    events = await process.follow(await process.ask(await tenant.session(), "What does tea cost?", use_rag=True))
    assert "[7" not in said(events)
    assert "[99" not in said(events)
    assert [event["n"] for event in events if event["type"] == "citation"] == [1]


async def test_nobody_else_sees_it(new_tenant: MakeTenant) -> None:
    mine, other = await new_tenant(), await new_tenant()
    process = Process(mine, ScriptedModel(1000, 0.01))
    turn_id = await process.ask(await mine.session())
    stranger = Process(other, ScriptedModel(0, 0))
    for attempt in (stranger.follow(turn_id), stranger.turns.cancel(other.caller, turn_id)):
        with pytest.raises(NotFound):
            await attempt
    process.live.all()[0].cancelled.set()
    assert (await process.follow(turn_id))[-1]["status"] == "cancelled"


async def test_a_session_deleted_under_its_turn(tenant: Tenant) -> None:
    process = Process(tenant, ScriptedModel(1000, 0.01))
    session = await tenant.session()
    turn_id = await process.ask(session)
    await process.until_delta(turn_id)
    await tenant.http.delete(f"/api/v1/sessions/{session}")
    async with asyncio.timeout(5):
        told = [event async for event in process.turns.follow(tenant.caller, turn_id)]
        await asyncio.gather(*process.chat._tasks)
    assert [(event["type"], event.get("code")) for event in told[-2:]] == [
        ("error", "session_not_found"),
        ("done", None),
    ]
    with pytest.raises(RagchatError):
        await process.follow(turn_id)


async def test_over_rest_a_turn_cancelled_before_its_first_word_is_a_conflict(tenant: Tenant) -> None:
    """Not "session not found": the session is there, only the answer is not."""
    process = Process(tenant, ScriptedModel(1000, 0.05, pause_first=True))
    session = await tenant.session()
    turn_id = await process.ask(session, client_message_id="c-1")
    body = {"message": "tell me", "client_message_id": "c-1"}
    waiting = asyncio.create_task(tenant.http.post(f"/api/v1/sessions/{session}/chat", json=body))
    await asyncio.sleep(0.2)
    await process.turns.cancel(tenant.caller, turn_id)
    response = await waiting
    assert (response.status_code, response.json()["code"]) == (409, "turn_cancelled")
