"""The OpenAI-compatible routes, asked by OpenAI's own client."""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from app.core.caller import Caller
from app.core.errors import RateLimited
from app.providers.llm import ModelChain
from app.services.answering import Answering
from app.services.chat import ChatService
from app.services.completions import CompletionService, Conversation
from tests.conftest import MakeTenant, Tenant
from tests.fakes import ScriptedModel

FACTS = """Leave policy

Full-time employees get 24 days of paid leave a year. Part-time employees get 12 days of paid leave a year.

Travel

Train tickets are refunded in full. Taxi rides are refunded up to 500 rupees.
"""
QUESTION = "How many days of paid leave do part-time employees get?"
NEXT = "And how much of a taxi ride is refunded?"


def client_of(tenant: Tenant, key: str | None = None) -> openai.AsyncOpenAI:
    address = f"http://{tenant.service.address}/v1"
    return openai.AsyncOpenAI(api_key=key or tenant.key, base_url=address, max_retries=0)


@pytest.fixture
async def asking(tenant: Tenant) -> Tenant:
    await tenant.add_text(FACTS, title="Handbook")
    return tenant


@pytest.fixture
async def client(asking: Tenant) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(asking) as client:
        yield client


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def assistant(text: str | None) -> Any:
    return {"role": "assistant", "content": text}


async def ask(client: openai.AsyncOpenAI, *messages: Any, **options: Any) -> ChatCompletion:
    asked = {"model": "ragchat"} | options
    answer = await client.chat.completions.create(messages=list(messages), **asked)
    assert isinstance(answer, ChatCompletion)
    return answer


async def stream(client: openai.AsyncOpenAI, *messages: Any, **options: Any) -> list[ChatCompletionChunk]:
    asked = {"model": "ragchat"} | options
    return [
        chunk async for chunk in await client.chat.completions.create(messages=list(messages), stream=True, **asked)
    ]


def said(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


async def sessions(tenant: Tenant) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await tenant.http.get("/api/v1/sessions")).json()["items"]
    return found


async def messages(tenant: Tenant, session: str) -> list[tuple[str, str]]:
    items = (await tenant.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]
    return [(item["sender"], item["content"]) for item in items]


def extra(answer: Any, name: str) -> Any:
    """A field that OpenAI's API does not have."""
    return (answer.model_extra or {})[name]


class TestAnswer:
    async def test_is_grounded_and_cited(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        answer = await ask(client, user(QUESTION))
        (choice,) = answer.choices
        assert answer.object == "chat.completion"
        assert (answer.model, choice.finish_reason, choice.message.role) == ("ragchat", "stop", "assistant")
        content = choice.message.content or ""
        assert "12 days" in content
        sources = extra(answer, "sources")
        assert sources[0]["title"] == "Handbook"
        assert "doc_id" not in sources[0]
        assert choice.message.annotations
        async with httpx.AsyncClient(headers={"X-API-Key": asking.key}) as http:
            for annotation in choice.message.annotations:
                place = annotation.url_citation
                assert content[place.start_index : place.end_index] in " ".join(FACTS.split())
                assert place.title == "Handbook"
                assert (await http.get(place.url)).text == FACTS
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    async def test_is_a_turn_like_any_other(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        answer = await ask(client, user(QUESTION))
        turn = (await asking.http.get(f"/api/v1/turns/{extra(answer, 'turn_id')}")).json()
        assert answer.id == f"chatcmpl-{turn['id']}"
        (session,) = await sessions(asking)
        assert session["id"] == extra(answer, "session_id") == turn["session_id"]
        assert (session["user_id"], session["metadata"]) == ("openai", {"via": "openai"})
        assert await messages(asking, session["id"]) == [
            ("user", QUESTION), ("assistant", answer.choices[0].message.content),
        ]  # fmt: skip
        assert extra(answer, "llm_used") is False

    async def test_says_plainly_what_the_documents_do_not_hold(self, client: openai.AsyncOpenAI) -> None:
        answer = await ask(client, user("Who won the football world cup in 1998?"))
        assert answer.choices[0].finish_reason == "stop"
        assert answer.choices[0].message.annotations == []

    async def test_without_the_documents(self, client: openai.AsyncOpenAI) -> None:
        answer = await ask(client, user(QUESTION), model="ragchat-plain")
        assert extra(answer, "sources") == []
        assert (extra(answer, "llm_used"), extra(answer, "fallback_reason")) == (False, "no_language_model")

    async def test_what_it_does_not_know_is_ignored(self, client: openai.AsyncOpenAI) -> None:
        tools: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
        answer = await ask(
            client, user(QUESTION), tools=tools, tool_choice="auto", response_format={"type": "json_object"},
            temperature=0.3, top_p=0.5, seed=7, logprobs=True, logit_bias={"50256": -100}, n=1, stop=["x"],
            presence_penalty=0.1, reasoning_effort="low", parallel_tool_calls=False, max_tokens=300,
            extra_body={"top_k": 40, "repetition_penalty": 1.1, "anything": {"of": ["ours"]}},
        )  # fmt: skip
        assert "12 days" in (answer.choices[0].message.content or "")

    async def test_roles_and_parts(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        parts = {
            "role": "user",
            "content": [{"type": "text", "text": "Paid leave:"}, {"type": "text", "text": QUESTION}],
        }
        call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        answer = await ask(
            client,
            {"role": "system", "content": "Answer in verse."},
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            assistant(None) | {"tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "nothing"},
            parts,
        )
        assert "12 days" in (answer.choices[0].message.content or "")
        assert (await messages(asking, extra(answer, "session_id")))[:-1] == [("user", f"Paid leave:\n{QUESTION}")]

    async def test_what_stands_behind_the_question_is_left_out(
        self, asking: Tenant, client: openai.AsyncOpenAI
    ) -> None:
        answer = await ask(client, user(QUESTION), assistant("Part-time"))
        assert (await messages(asking, extra(answer, "session_id")))[0] == ("user", QUESTION)
        assert "12 days" in (answer.choices[0].message.content or "")


class TestStream:
    async def test_is_the_same_answer(self, client: openai.AsyncOpenAI) -> None:
        whole = await ask(client, user(QUESTION))
        chunks = await stream(client, user(QUESTION))
        assert said(chunks) == whole.choices[0].message.content
        assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
        assert chunks[0].object == "chat.completion.chunk"
        assert chunks[0].choices[0].delta.role == "assistant"
        assert extra(chunks[0], "sources") == extra(whole, "sources")
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
        assert all(chunk.usage is None for chunk in chunks)
        annotations = extra(chunks[-2].choices[0].delta, "annotations")
        assert annotations == [a.model_dump() for a in whole.choices[0].message.annotations or []]
        assert extra(chunks[-1], "llm_used") is False

    async def test_usage_when_asked(self, client: openai.AsyncOpenAI) -> None:
        chunks = await stream(client, user(QUESTION), stream_options={"include_usage": True})
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert all(chunk.usage is None and chunk.choices for chunk in chunks[:-1])

    async def test_on_the_wire(self, asking: Tenant) -> None:
        body = {"model": "ragchat", "messages": [user(QUESTION)], "stream": True}
        response = await asking.http.post("/v1/chat/completions", json=body)
        assert response.headers["content-type"].startswith("text/event-stream")
        frames = response.text.split("\n\n")
        assert frames[-2:] == ["data: [DONE]", ""]
        assert all(frame.startswith('data: {"id":"chatcmpl-') for frame in frames[:-2])

    async def test_a_client_that_leaves_does_not_stop_the_turn(
        self, asking: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        speak(asking, ScriptedModel(20, 0.05), monkeypatch)
        async with client_of(asking) as client:
            answer = await client.chat.completions.create(model="ragchat", messages=[user(QUESTION)], stream=True)
            turn_id = extra(await anext(answer), "turn_id")
            await answer.close()
        async with asyncio.timeout(10):
            while (turn := (await asking.http.get(f"/api/v1/turns/{turn_id}")).json())["status"] == "running":
                await asyncio.sleep(0.05)
        assert turn["status"] == "completed"
        assert "w19" in (await messages(asking, turn["session_id"]))[1][1]


def speak(tenant: Tenant, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chat of the running service speaks with another model for the rest of the test."""
    monkeypatch.setattr(tenant.runtime.chat, "_answering", Answering(ModelChain([model])))


class TestConversation:
    async def test_goes_on_in_its_session(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        first = await ask(client, user(QUESTION))
        content = first.choices[0].message.content
        instructions = [{"role": "system", "content": f"It is {day}."} for day in ("Monday", "Tuesday")]
        second = await ask(client, instructions[0], user(QUESTION), assistant(f"{content}\n"), user(NEXT))
        third = await stream(
            client, instructions[1], user(QUESTION), assistant(content), user(NEXT),
            assistant(second.choices[0].message.content), user("And train tickets?"), model="ragchat-plain",
        )  # fmt: skip
        found = {extra(answer, "session_id") for answer in (first, second, third[0])}
        (session,) = await sessions(asking)
        assert found == {session["id"]}
        assert [sender for sender, _ in await messages(asking, session["id"])] == ["user", "assistant"] * 3
        assert "500 rupees" in (second.choices[0].message.content or "")

    async def test_from_elsewhere_brings_its_history(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        before = [user("What does the handbook say about paid leave?"), assistant("It says how many days you get.")]
        answer = await ask(client, *before, user("And for part-time employees?"))
        assert "12 days" in (answer.choices[0].message.content or "")
        stored = await messages(asking, extra(answer, "session_id"))
        assert stored[:3] == [(m["role"], m["content"]) for m in [*before, user("And for part-time employees?")]]
        trace = (await asking.http.get(f"/api/v1/turns/{extra(answer, 'turn_id')}/trace")).json()["trace"]
        assert "how many days you get" in trace["query"]

    async def test_that_was_changed_gets_a_session_of_its_own(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        first = await ask(client, user(QUESTION))
        content = first.choices[0].message.content or ""
        others = [
            await ask(client, user(QUESTION), assistant(content + " Really."), user(NEXT)),
            await ask(client, user(QUESTION + " "), assistant(content), user(NEXT), user="ravi"),
            await ask(client, user(QUESTION), user(content), user(NEXT)),
        ]
        assert len({extra(answer, "session_id") for answer in [first, *others]}) == 4

    async def test_asked_twice_from_the_same_place_branches(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        """The second one must not find what the first one has said meanwhile."""
        first = await ask(client, user(QUESTION))
        history = [user(QUESTION), assistant(first.choices[0].message.content)]
        again = [await ask(client, *history, user(NEXT)) for _ in range(2)]
        assert extra(again[0], "session_id") == extra(first, "session_id") != extra(again[1], "session_id")
        assert len(await messages(asking, extra(again[1], "session_id"))) == 4

    async def test_a_session_that_was_used_otherwise_is_left_alone(
        self, asking: Tenant, client: openai.AsyncOpenAI
    ) -> None:
        first = await ask(client, user(QUESTION))
        session = extra(first, "session_id")
        await asking.http.post(f"/api/v1/sessions/{session}/chat", json={"message": "Who pays for trains?"})
        second = await ask(client, user(QUESTION), assistant(first.choices[0].message.content), user(NEXT))
        assert extra(second, "session_id") != session

    async def test_deleted_starts_anew(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        first = await ask(client, user(QUESTION))
        await asking.http.delete(f"/api/v1/sessions/{extra(first, 'session_id')}")
        second = await ask(client, user(QUESTION), assistant(first.choices[0].message.content), user(NEXT))
        (session,) = await sessions(asking)
        assert session["id"] == extra(second, "session_id")

    async def test_user_names_the_owner(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        await ask(client, user(QUESTION), user="ravi")
        await ask(client, user(QUESTION), user=" ")
        assert {session["user_id"] for session in await sessions(asking)} == {"ravi", "openai"}

    async def test_a_person_is_themselves(self, asking: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever signs in as a user cannot speak for another one."""
        service: CompletionService = asking.runtime.completions
        caller = Caller(asking.caller.tenant_id, user_id="asha", scopes=frozenset({"chat"}))
        reply = await service.answer(caller, Conversation("ragchat", QUESTION, [], user="ravi"))
        assert [event["type"] async for event in reply.events][-1] == "done"
        assert [session["user_id"] for session in await sessions(asking)] == ["asha"]

    async def test_guessing_a_history_opens_nothing_of_others(
        self, asking: Tenant, client: openai.AsyncOpenAI, new_tenant: MakeTenant
    ) -> None:
        first = await ask(client, user(QUESTION))
        content = first.choices[0].message.content
        stranger = await new_tenant()
        async with client_of(stranger) as other:
            answer = await ask(other, user(QUESTION), assistant(content), user(NEXT))
        assert extra(answer, "session_id") != extra(first, "session_id")
        assert extra(answer, "sources") == []
        assert len(await messages(asking, extra(first, "session_id"))) == 2
        mine = await ask(client, user(QUESTION), assistant(content), user(NEXT))
        assert extra(mine, "session_id") == extra(first, "session_id")

    async def test_a_digest_opens_nothing_of_others(self, asking: Tenant, new_tenant: MakeTenant) -> None:
        """Even one that was copied: the owner is in the query, too."""
        session, digest = await asking.session(user_id="ravi"), b"d" * 32
        async with asking.runtime.uow(asking.caller) as uow:
            await uow.completions.keep(UUID(session), digest, 1)
        stranger = (await new_tenant()).caller
        asha = Caller(asking.caller.tenant_id, user_id="asha")
        for caller, user_id in ((stranger, "ravi"), (asha, "ravi"), (asking.caller, "asha")):
            async with asking.runtime.uow(caller) as uow:
                assert await uow.completions.claim(digest, user_id) is None
                if caller is not asking.caller:
                    await uow.completions.keep(UUID(session), b"stolen", 1)
        async with asking.runtime.uow(asking.caller) as uow:
            assert await uow.completions.claim(digest, "ravi") == (UUID(session), 1)
            assert await uow.completions.claim(digest, "ravi") is None

    async def test_only_the_last_hundred_messages_are_taken_over(
        self, asking: Tenant, client: openai.AsyncOpenAI
    ) -> None:
        before = [made(f"{number}") for number in range(60) for made in (user, assistant)]
        answer = await ask(client, *before, user(QUESTION))
        page = await asking.http.get(f"/api/v1/sessions/{extra(answer, 'session_id')}/messages?limit=200")
        assert page.json()["total"] == 102
        assert page.json()["items"][0]["content"] == "10"


class TestConcurrency:
    async def test_identical_first_questions(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        answers = await asyncio.gather(*(ask(client, user(QUESTION)) for _ in range(8)))
        assert len({answer.choices[0].message.content for answer in answers}) == 1
        for session in await sessions(asking):
            assert [sender for sender, _ in await messages(asking, session["id"])] == ["user", "assistant"]

    async def test_identical_continuations(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        """One goes on in the session, the others get one of their own, and no turn is refused."""
        first = await ask(client, user(QUESTION))
        history = [user(QUESTION), assistant(first.choices[0].message.content), user(NEXT)]
        answers = await asyncio.gather(*(ask(client, *history) for _ in range(8)))
        ids = [extra(answer, "session_id") for answer in answers]
        assert len(set(ids)) == 8
        assert ids.count(extra(first, "session_id")) == 1
        for session in ids:
            assert len(await messages(asking, session)) == 4


class TestFailures:
    async def test_before_the_first_word_has_a_status(self, asking: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        speak(asking, ScriptedModel(0, 0, error=RuntimeError("boom")), monkeypatch)
        async with client_of(asking) as client:
            for asked in (ask, stream):
                with pytest.raises(openai.InternalServerError) as failed:
                    await asked(client, user(QUESTION))
                assert (failed.value.status_code, failed.value.code) == (500, "internal")

    async def test_that_nobody_expected(self, asking: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail(*_: Any) -> None:
            raise RuntimeError("boom")

        monkeypatch.setattr(ChatService, "ask", fail)
        async with client_of(asking) as client:
            with pytest.raises(openai.InternalServerError) as failed:
                await ask(client, user(QUESTION))
        assert (failed.value.code, failed.value.type) == ("internal", "server_error")

    async def test_in_the_middle_is_an_error_chunk(self, asking: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        speak(asking, ScriptedModel(5, 0.01, error=RuntimeError("boom")), monkeypatch)
        seen: list[ChatCompletionChunk] = []
        async with client_of(asking) as client:
            answer = await client.chat.completions.create(model="ragchat", messages=[user(QUESTION)], stream=True)
            with pytest.raises(openai.APIError) as failed:
                seen += [chunk async for chunk in answer]
            assert (failed.value.code, failed.value.type) == ("internal", "server_error")
        body = {"model": "ragchat", "messages": [user(QUESTION)], "stream": True}
        frames = (await asking.http.post("/v1/chat/completions", json=body)).text.split("\n\n")
        assert frames[-2].startswith('data: {"error":{"message":')

    async def test_cancelled_elsewhere_ends_with_what_was_said(
        self, asking: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        speak(asking, ScriptedModel(1000, 0.05), monkeypatch)
        async with client_of(asking) as client:
            answer = await client.chat.completions.create(model="ragchat", messages=[user(QUESTION)], stream=True)
            chunks = [await anext(answer)]
            await asking.http.post(f"/api/v1/turns/{extra(chunks[0], 'turn_id')}/cancel")
            chunks += [chunk async for chunk in answer]
            assert chunks[-1].choices[0].finish_reason == "stop"
            speak(asking, ScriptedModel(1, 0), monkeypatch)
            again = await stream(client, user(QUESTION), assistant(said(chunks)), user(NEXT), model="ragchat-plain")
        assert extra(again[0], "session_id") == extra(chunks[0], "session_id")

    async def test_a_question_that_is_refused_leaves_nothing_behind(
        self, asking: Tenant, client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = await ask(client, user(QUESTION))
        history = [user(QUESTION), assistant(first.choices[0].message.content), user(NEXT)]

        async def refuse(*_: Any) -> None:
            raise RateLimited

        with monkeypatch.context() as patched:
            patched.setattr(ChatService, "ask", refuse)
            for given in ([user(QUESTION)], history):
                with pytest.raises(openai.RateLimitError):
                    await ask(client, *given)
        assert len(await sessions(asking)) == 1
        assert extra(await ask(client, *history), "session_id") == extra(first, "session_id")


class TestModels:
    async def test_list_and_get(self, client: openai.AsyncOpenAI) -> None:
        assert [model.id async for model in client.models.list()] == ["ragchat", "ragchat-plain"]
        model = await client.models.retrieve("ragchat-plain")
        assert (model.id, model.object, model.owned_by) == ("ragchat-plain", "model", "ragchat")
        for unknown in ("gpt-4o", "some/model"):
            with pytest.raises(openai.NotFoundError) as refused:
                await client.models.retrieve(unknown)
            assert refused.value.code == "model_not_found"


class TestEmbeddings:
    async def test_texts(self, asking: Tenant, client: openai.AsyncOpenAI) -> None:
        texts = ["How many days of leave?", "Days of paid leave", "The taxi was late"]
        several = await client.embeddings.create(model="ragchat", input=texts)
        one = await client.embeddings.create(model="all-MiniLM-L6-v2", input=texts[0], encoding_format="float")
        whole = await client.embeddings.create(
            model="sentence-transformers/all-MiniLM-L6-v2", input=texts[:1], dimensions=384
        )
        assert several.model == one.model == whole.model == "all-MiniLM-L6-v2"
        assert [item.index for item in several.data] == [0, 1, 2]
        vectors = [item.embedding for item in several.data]
        assert {len(vector) for vector in vectors} == {384}
        assert [round(math.sqrt(sum(x * x for x in vector)), 3) for vector in vectors] == [1.0] * 3
        assert sum(x * y for x, y in zip(vectors[0], one.data[0].embedding, strict=True)) > 0.999
        near, far = (sum(x * y for x, y in zip(vectors[0], vectors[at], strict=True)) for at in (1, 2))
        assert near > far
        stored = await asking.runtime.spaces.current.embedder.embed_query(texts[0])
        assert sum(x * float(y) for x, y in zip(vectors[0], stored, strict=True)) > 0.999
        assert several.usage.total_tokens == several.usage.prompt_tokens > one.usage.prompt_tokens > 4

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"input": [1, 2, 3]}, "unsupported_content"),
            ({"input": [[1, 2], [3]]}, "unsupported_content"),
            ({"input": []}, "invalid_request"),
            ({"input": ["a"] * 2049}, "invalid_request"),
            ({"input": ["a", ""]}, "empty_content"),
            ({"input": ["a", "b\0"]}, "invalid_character"),
            ({"input": "a", "dimensions": 12}, "unsupported_parameter"),
            ({"input": "a", "encoding_format": "int8"}, "invalid_request"),
        ],
    )
    async def test_refused(self, client: openai.AsyncOpenAI, options: dict[str, Any], code: str) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.embeddings.create(**({"model": "ragchat"} | options))
        assert refused.value.code == code
        assert refused.value.param

    async def test_of_another_model(self, client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="text-embedding-3-small", input="a")
