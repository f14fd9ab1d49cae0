"""LangChain's chat model and embeddings, unchanged."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.api.test_openai import FACTS, NEXT, QUESTION, messages, sessions
from tests.conftest import Tenant


@pytest.fixture
async def address(tenant: Tenant) -> AsyncIterator[dict[str, Any]]:
    """With connections of its own: LangChain would keep them open for the rest of the process."""
    key, url = SecretStr(tenant.key), f"http://{tenant.service.address}/v1"
    async with httpx2.AsyncClient(timeout=30) as http:
        with httpx2.Client() as blocking:
            yield {"base_url": url, "api_key": key, "http_async_client": http, "http_client": blocking}


@pytest.fixture
async def chat(tenant: Tenant, address: dict[str, Any]) -> ChatOpenAI:
    await tenant.add_text(FACTS, title="Handbook")
    return ChatOpenAI(model="ragchat", max_retries=0, **address)


async def test_invoke(tenant: Tenant, chat: ChatOpenAI) -> None:
    answer = await chat.ainvoke([SystemMessage("Be brief."), HumanMessage(QUESTION)])
    assert "12 days" in answer.text
    assert answer.response_metadata["finish_reason"] == "stop"


async def test_stream_is_the_same(chat: ChatOpenAI) -> None:
    whole = await chat.ainvoke(QUESTION)
    chunks = [chunk async for chunk in chat.astream(QUESTION, stream_usage=True)]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert any(chunk.usage_metadata for chunk in chunks)


async def test_a_conversation_stays_in_its_session(tenant: Tenant, chat: ChatOpenAI) -> None:
    said: list[BaseMessage] = [HumanMessage(QUESTION)]
    said += [await chat.ainvoke(said), HumanMessage(NEXT)]
    answer = await chat.ainvoke(said)
    assert isinstance(answer, AIMessage)
    assert "500 rupees" in answer.text
    (session,) = await sessions(tenant)
    assert len(await messages(tenant, session["id"])) == 4


async def test_embeddings(address: dict[str, Any]) -> None:
    embeddings = OpenAIEmbeddings(model="ragchat", check_embedding_ctx_length=False, **address)
    vectors = await embeddings.aembed_documents([QUESTION, NEXT])
    assert [len(vector) for vector in vectors] == [384, 384]
