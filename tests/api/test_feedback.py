"""Ratings of answers: the last word counts, and what is no answer cannot be rated."""

from typing import Any
from uuid import uuid4

import pytest

from app.evaluation.golden import golden_lines
from tests.conftest import Tenant

API = "/api/v1"


async def answered(tenant: Tenant, question: str = "How many days of leave do employees get?") -> dict[str, Any]:
    session = await tenant.session()
    response = await tenant.http.post(f"{API}/sessions/{session}/chat", json={"message": question})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def rate(tenant: Tenant, message_id: str, **body: Any) -> tuple[int, dict[str, Any]]:
    response = await tenant.http.put(f"{API}/messages/{message_id}/feedback", json=body)
    return response.status_code, response.json()


@pytest.fixture
async def rated(tenant: Tenant) -> str:
    await tenant.add_text("Employees get 30 days of annual leave a year. Managers approve it.", title="Leave")
    answer = await answered(tenant)
    assert (await rate(tenant, answer["id"], rating="down", reason="wrong", comment="It is 31."))[0] == 200
    return str(answer["id"])


async def test_the_last_word_counts(tenant: Tenant, rated: str) -> None:
    status, said = await rate(tenant, rated, rating="up")
    assert (status, said["message_id"], said["rating"], said["reason"], said["comment"]) == (
        200,
        rated,
        "up",
        None,
        None,
    )
    assert said["updated_at"] > said["created_at"]


async def test_only_answers(tenant: Tenant, rated: str) -> None:
    session = await tenant.session()
    message = {"sender": "user", "content": "hello"}
    question = (await tenant.http.post(f"{API}/sessions/{session}/messages", json=message)).json()["id"]
    status, problem = await rate(tenant, question, rating="up")
    assert (status, problem["code"]) == (400, "not_an_answer")
    for unknown in (str(uuid4()), "x"):
        status, problem = await rate(tenant, unknown, rating="up")
        assert (status, problem["code"]) == (404, "message_not_found")


@pytest.mark.parametrize(
    "body",
    [{}, {"rating": "sideways"}, {"rating": None}, {"rating": "up", "reason": "x" * 101}, {"rating": "up", "other": 1},
     {"rating": "up", "comment": "x" * 4001}, {"rating": "up", "comment": "\u0000"}],
)  # fmt: skip
async def test_what_cannot_be_said(tenant: Tenant, body: dict[str, Any]) -> None:
    assert (await rate(tenant, str(uuid4()), **body))[0] == 400


async def test_it_goes_with_the_message(tenant: Tenant, rated: str) -> None:
    assert len(await golden_lines(tenant.runtime, tenant.caller, None)) == 1
    sessions = (await tenant.http.get(f"{API}/sessions")).json()["items"]
    for session in sessions:
        await tenant.http.delete(f"{API}/sessions/{session['id']}")
    assert await golden_lines(tenant.runtime, tenant.caller, None) == []
