"""Prompts that front ends send by themselves: answered, never searched for, never stored."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from app.core.errors import RagchatError, Unavailable
from app.languages import get_language
from app.providers.ports import Delta, Finished, Prompt
from app.services import background_prompts
from tests.conftest import Tenant

TITLE = """### Task:
Generate a concise, 3-5 word title with an emoji summarizing the chat history.
### Output:
JSON format: { "title": "your concise title here" }
### Examples:
- { "title": "Stock Market Trends" }
### Chat History:
<chat_history>
USER: {"queries": ["how many days of leave"]}
</chat_history>"""
FOLLOW_UPS = """### Task:
Suggest 3-5 relevant follow-up questions.
### Output:
JSON format: { "follow_ups": ["Question 1?", "Question 2?"] }"""
TAGS = '### Task:\nGenerate 1-3 broad tags.\n### Output:\nJSON format: { "tags": ["tag1", "tag2", "tag3"] }'
QUERIES = """### Task:
Analyze the chat history to determine the necessity of generating search queries.
- If so, return: { "queries": ["query1", "query2"] }
- If not, return: { "queries": [] }"""
SENTENCE = "### Task:\nRespond to the user query using the provided context."


class Model:
    name = "told"

    def __init__(self, *items: Any) -> None:
        self._items = items
        self.asked: list[Prompt] = []

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Any, None]:
        self.asked.append(prompt)
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item


async def ask(tenant: Tenant, prompt: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "ragchat", "messages": [{"role": "user", "content": prompt}]} | fields
    response = await tenant.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def nothing_was_kept(tenant: Tenant) -> bool:
    total: int = (await tenant.http.get("/api/v1/sessions")).json()["total"]
    return total == 0


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (TITLE, {"title": ""}),
        (FOLLOW_UPS, {"follow_ups": []}),
        (TAGS, {"tags": []}),
        (QUERIES, {"queries": []}),
        (f" \n{TITLE}", {"title": ""}),
    ],
)
async def test_without_a_model_the_shape_is_there_and_empty(tenant: Tenant, prompt: str, answer: Any) -> None:
    await tenant.add_text("How many days of leave: 12.", title="Handbook")
    told = await ask(tenant, prompt)
    assert json.loads(told["choices"][0]["message"]["content"]) == answer
    assert (told["sources"], told["session_id"], told["turn_id"]) == ([], None, None)
    assert told["choices"][0]["finish_reason"] == "stop"
    assert await nothing_was_kept(tenant)


async def test_without_a_shape_it_says_why(tenant: Tenant) -> None:
    told = await ask(tenant, SENTENCE)
    assert told["choices"][0]["message"]["content"] == get_language("en").plain_no_model
    assert await nothing_was_kept(tenant)


async def test_streamed(tenant: Tenant) -> None:
    body = {"model": "ragchat", "messages": [{"role": "user", "content": TITLE}], "stream": True}
    frames = (await tenant.http.post("/v1/chat/completions", json=body)).text.split("\n\n")
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ['{"title": ""}', None]
    assert (chunks[0]["sources"], chunks[-1]["choices"][0]["finish_reason"]) == ([], "stop")
    assert frames[-2] == "data: [DONE]"


async def test_a_question_that_only_mentions_a_task_is_searched(tenant: Tenant) -> None:
    await tenant.add_text("The task of the night shift is to lock the gate.", title="Handbook")
    told = await ask(tenant, "What is ### Task: of the night shift?")
    assert told["sources"]
    assert not await nothing_was_kept(tenant)


async def test_a_long_one_is_taken(tenant: Tenant) -> None:
    """They hold the whole conversation, so the limit of a question is none of theirs."""
    assert len(long := TITLE + "\nUSER: leave" * 1000) > tenant.runtime.settings.max_message_chars
    assert (await ask(tenant, long))["choices"][0]["message"]["content"] == '{"title": ""}'


class TestWithAModel:
    async def test_the_model_answers(self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        model = Model("started", Delta('{"title": '), Delta('"Leave"}'), Finished("length", 7, 5))
        monkeypatch.setattr(tenant.runtime.completions, "_model", model)
        told = await ask(tenant, TITLE, max_tokens=50)
        assert told["choices"][0]["message"]["content"] == '{"title": "Leave"}'
        assert told["choices"][0]["finish_reason"] == "length"
        assert told["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        (prompt,) = model.asked
        assert (prompt.max_tokens, [m.content for m in prompt.messages]) == (50, [TITLE])

    async def test_one_that_is_down_is_done_without(self) -> None:
        model = Model(Unavailable("llm_unavailable"))
        said = [item async for item in background_prompts.answer(model, TITLE)]
        assert said == [Delta('{"title": ""}'), Finished("stop")]

    async def test_one_that_breaks_off_has_failed(self) -> None:
        model = Model(Delta("{"), Unavailable("provider_interrupted"))
        with pytest.raises(RagchatError, match="provider_interrupted"):
            [item async for item in background_prompts.answer(model, TITLE)]
