"""A service in a process of its own at LOG_LEVEL=DEBUG: nothing that must be masked is in its log, in what its language
model was sent, or in the table of maps; the log says how many values of each kind there were."""

import json
from collections.abc import AsyncIterator

import pytest

from tests import stand_in as servers
from tests.integration.processes import Place, ended, place
from tests.integration.test_masking import SECRET, assert_masked, strings
from tests.unit.privacy.vectors import MASKED

stand_in = servers.stand_in


@pytest.fixture
async def masking(stand_in: servers.StandIn) -> AsyncIterator[tuple[Place, str]]:
    """And the name of its model."""
    model = stand_in.model("tokens:count=3")
    settings = {"openai_base_url": stand_in.openai_url, "openai_model": model, "llm_context_tokens": "100000"}
    async with place(log_level="DEBUG", **settings) as made:
        yield made, model


@pytest.mark.parametrize("form", ["json", "pretty"])
async def test_nothing_reaches_the_model_or_the_log(
    masking: tuple[Place, str], stand_in: servers.StandIn, form: str
) -> None:
    here, model = masking
    service = await here.serve(log_format=form)
    async with here.client() as http:
        body = {"title": "Canteen 9848022338", "text": SECRET}
        await ended(http, (await http.post("/api/v1/documents", json=body)).json()["id"])
        session = (await http.post("/api/v1/sessions", json={"user_id": "ravi"})).json()["id"]
        for question, options in (
            (SECRET, {"use_rag": False}),
            ("What about the canteen?", {"top_k": 50}),
            ("And again?", {"top_k": 50}),
        ):
            asked = {"message": question} | options
            assert (await http.post(f"/api/v1/sessions/{session}/chat", json=asked)).status_code == 200
        front_end = {"role": "user", "content": f"### Task:\nMake a title.\n{SECRET}"}
        completion = {"model": "ragchat", "messages": [front_end]}
        assert (await http.post("/v1/chat/completions", json=completion)).status_code == 200
    assert await service.stop() == 0
    recent = stand_in.asked(model)["recent"]
    assert len(recent) >= 4
    for request in recent:
        assert [value for _, value in MASKED if value in "\n".join(strings(request))] == []
    assert_masked("\n".join(strings(recent)))
    printed = service.out + service.err
    assert "turn.done" in printed
    assert [value for _, value in MASKED if value in printed or json.dumps(value)[1:-1] in printed] == []
    assert "AADHAAR" in printed
    assert (here.data / "masking_key").stat().st_mode & 0o777 == 0o600
    assert (here.data / "masking_key").read_text().strip() not in printed
