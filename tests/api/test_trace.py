"""Why an answer is as it is, and what its question finds today."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.core.ids import new_id
from app.services.citing import Citing
from app.services.drafts import Draft
from app.services.event_log import EventLog
from app.services.turn_writer import TurnWriter
from app.services.turns import Question
from tests.api.test_hostile_tools import check_problem
from tests.conftest import MakeTenant, Tenant

API = "/api/v1"
CANARY = "Zyxwvutq"
LEAVE = "Every employee gets twelve days of paid sick leave a year. Sick leave needs a note after three days."
PARKING = "Parking behind the warehouse is free for visitors on weekdays."
QUESTION = "How many days of paid sick leave do I get?"


async def ask(tenant: Tenant, *, session: str = "", **fields: Any) -> dict[str, Any]:
    session = session or await tenant.session()
    response = await tenant.http.post(f"{API}/sessions/{session}/chat", json={"message": QUESTION} | fields)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def get_trace(tenant: Tenant, turn_id: object) -> dict[str, Any]:
    response = await tenant.http.get(f"{API}/turns/{turn_id}/trace")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def replay(tenant: Tenant, turn_id: object) -> dict[str, Any]:
    response = await tenant.http.post(f"{API}/turns/{turn_id}/replay")
    assert response.status_code == 200, response.text
    found = dict(response.json())
    assert found["same"] is not any(found["changes"][name] for name in ("added", "removed", "moved"))
    return found


def codes(found: dict[str, Any]) -> set[str]:
    return {reason["code"] for reason in found["because"]}


async def sql(tenant: Tenant, statement: str, **values: Any) -> Any:
    async with tenant.runtime.owner.begin() as connection:
        found = await connection.execute(text(statement), values)
        return found.scalar() if found.returns_rows else None


async def counts(tenant: Tenant) -> tuple[Any, ...]:
    tables = ("messages", "message_sources", "turns", "turn_events", "jobs")
    return tuple(
        [await sql(tenant, f"SELECT count(*) FROM {t} WHERE tenant_id = :t", t=tenant.caller.tenant_id) for t in tables]
    )


async def made_turn(tenant: Tenant, trace: dict[str, Any], *, session: str = "", **fields: Any) -> UUID:
    """A turn that ended with this trace and no answer."""
    question = Question(UUID(session or await tenant.session()), QUESTION, **fields)
    turn_id, live = await tenant.runtime.turns.begin(tenant.caller, question)
    assert live is not None
    writer = TurnWriter(
        tenant.runtime.uow, tenant.caller, live, question, Citing(), EventLog(tenant.runtime.uow, live.holder)
    )
    await writer.finish(Draft(lang="en", model="a-model", trace=trace), "completed", None)
    return turn_id


def hit(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    place = {"n": 1, "chunk_id": str(new_id()), "document_id": document["id"], "document_version": 1, "page": None}
    return place | {"title": document["title"], "score": 0.8, "cosine": None, "lexical": 0.5} | fields


class TestTrace:
    async def test_says_why(self, tenant: Tenant) -> None:
        document = await tenant.add_text(LEAVE, title="Leave")
        answer = await ask(tenant, top_k=3)
        found = await get_trace(tenant, answer["turn_id"])
        assert (found["turn_id"], found["status"]) == (answer["turn_id"], "completed")
        assert (found["question"], found["request"]["top_k"]) == (QUESTION, 3)
        assert found["model"] == answer["usage"]["model"]
        assert found["usage"] == answer["usage"]
        assert found["citations"] == answer["citations"] != []
        assert found["finish_reason"] == "stop"
        trace = found["trace"]
        assert (trace["mode"], trace["lang"], trace["exact"]) == ("hybrid", "en", True)
        assert {"embedding_ms", "search_ms", "retrieval_ms", "total_ms"} <= trace["timing"].keys()
        first, source = trace["hits"][0], answer["sources"][0]
        for key in ("n", "chunk_id", "document_id", "document_version", "title", "page", "score"):
            assert first[key] == source[key], key
        assert (first["document_id"], first["title"], first["used"]) == (document["id"], "Leave", True)
        assert 0 < first["cosine"] <= 1

    async def test_holds_no_passage(self, tenant: Tenant) -> None:
        await tenant.add_text(LEAVE, title="Leave")
        found = await get_trace(tenant, (await ask(tenant))["turn_id"])
        assert "twelve" not in json.dumps(found)

    async def test_everything_that_is_recorded_is_shown(self, tenant: Tenant) -> None:
        document = await tenant.add_text(LEAVE, title="Leave")
        said = {
            "query": "paid sick leave days", "question": QUESTION, "mode": "hybrid", "lang": "en", "exact": False,
            "threshold": 0.42, "answerable": True, "space": "a-space", "reranker": "a-reranker",
        }  # fmt: skip
        ranks = {"vector_rank": 2, "text_rank": None, "used": False}
        hits = [hit(document), hit(document, n=2, **ranks)]
        timing = {"embedding_ms": 1.5, "search_ms": 2.5, "total_ms": 4.0}
        turn_id = await made_turn(tenant, said | {"hits": hits, "timing": timing, "prompt_version": "3", "later": 1})
        found = await get_trace(tenant, turn_id)
        assert (found["model"], found["prompt_version"], found["question"]) == ("a-model", "3", QUESTION)
        assert {key: found["trace"][key] for key in said if key != "question"} | {"question": QUESTION} == said
        assert (found["trace"]["timing"]["embedding_ms"], found["trace"]["timing"]["search_ms"]) == (1.5, 2.5)
        shown = found["trace"]["hits"][1]
        assert {key: shown[key] for key in hits[1]} == hits[1]

    @pytest.mark.parametrize("trace", ["null", "{}", '{"model": "m"}', '{"mode": "text", "hits": []}'])
    async def test_older_turns_lack_keys(self, tenant: Tenant, trace: str) -> None:
        await tenant.add_text(LEAVE, title="Leave")
        answer = await ask(tenant)
        statement = "UPDATE turns SET trace = CAST(:trace AS jsonb) WHERE id = :id"
        await sql(tenant, statement, trace=trace, id=UUID(answer["turn_id"]))
        found = await get_trace(tenant, answer["turn_id"])
        assert [each["chunk_id"] for each in found["trace"]["hits"]] == [s["chunk_id"] for s in answer["sources"]]
        assert found["trace"]["hits"][0]["title"] == "Leave"
        assert (await replay(tenant, answer["turn_id"]))["same"]

    async def test_a_turn_that_runs_has_none_yet(self, tenant: Tenant) -> None:
        question = Question(UUID(await tenant.session()), QUESTION)
        turn_id, _ = await tenant.runtime.turns.begin(tenant.caller, question)
        found = await get_trace(tenant, turn_id)
        assert (found["status"], found["trace"], found["model"]) == ("running", None, None)
        check_problem(await tenant.http.post(f"{API}/turns/{turn_id}/replay"), 409, "turn_running")

    async def test_of_somebody_else(self, tenant: Tenant, new_tenant: MakeTenant) -> None:
        await tenant.add_text(LEAVE)
        turn_id = (await ask(tenant))["turn_id"]
        other = await new_tenant()
        for id_ in (turn_id, uuid4(), "x"):
            check_problem(await other.http.get(f"{API}/turns/{id_}/trace"), 404, "turn_not_found")
            check_problem(await other.http.post(f"{API}/turns/{id_}/replay"), 404, "turn_not_found")


class TestForgetting:
    async def test_a_deleted_document_leaves_no_title(self, tenant: Tenant) -> None:
        """Also as a candidate that was not shown, to which no source leads."""
        doomed = await tenant.add_text(LEAVE, title=f"{CANARY} policy")
        kept = await tenant.add_text(PARKING, title="Parking")
        answer = await ask(tenant)
        candidate = await made_turn(tenant, {"hits": [hit(kept), hit(doomed, n=2, used=False)]})
        before = await get_trace(tenant, candidate)
        assert [each["title"] for each in before["trace"]["hits"]] == ["Parking", f"{CANARY} policy"]
        assert (await tenant.http.delete(f"{API}/documents/{doomed['id']}")).status_code == 204
        stored = await sql(
            tenant, "SELECT string_agg(trace::text, '') FROM turns WHERE tenant_id = :t", t=tenant.caller.tenant_id
        )
        assert doomed["id"] in stored
        assert CANARY not in stored
        assert [each["title"] for each in (await get_trace(tenant, candidate))["trace"]["hits"]] == ["Parking", None]
        for found in (await get_trace(tenant, answer["turn_id"]), await replay(tenant, answer["turn_id"])):
            assert CANARY not in json.dumps(found)

    async def test_what_a_question_was_rewritten_to_goes_too(self, tenant: Tenant) -> None:
        doomed = await tenant.add_text(f"{CANARY} employees get twelve days of paid sick leave.", title="Leave")
        answer = await ask(tenant)
        said = {"question": QUESTION, "hits": []}
        rewritten = await made_turn(tenant, said | {"query": f"{QUESTION} {CANARY}"}, session=answer["session_id"])
        as_asked = await made_turn(tenant, said | {"query": QUESTION}, session=answer["session_id"])
        elsewhere = await made_turn(tenant, said | {"query": "another conversation"})
        await tenant.http.delete(f"{API}/documents/{doomed['id']}")
        found = [await get_trace(tenant, id_) for id_ in (rewritten, as_asked, elsewhere)]
        assert [each["trace"]["query"] for each in found] == [None, QUESTION, "another conversation"]
        again = await replay(tenant, rewritten)
        assert again["query"] == QUESTION
        assert "query_forgotten" in codes(again)


class TestReplay:
    async def test_nothing_has_changed(self, tenant: Tenant) -> None:
        await tenant.add_text(LEAVE, title="Leave")
        await tenant.add_text(PARKING, title="Parking")
        answer = await ask(tenant)
        before = await counts(tenant)
        found = await replay(tenant, answer["turn_id"])
        assert await counts(tenant) == before
        assert (found["same"], found["because"], found["query"]) == (True, [], QUESTION)
        assert found["before"] == found["now"]
        assert [each["chunk_id"] for each in found["now"]] == [source["chunk_id"] for source in answer["sources"]]
        assert found["changes"] == {"added": [], "removed": [], "moved": [], "score_changes": []}

    async def test_a_document_was_deleted(self, tenant: Tenant) -> None:
        doomed = await tenant.add_text(LEAVE, title="Leave")
        await tenant.add_text(PARKING, title="Parking")
        answer = await ask(tenant)
        await tenant.http.delete(f"{API}/documents/{doomed['id']}")
        found = await replay(tenant, answer["turn_id"])
        assert [each["document_id"] for each in found["changes"]["removed"]] == [doomed["id"]]
        assert found["changes"]["removed"][0]["title"] is None
        assert [each for each in found["because"] if each["document_id"] == doomed["id"]] == [
            {
                "code": "document_deleted", "detail": "The document has been deleted.", "document_id": doomed["id"],
                "chunk": None, "from": None, "to": None,
            }
        ]  # fmt: skip
        moved = found["changes"]["moved"]
        assert [(each["from"], each["to"]) for each in moved] == [(2, 1)]
        assert "rank_moved" in codes(found)

    async def test_a_document_has_a_new_version(self, tenant: Tenant) -> None:
        document = await tenant.add_text(LEAVE, title="Leave", external_id="leave")
        answer = await ask(tenant)
        changed = LEAVE.replace("twelve", "fifteen")
        await tenant.add_text(changed, title="Leave", external_id="leave")
        found = await replay(tenant, answer["turn_id"])
        assert (len(found["changes"]["added"]), len(found["changes"]["removed"])) == (1, 1)
        (reason,) = found["because"]
        assert (reason["code"], reason["document_id"]) == ("document_updated", document["id"])
        assert (reason["from"], reason["to"]) == (1, 2)

    async def test_the_same_text_in_a_new_version_is_the_same_passage(self, tenant: Tenant) -> None:
        document = await tenant.add_text(LEAVE, title="Leave")
        answer = await ask(tenant)
        assert (await tenant.http.post(f"{API}/documents/{document['id']}/reindex")).status_code == 202
        await tenant.ended(document["id"])
        found = await replay(tenant, answer["turn_id"])
        assert found["before"][0]["chunk_id"] != found["now"][0]["chunk_id"]
        assert found["same"]
        assert codes(found) == {"document_updated"}

    async def test_a_document_is_new(self, tenant: Tenant) -> None:
        await tenant.add_text(PARKING, title="Parking")
        answer = await ask(tenant)
        added = await tenant.add_text(LEAVE, title="Leave")
        found = await replay(tenant, answer["turn_id"])
        assert [each["document_id"] for each in found["changes"]["added"]] == [added["id"]]
        assert found["changes"]["added"][0]["title"] == "Leave"
        assert [r["code"] for r in found["because"] if r["document_id"] == added["id"]] == ["document_added"]

    async def test_a_document_that_pushes_another_out(self, tenant: Tenant) -> None:
        await tenant.add_text(PARKING, title="Parking")
        answer = await ask(tenant, top_k=1)
        await tenant.add_text(LEAVE, title="Leave")
        found = await replay(tenant, answer["turn_id"])
        assert len(found["now"]) == 1
        (removed,) = found["changes"]["removed"]
        moved = next(reason for reason in found["because"] if reason["code"] == "rank_moved")
        assert (moved["chunk"], moved["from"]) == (removed["chunk_id"], 1)
        assert moved["to"] in (2, None)

    async def test_only_the_documents_that_were_asked(self, tenant: Tenant) -> None:
        """When the last of them is gone, nothing is searched: no filter would find everything."""
        named = await tenant.add_text(PARKING, title="Parking")
        answer = await ask(tenant, document_ids=[named["id"]])
        await tenant.add_text(LEAVE, title="Leave")
        assert (await replay(tenant, answer["turn_id"]))["same"]
        await tenant.http.delete(f"{API}/documents/{named['id']}")
        found = await replay(tenant, answer["turn_id"])
        assert (found["now"], codes(found)) == ([], {"document_deleted"})

    async def test_another_embedding_space(self, tenant: Tenant) -> None:
        await tenant.add_text(LEAVE, title="Leave")
        answer = await ask(tenant)
        told = await get_trace(tenant, answer["turn_id"])
        assert told["trace"]["space"] == tenant.runtime.spaces.current.model
        statement = """UPDATE turns SET trace = trace || '{"space": "an-older-model"}' WHERE id = :id"""
        await sql(tenant, statement, id=UUID(answer["turn_id"]))
        found = await replay(tenant, answer["turn_id"])
        (reason,) = found["because"]
        assert (reason["code"], reason["from"]) == ("embedding_space_changed", "an-older-model")
        assert reason["to"] == tenant.runtime.spaces.current.model

    async def test_without_documents_there_is_nothing_to_replay(self, tenant: Tenant) -> None:
        answer = await ask(tenant, use_rag=False)
        response = await tenant.http.post(f"{API}/turns/{answer['turn_id']}/replay")
        check_problem(response, 409, "no_retrieval")

    async def test_a_turn_that_recorded_nothing(self, tenant: Tenant) -> None:
        await tenant.add_text(LEAVE, title="Leave")
        found = await replay(tenant, await made_turn(tenant, {}))
        assert (found["before"], len(found["now"])) == ([], 1)
        assert "not_recorded" in codes(found)

    async def test_a_question_that_points_back_is_searched_with_what_it_points_to(self, tenant: Tenant) -> None:
        await tenant.add_text(LEAVE, title="Leave")
        await tenant.add_text(PARKING, title="Parking")
        session = await tenant.session()
        await ask(tenant, session=session, message="Where is parking free for visitors?")
        turn = (await ask(tenant, session=session, message="And for employees?"))["turn_id"]
        told = await get_trace(tenant, turn)
        assert told["question"] == "And for employees?"
        assert "parking free for visitors" in told["trace"]["query"]
        found = await replay(tenant, turn)
        assert found["query"] == told["trace"]["query"]
        assert found["same"] is True
        assert found["now"][0]["title"] == "Parking"
