"""A budget that does not suffice: what each transport says, and what it leaves behind."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import openai
import pytest

from app.api.errors import STATUS
from app.core.errors import NotFound, RagchatError, RateLimited, Unavailable
from app.providers.llm import ModelChain
from app.rag.token_estimates import estimate_tokens
from app.services.answering import Answering
from app.services.budgets import BudgetService
from app.services.failures import RAISED, failure_of
from app.services.interruption import error_fields, error_of
from app.services.limits import Limit
from tests.api.test_chat import read_sse
from tests.api.test_hostile_tools import check_problem
from tests.conftest import ROOT, Tenant
from tests.fakes import ScriptedModel

FACTS = "Leave policy\n\nFull-time employees get 24 days of paid leave a year. Part-time employees get 12 days.\n"
QUESTION = "How many days of paid leave do part-time employees get?"
LONGEST = 100
"""Tokens of an answer."""
LEAST = estimate_tokens(QUESTION) + LONGEST
Budgeted = Callable[[int], None]


@pytest.fixture
async def asking(tenant: Tenant) -> Tenant:
    await tenant.add_text(FACTS, title="Handbook")
    return tenant


@pytest.fixture
def budgeted(asking: Tenant, monkeypatch: pytest.MonkeyPatch) -> Budgeted:
    """So many tokens a month for the tenant."""

    def limit(tokens: int) -> None:
        budgets = BudgetService(asking.runtime.uow, [Limit("tenant", "month", "tokens", Decimal(tokens))])
        model = ModelChain([ScriptedModel(3, 0)])
        answering = Answering(model, budgets=budgets, max_tokens=LONGEST)
        monkeypatch.setattr(asking.runtime.chat, "_answering", answering)

    return limit


@pytest.mark.parametrize("stream", [False, True])
async def test_the_prompt_needs_more_than_is_left_over_openai(asking: Tenant, budgeted: Budgeted, stream: bool) -> None:
    budgeted(LEAST + 5)
    address = f"http://{asking.service.address}/v1"
    async with openai.AsyncOpenAI(api_key=asking.key, base_url=address, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            messages: Any = [{"role": "user", "content": QUESTION}]
            await client.chat.completions.create(model="ragchat", messages=messages, stream=stream)
    assert (refused.value.status_code, refused.value.type, refused.value.code) == (
        429, "rate_limit_error", "quota_exceeded",
    )  # fmt: skip
    assert int(refused.value.response.headers["Retry-After"]) > 5


def test_failures_of_a_turn_have_the_status_of_the_page() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))
    for code in [*RAISED, "llm_unavailable", "provider_interrupted", "turn_lost", "database_busy", "internal"]:
        raised = failure_of({"type": "error"} | error_fields(code, "A sentence.", None, retry_after=7))
        assert str(STATUS[raised.kind]) == rows[code], code
        assert raised.code == code
        assert raised.retry_after == (None if code == "internal" else 7)
    assert type(failure_of(None)) is RagchatError


@pytest.mark.parametrize("path", ["chat", "chat/stream"])
async def test_what_cannot_suffice_is_refused_before_the_turn(asking: Tenant, budgeted: Budgeted, path: str) -> None:
    budgeted(LEAST - 1)
    session = await asking.session()
    for _ in range(3):
        refused = await asking.http.post(f"/api/v1/sessions/{session}/{path}", json={"message": QUESTION})
        check_problem(refused, 429, "quota_exceeded")
        assert int(refused.headers["Retry-After"]) > 5
    assert (await asking.http.get(f"/api/v1/sessions/{session}/messages")).json()["total"] == 0
    budgeted(10_000)
    answered = await asking.http.post(f"/api/v1/sessions/{session}/{path}", json={"message": QUESTION})
    assert answered.status_code == 200


async def test_what_the_passages_make_too_much_is_told_in_the_stream(asking: Tenant, budgeted: Budgeted) -> None:
    """A program that asks again by itself would only add questions; `retry` adds none."""
    budgeted(LEAST + 5)
    session = await asking.session()
    events = await read_sse(asking, "POST", f"/api/v1/sessions/{session}/chat/stream", json={"message": QUESTION})
    error, done = events[-2:]
    assert (error["code"], error["retryable"], done["status"]) == ("quota_exceeded", False, "failed")
    assert error["retry_after_ms"] > 5000
    whole = await asking.http.post(f"/api/v1/sessions/{await asking.session()}/chat", json={"message": QUESTION})
    check_problem(whole, 429, "quota_exceeded")
    budgeted(10_000)
    retried = await asking.http.post(f"/api/v1/turns/{events[0]['turn_id']}/retry")
    assert retried.status_code == 202
    await read_sse(asking, "GET", f"/api/v1/turns/{retried.json()['id']}/events")
    messages = (await asking.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]
    assert [message["sender"] for message in messages] == ["user", "assistant"]


async def test_a_question_that_has_its_turn_is_not_refused(asking: Tenant, budgeted: Budgeted) -> None:
    budgeted(10_000)
    path = f"/api/v1/sessions/{await asking.session()}/chat"
    body = {"message": QUESTION, "client_message_id": "c-1"}
    first = await asking.http.post(path, json=body)
    budgeted(1)
    assert (await asking.http.post(path, json=body)).json()["id"] == first.json()["id"]
    check_problem(await asking.http.post(path, json=body | {"client_message_id": "c-2"}), 429, "quota_exceeded")


def test_a_program_asks_again_by_itself_only_what_is_over_soon() -> None:
    def told(exc: RagchatError) -> tuple[bool, int | None]:
        fields = error_of(exc, None)
        return fields["retryable"], fields["retry_after_ms"]

    assert told(RateLimited("quota_exceeded", retry_after=5)) == (True, 5000)
    assert told(RateLimited("quota_exceeded", retry_after=3600)) == (False, 3_600_000)
    assert told(Unavailable()) == (True, None)
    assert told(NotFound()) == (False, None)
