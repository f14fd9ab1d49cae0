"""`Idempotency-Key` on the OpenAI-compatible route: one turn, one answer, however often it is asked."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.api.idempotency import HEADER, REPLAYED
from tests.api.test_idempotency import effects
from tests.api.test_openai_hostile import CHAT, check_error, question
from tests.conftest import MakeTenant, Tenant


async def ask(tenant: Tenant, key: str | None, content: str = "When do you open?", **fields: Any) -> httpx.Response:
    headers = {HEADER: key} if key else {}
    return await tenant.http.post(CHAT, json=question(content, **fields), headers=headers)


def told(response: httpx.Response) -> Any:
    """Of a stream its chunks: the order of their members is not kept."""
    if response.headers["content-type"] == "application/json":
        return response.content
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_twice_is_once(new_tenant: MakeTenant, stream: bool) -> None:
    tenant, stranger = await new_tenant(), await new_tenant()
    await tenant.add_text("We are open from 9 to 6.")
    key = str(uuid4())
    first = await ask(tenant, key, stream=stream)
    assert first.status_code == 200, first.text
    assert REPLAYED not in first.headers
    after = await effects(tenant)
    await asyncio.sleep(1.1)  # its time is that of the turn, in seconds
    for _ in range(2):
        again = await ask(tenant, key, stream=stream)
        assert again.headers[REPLAYED] == "true"
        assert (again.status_code, told(again)) == (200, told(first))
    for other in (await ask(tenant, key, "And on Sunday?", stream=stream), await ask(tenant, key, stream=not stream)):
        check_error(other, 422, "idempotency_key_reused")
    assert await effects(tenant) == after
    assert REPLAYED not in (await ask(stranger, key, stream=stream)).headers
    assert (await ask(tenant, str(uuid4()), stream=stream)).status_code == 200
    assert await effects(tenant) != after


async def test_at_once_is_once(tenant: Tenant) -> None:
    """Whoever comes second waits or is told so, and leaves no session behind."""
    answers = await asyncio.gather(*(ask(tenant, "k") for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    for refused in (answer for answer in answers if answer.status_code == 409):
        check_error(refused, 409, "idempotency_in_progress")
        assert refused.headers["retry-after"] == "1"
    assert dict(await effects(tenant)) | {"chat_sessions": 1, "turns": 1} == dict(await effects(tenant))
    assert (await ask(tenant, "k")).headers[REPLAYED] == "true"


async def test_a_key_that_is_none(tenant: Tenant) -> None:
    error = check_error(await ask(tenant, "a b"), 400, "invalid_idempotency_key")
    assert error["param"] == HEADER


async def test_an_answer_that_is_gone(tenant: Tenant) -> None:
    answer = (await ask(tenant, "k")).json()
    assert (await tenant.http.delete(f"/api/v1/sessions/{answer['session_id']}")).status_code == 204
    check_error(await ask(tenant, "k"), 404)
