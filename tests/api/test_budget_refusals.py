"""A budget that does not suffice: what each transport says, and what it leaves behind."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import openai
import pytest

from app.api.errors import STATUS
from app.core.errors import RagchatError
from app.providers.llm import ModelChain
from app.rag.token_estimates import estimate_tokens
from app.services.answering import Answering
from app.services.budgets import BudgetService
from app.services.failures import RAISED, failure_of
from app.services.interruption import error_fields
from app.services.limits import Limit
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
    """So many tokens a day for the tenant."""

    def limit(tokens: int) -> None:
        budgets = BudgetService(asking.runtime.uow, [Limit("tenant", "day", "tokens", Decimal(tokens))])
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
