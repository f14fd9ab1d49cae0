"""The same turn over REST, SSE and WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import websockets

from app.providers.llm import ModelChain
from app.schemas.events import SERVER_EVENT
from app.schemas.search import Filters
from app.services.answering import Answering
from app.services.turns import Question
from tests.api.test_hostile_tools import check_problem
from tests.conftest import MakeTenant, Tenant
from tests.fakes import ScriptedModel

FACTS = """Leave policy

Full-time employees get 24 days of paid leave a year. Part-time employees get 12 days of paid leave a year.

Travel

Train tickets are refunded in full. Taxi rides are refunded up to 500 rupees.
"""
QUESTION = "How many days of paid leave do part-time employees get?"


@pytest.fixture
async def asking(tenant: Tenant) -> Tenant:
    await tenant.add_text(FACTS, title="Handbook")
    return tenant


async def read_sse(tenant: Tenant, method: str, path: str, **options: Any) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    async with tenant.http.stream(method, path, **options) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        data = [line.removeprefix("data: ") async for line in response.aiter_lines() if line.startswith("data: ")]
    events.extend(map(json.loads, data))
    return events


class Client:
    """A WebSocket client that keeps what it saw."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            event: dict[str, Any] = json.loads(await self.socket.recv())
        SERVER_EVENT.validate_python(event)
        return event

    async def until(self, type_: str) -> list[dict[str, Any]]:
        events = [await self.receive()]
        while events[-1]["type"] != type_:
            events.append(await self.receive())
        return events


async def connect(tenant: Tenant, session: str, **options: Any) -> AsyncIterator[Client]:
    headers = {"X-API-Key": tenant.key}
    url = f"ws://{tenant.service.address}/chat/{session}"
    async with websockets.connect(url, additional_headers=headers, **options) as socket:
        yield Client(socket)


def check_turn(events: list[dict[str, Any]], final: str) -> dict[str, Any]:
    """The order that realtime.md fixes; returns the final message."""
    for event in events:
        SERVER_EVENT.validate_python(event)
    assert [event["seq"] for event in events] == [*range(1, len(events) + 1)]
    types = [event["type"] for event in events]
    assert types[0] == "turn_started"
    assert types[-2:] == [final, "done"]
    assert types.count("done") == types.count("sources") == types.count(final) == 1
    assert types.index("sources") < types.index("delta")
    assert "".join(event["text"] for event in events if event["type"] == "delta") == events[-2]["content"]
    return events[-2]


class TestRest:
    async def test_answer_is_grounded_and_stored(self, asking: Tenant) -> None:
        session = await asking.session()
        response = await asking.http.post(f"/api/v1/sessions/{session}/chat", json={"message": QUESTION})
        answer = response.json()
        assert response.status_code == 200, response.text
        assert "12 days" in answer["content"]
        assert "[1]" in answer["content"]
        assert (answer["llm_used"], answer["status"], answer["finish_reason"]) == (False, "completed", "stop")
        assert answer["sources"][0]["title"] == "Handbook"
        for citation in answer["citations"]:
            cited = answer["content"][citation["start"] : citation["end"]]
            text = " ".join(answer["sources"][citation["n"] - 1]["text"].split())
            assert cited.split(" [")[0].strip() in text
        stored = (await asking.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]
        assert [m["sender"] for m in stored] == ["user", "assistant"]
        assert stored[1] == answer

    async def test_says_plainly_when_the_documents_do_not_hold_it(self, asking: Tenant) -> None:
        session = await asking.session()
        body = {"message": "Who won the football world cup in 1998?"}
        answer = (await asking.http.post(f"/api/v1/sessions/{session}/chat", json=body)).json()
        assert answer["finish_reason"] == "no_context"
        assert answer["citations"] == []

    async def test_without_documents_and_without_a_model(self, asking: Tenant) -> None:
        session = await asking.session()
        body = {"message": QUESTION, "use_rag": False}
        answer = (await asking.http.post(f"/api/v1/sessions/{session}/chat", json=body)).json()
        assert (answer["llm_used"], answer["fallback_reason"]) == (False, "no_language_model")
        assert answer["sources"] == []

    async def test_the_same_client_message_id_is_the_same_turn(self, asking: Tenant) -> None:
        session = await asking.session()
        body = {"message": QUESTION, "client_message_id": "c-1"}
        path = f"/api/v1/sessions/{session}/chat"
        answers = await asyncio.gather(*(asking.http.post(path, json=body) for _ in range(10)))
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert (await asking.http.get(f"/api/v1/sessions/{session}/messages")).json()["total"] == 2

    async def test_the_client_message_id_alone_decides(self, asking: Tenant) -> None:
        path = f"/api/v1/sessions/{await asking.session()}/chat"
        first = await asking.http.post(path, json={"message": QUESTION, "client_message_id": "c-1"})
        other = {"message": "How much of a taxi ride is refunded?", "client_message_id": "c-1"}
        assert (await asking.http.post(path, json=other)).json() == first.json()
        elsewhere = f"/api/v1/sessions/{await asking.session()}/chat"
        assert "500 rupees" in (await asking.http.post(elsewhere, json=other)).json()["content"]

    async def test_trace_says_why(self, asking: Tenant) -> None:
        session = await asking.session()
        answer = (await asking.http.post(f"/api/v1/sessions/{session}/chat", json={"message": QUESTION})).json()
        trace = (await asking.http.get(f"/api/v1/turns/{answer['turn_id']}/trace")).json()["trace"]
        assert trace["mode"] == "hybrid"
        assert trace["hits"][0]["score"] == answer["sources"][0]["score"]
        assert trace["timing"]["total_ms"] >= trace["timing"]["retrieval_ms"]

    async def test_named_documents_only(self, asking: Tenant, new_tenant: MakeTenant) -> None:
        other = await asking.add_text("Parking is free for visitors.", title="Parking")
        session = await asking.session()
        body = {"message": QUESTION, "document_ids": [other["id"]]}
        answer = (await asking.http.post(f"/api/v1/sessions/{session}/chat", json=body)).json()
        assert {source["title"] for source in answer["sources"]} <= {"Parking"}
        foreign = await (await new_tenant()).add_text("Secret.", title="Secret")
        body["document_ids"] = [foreign["id"]]
        refused = await asking.http.post(f"/api/v1/sessions/{session}/chat", json=body)
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_document")

    async def test_a_session_deleted_meanwhile_is_what_was_not_found(
        self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = ModelChain([ScriptedModel(1000, 0.01)])
        monkeypatch.setattr(tenant.runtime.chat, "_answering", Answering(model))
        session = f"/api/v1/sessions/{await tenant.session()}"
        body = {"message": "Tell me.", "use_rag": False}
        waiting = asyncio.create_task(tenant.http.post(f"{session}/chat", json=body))
        while (await tenant.http.get(f"{session}/messages")).json()["total"] == 0:
            await asyncio.sleep(0.01)
        await tenant.http.delete(session)
        check_problem(await waiting, 404, "session_not_found")


class TestSse:
    async def test_events_in_order_and_resumable(self, asking: Tenant) -> None:
        session = await asking.session()
        path = f"/api/v1/sessions/{session}/chat/stream"
        events = await read_sse(asking, "POST", path, json={"message": QUESTION})
        final = check_turn(events, "assistant_message")
        assert "12 days" in final["content"]
        again = f"/api/v1/turns/{events[0]['turn_id']}/events"
        assert await read_sse(asking, "GET", again) == events
        assert await read_sse(asking, "GET", again, params={"after": 3}) == events[3:]
        for last in (f"{events[0]['turn_id']}.2", "2"):
            assert await read_sse(asking, "GET", again, headers={"Last-Event-ID": last}) == events[2:]
        for wrong in ("x", ".2", f"{session}.2", f"{events[0]['turn_id']}.", "-1", "1" * 11, "2.2"):
            refused = await asking.http.get(again, headers={"Last-Event-ID": wrong})
            check_problem(refused, 400, "invalid_event_id")


class TestWebSocket:
    async def test_messages_of_both_seeds(self, asking: Tenant) -> None:
        session = await asking.session()
        async for client in connect(asking, session):
            ready = await client.receive()
            assert (ready["type"], ready["protocol"], ready["running_turn_id"]) == ("ready", "ragchat.v1", None)
            await client.socket.send('{"type":"session_start","content":"","metadata":{}}')
            started = await client.receive()
            assert (started["type"], started["session_id"]) == ("session_start", session)
            assert started["content"]
            await client.socket.send('{"type":"user_message","content":"Hello, I need help","metadata":{}}')
            check_turn(await client.until("done"), "assistant_message")
            await client.socket.send(f'{{"type":"chat_message","query":"{QUESTION}","top_k":3,"lang":"en"}}')
            final = check_turn(await client.until("done"), "chat_response")
            assert "12 days" in final["answer"]
            assert final["docs"][0]["doc_id"] == final["docs"][0]["document_id"]
            break

    async def test_same_stored_message_over_all_three(self, asking: Tenant) -> None:
        contents = []
        rest, sse, ws = [await asking.session() for _ in range(3)]
        await asking.http.post(f"/api/v1/sessions/{rest}/chat", json={"message": QUESTION})
        await read_sse(asking, "POST", f"/api/v1/sessions/{sse}/chat/stream", json={"message": QUESTION})
        async for client in connect(asking, ws):
            await client.send(type="user_message", content=QUESTION)
            await client.until("done")
            break
        own = {"id", "session_id", "turn_id", "created_at"}
        for session in (rest, sse, ws):
            stored = (await asking.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]
            contents.append([{k: v for k, v in m.items() if k not in own} for m in stored])
        assert contents[0] == contents[1] == contents[2]

    async def test_leaving_does_not_stop_the_turn_and_resume_gives_the_rest(self, asking: Tenant) -> None:
        session = await asking.session()
        async for client in connect(asking, session):
            await client.send(type="user_message", content=QUESTION, id="c-9")
            turn_id = (await client.until("turn_started"))[-1]["turn_id"]
            break
        async for client in connect(asking, session):
            await client.send(type="resume", turn_id=turn_id, after=0)
            events = await client.until("done")
            check_turn(events[1:], "assistant_message")
            await client.send(type="resume", turn_id=turn_id, after=4)
            assert (await client.until("done"))[0]["seq"] == 5
            await client.send(type="user_message", content=QUESTION, id="c-9")
            assert await client.until("done") == events[1:]
            break

    async def test_faults_are_told_and_the_socket_stays_open(self, asking: Tenant) -> None:
        session = await asking.session()
        async for client in connect(asking, session):
            await client.receive()
            for text, code in (
                ("nonsense", "bad_frame"),
                ("[]", "bad_frame"),
                ("null", "bad_frame"),
                ('{"type":5}', "bad_frame"),
                ('{"type":"dance"}', "unknown_type"),
                ('{"type":"user_message"}', "bad_frame"),
                ('{"type":"user_message","content":"  \\u200b "}', "empty_content"),
                (json.dumps({"type": "user_message", "content": "x" * 8001}), "too_long"),
                ('{"type":"cancel","turn_id":"00000000-0000-7000-8000-000000000000"}', "turn_not_found"),
                ('{"type":"user_message","content":"hi","lang":"xx"}', "unsupported_language"),
            ):
                await client.socket.send(text)
                event = await client.receive()
                assert (event["type"], event["code"], event["seq"]) == ("error", code, 0), text
            await client.send(type="ping", id="p1")
            assert (await client.receive())["id"] == "p1"
            break

    async def test_ten_bad_frames_close_with_1008(self, asking: Tenant) -> None:
        session = await asking.session()
        async for client in connect(asking, session):
            for _ in range(10):
                await client.socket.send("nonsense")
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await client.until("never")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
            break

    async def test_binary_frame_closes_with_1003(self, asking: Tenant) -> None:
        async for client in connect(asking, await asking.session()):
            await client.receive()
            await client.socket.send(b"\x00\x01")
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await client.receive()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1003
            break

    async def test_frame_over_the_limit_closes_with_1009(self, asking: Tenant) -> None:
        async for client in connect(asking, await asking.session()):
            await client.receive()
            await client.socket.send("x" * 200_000)
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await client.receive()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
            break

    @pytest.mark.parametrize(
        ("headers", "foreign", "status"),
        [
            ({}, False, 401),
            ({"X-API-Key": "rgc_wrong"}, False, 401),
            (None, True, 404),
            ({"Origin": "https://evil.example"}, False, 403),
        ],
    )
    async def test_refused_before_the_upgrade(
        self, new_tenant: MakeTenant, headers: dict[str, str] | None, foreign: bool, status: int
    ) -> None:
        mine, other = await new_tenant(), await new_tenant()
        session = await (other if foreign else mine).session()
        sent = {"X-API-Key": mine.key} if headers is None or "Origin" in headers else {}
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(
                f"ws://{mine.service.address}/chat/{session}", additional_headers=sent | (headers or {})
            ):
                pass
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body)["status"] == status

    async def test_key_as_subprotocol(self, asking: Tenant) -> None:
        url = f"ws://{asking.service.address}/chat/{await asking.session()}"
        async with websockets.connect(url, subprotocols=["ragchat.v1", f"bearer.{asking.key}"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "ragchat.v1"


async def test_the_same_id_on_a_socket_that_follows_is_told_twice_and_sorted_by_number(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant.runtime.chat, "_answering", Answering(ModelChain([ScriptedModel(40, 0.01)])))
    async for client in connect(tenant, await tenant.session()):
        asked = {"type": "user_message", "id": "c-1", "content": "Tell me.", "use_rag": False}
        await client.send(**asked)
        events = (await client.until("delta"))[1:]
        await client.send(**asked)
        while [event["type"] for event in events].count("done") < 2:
            events.append(await client.receive())
        kept: dict[int, dict[str, Any]] = {}
        for event in events:
            assert kept.setdefault(event["seq"], event) == event
        assert len(events) == 2 * len(kept)
        assert [event["seq"] for event in events] != sorted(event["seq"] for event in events)
        check_turn([kept[seq] for seq in sorted(kept)], "assistant_message")
        break


async def test_cancelling_what_has_ended_is_answered(asking: Tenant) -> None:
    async for client in connect(asking, await asking.session()):
        await client.send(type="user_message", content=QUESTION)
        done = (await client.until("done"))[-1]
        await client.send(type="cancel", turn_id=done["turn_id"])
        told = await client.receive()
        assert (told["type"], told["code"], told["turn_id"], told["seq"]) == (
            "system",
            "turn_ended",
            done["turn_id"],
            0,
        )
        assert (await asking.http.get(f"/api/v1/turns/{done['turn_id']}")).json()["status"] == "completed"
        break


class TestLanguages:
    async def test_the_answers_language_does_not_change_what_is_found(self, asking: Tenant) -> None:
        session = await asking.session()
        for lang in ("en", "te", "hi"):
            body = {"message": QUESTION, "lang": lang}
            answer = (await asking.http.post(f"/api/v1/sessions/{session}/chat", json=body)).json()
            assert "12 days" in answer["content"], lang


class TestNoDocuments:
    """A client that works out what somebody may read, and finds nothing, must not be given everything."""

    @pytest.mark.parametrize("path", ["chat", "chat/stream"])
    async def test_refused_in_a_question(self, asking: Tenant, path: str) -> None:
        session = await asking.session()
        asked = {"message": QUESTION, "document_ids": []}
        refused = await asking.http.post(f"/api/v1/sessions/{session}/{path}", json=asked)
        problem = check_problem(refused, 400, "invalid_request")
        assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [("/document_ids", "too_short")]
        assert (await asking.http.get(f"/api/v1/sessions/{session}/messages")).json()["total"] == 0
        answer = await asking.http.post(f"/api/v1/sessions/{session}/{path}", json=asked | {"document_ids": None})
        assert "12 days" in answer.text

    async def test_refused_in_a_search(self, asking: Tenant) -> None:
        refused = await asking.http.post("/api/v1/search", json={"query": QUESTION, "filters": {"document_ids": []}})
        problem = check_problem(refused, 400, "invalid_request")
        assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [("/filters/document_ids", "too_short")]
        everything = {"query": QUESTION, "filters": {"document_ids": None}}
        assert (await asking.http.post("/api/v1/search", json=everything)).json()["items"]

    async def test_below_the_edge_nothing_is_searched(self, asking: Tenant) -> None:
        session, caller = UUID(await asking.session()), asking.caller
        found = await asking.runtime.retrieval.retrieve(caller, QUESTION, top_k=5, filters=Filters(document_ids=[]))
        assert found.sources == []
        turn_id = await asking.runtime.chat.ask(caller, Question(session, QUESTION, document_ids=[]))
        events = [event async for event in asking.runtime.turns.follow(caller, turn_id)]
        assert [event["docs"] for event in events if event["type"] == "sources"] == [[]]
        replayed = await asking.http.post(f"/api/v1/turns/{turn_id}/replay")
        assert replayed.json()["now"] == []

    async def test_over_websocket_an_empty_list_is_a_field_that_was_not_filled_in(self, asking: Tenant) -> None:
        async for client in connect(asking, await asking.session()):
            await client.send(type="user_message", id="c-17", content=QUESTION, document_ids=[], metadata={})
            assert "12 days" in check_turn((await client.until("done"))[1:], "assistant_message")["content"]
            break


async def test_resuming_behind_the_end_is_answered(asking: Tenant) -> None:
    session = await asking.session()
    async for client in connect(asking, session):
        await client.send(type="user_message", content=QUESTION)
        done = (await client.until("done"))[-1]
        await client.send(type="resume", turn_id=done["turn_id"], after=done["seq"])
        told = await client.receive()
        assert (told["type"], told["code"], told["seq"]) == ("system", "up_to_date", 0)
        break
