"""What is wrong below /v1 is told as OpenAI tells it, whoever notices it."""

import json
from typing import Any

import httpx
import openai
import pytest

from app.core.errors import Unavailable
from app.core.ids import new_id
from tests.api import test_hostile_tools as tools
from tests.api import test_rate_limit as limits
from tests.api.test_hostile_tools import CANARY, LIBRARIES
from tests.api.test_openai import client_of
from tests.conftest import Service, Tenant, make_tenant

edge, unharmed, limited = tools.edge, tools.unharmed, limits.limited
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
JSON = {"Content-Type": "application/json"}


def check_error(response: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """OpenAI's shape, in our words, with nothing of what was sent."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert code is None or error["code"] == code, error
    said = response.text.lower()
    assert CANARY not in said
    assert not [name for name in LIBRARIES if name in said], said
    return error


async def post(tenant: Tenant, path: str, body: Any) -> httpx.Response:
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return await tenant.http.post(path, content=content, headers=JSON)


def question(content: Any = "a", **fields: Any) -> dict[str, Any]:
    return {"model": "ragchat", "messages": [{"role": "user", "content": content}]} | fields


@pytest.mark.parametrize("path", [CHAT, EMBEDDINGS])
@pytest.mark.parametrize(
    "body", ['{"model":', CANARY, b"\xff\xfe", '{"model":NaN}', "[" * 100_000, '{"model":"a","model":"b"}']
)
async def test_not_json(edge: Tenant, path: str, body: bytes | str) -> None:
    error = check_error(await post(edge, path, body), 400, "malformed_json")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ("", "invalid_request", None),
        ("[]", "invalid_request", None),
        ({}, "invalid_request", "model"),
        ({"model": "ragchat"}, "invalid_request", "messages"),
        ({"model": 5, "messages": [{"role": "user", "content": "a"}]}, "invalid_request", "model"),
        ({"model": "ragchat", "messages": []}, "invalid_request", "messages"),
        ({"model": "ragchat", "messages": {}}, "invalid_request", "messages"),
        ({"model": "ragchat", "messages": ["a"]}, "invalid_request", "messages[0]"),
        ({"model": "ragchat", "messages": [{"content": "a"}]}, "invalid_request", "messages[0].role"),
        ({"model": "ragchat", "messages": [{"role": CANARY, "content": "a"}]}, "invalid_request", "messages[0].role"),
        ({"model": "ragchat", "messages": [{"role": "system", "content": "a"}]}, "missing_question", "messages"),
        (question(None), "empty_content", "messages[0].content"),
        (question(" \u200b"), "empty_content", "messages[0].content"),
        (question([]), "empty_content", "messages[0].content"),
        (question(5), "invalid_request", "messages[0].content"),
        (question({"text": "a"}), "invalid_request", "messages[0].content"),
        (question("a\0b"), "invalid_character", "messages[0].content"),
        (question("\ud800"), "invalid_unicode", "messages[0].content"),
        (question("a" * 8001), "too_long", "messages[0].content"),
        (question([{"type": "image_url", "image_url": {"url": "https://a"}}]), "unsupported_content",
         "messages[0].content[0]"),
        (question([{"type": "text", "text": "a"}, {"type": "input_audio"}]), "unsupported_content",
         "messages[0].content[1]"),
        (question([{"type": CANARY}]), "unsupported_content", "messages[0].content[0]"),
        (question([{"type": {}}]), "unsupported_content", "messages[0].content[0]"),
        (question(["a"]), "unsupported_content", "messages[0].content[0]"),
        (question([{"type": "text"}]), "invalid_request", "messages[0].content[0]"),
        (question([{"type": "text", "text": ["a"]}]), "invalid_request", "messages[0].content[0]"),
        (question([{"type": "text", "text": "\0"}]), "invalid_character", "messages[0].content[0]"),
        (question(n=2), "unsupported_parameter", "n"),
        (question(n=0), "invalid_request", "n"),
        (question(stream="yes"), "invalid_request", "stream"),
        (question(stream_options=[]), "invalid_request", "stream_options"),
        (question(stream_options={"include_usage": 1}), "invalid_request", "stream_options.include_usage"),
        (question(max_tokens=0), "invalid_request", "max_tokens"),
        (question(user="u" * 256), "too_long", "user"),
        (question(user="\0"), "invalid_character", "user"),
        (question(user=7), "invalid_request", "user"),
    ],
)  # fmt: skip
async def test_completions(edge: Tenant, body: Any, code: str, param: str | None) -> None:
    before = (await edge.http.get("/api/v1/sessions")).json()["total"]
    error = check_error(await post(edge, CHAT, body), 400, code)
    assert error["param"] == param
    assert param is None or error["message"].startswith(f"{param}: ")
    assert (await edge.http.get("/api/v1/sessions")).json()["total"] == before


async def test_a_history_that_cannot_be_stored(edge: Tenant) -> None:
    for content, code in (("a" * 65_537, "too_long"), ("\0", "invalid_character")):
        body = question() | {"messages": [{"role": "user", "content": content}, *question()["messages"]]}
        assert check_error(await post(edge, CHAT, body), 400, code)["param"] == "messages[0].content"


async def test_a_history_of_many_messages(edge: Tenant) -> None:
    many = [{"role": "user", "content": str(number)} for number in range(4000)]
    assert (await post(edge, CHAT, question() | {"messages": many})).status_code == 200


@pytest.mark.parametrize("body", [{}, {"model": "ragchat"}, {"model": "ragchat", "input": None},
                                  {"model": "ragchat", "input": {"a": 1}}, {"model": "ragchat", "input": [True]},
                                  {"model": "ragchat", "input": "a", "dimensions": "5"}])  # fmt: skip
async def test_embeddings(edge: Tenant, body: Any) -> None:
    assert check_error(await post(edge, EMBEDDINGS, body), 400, "invalid_request")["param"]


async def test_unknown_models(edge: Tenant) -> None:
    for response in (
        await post(edge, CHAT, question(model=CANARY)),
        await post(edge, EMBEDDINGS, {"model": CANARY, "input": "a"}),
        await edge.http.get(f"/v1/models/{CANARY}"),
    ):
        assert check_error(response, 404, "model_not_found")["param"] == "model"


async def test_of_the_protocol(edge: Tenant) -> None:
    http = edge.http
    for path in ("/v1", "/v1/", "/v1/nothing", f"/v1/{CANARY}", "/v1/chat", "/v1/completions", "/v1/responses"):
        check_error(await http.post(path, json={}), 404, "not_found")
    wrong = await http.get(CHAT)
    check_error(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"
    check_error(await http.post(CHAT, content="a=b", headers={"Content-Type": "text/plain"}), 415, "unsupported_type")
    check_error(await http.post(CHAT, json={}, headers={"Content-Encoding": "gzip"}), 415, "unsupported_encoding")
    check_error(await post(edge, CHAT, question("a" * 1_100_000)), 413, "too_large")
    check_error(await http.get("/v1/models?" + "a" * 9000), 414, "url_too_long")
    check_error(await http.get("/v1/models", headers={f"a-{n}": "b" for n in range(120)}), 431, "headers_too_large")
    check_error(await http.get("/v1/models?a=1&a=2"), 400, "duplicate_parameter")
    assert (await http.get("/v2")).headers["content-type"] == "application/problem+json"
    assert (await http.get("/v10/a")).headers["content-type"] == "application/problem+json"


async def test_credentials(edge: Tenant) -> None:
    async with edge.service.client() as http:
        for headers in ({}, {"Authorization": "Bearer rgc_wrong"}, {"Authorization": "Basic a"}):
            refused = await http.get("/v1/models", headers=headers)
            assert check_error(refused, 401, "unauthorized")["type"] == "authentication_error"
            assert "Bearer" in refused.headers["www-authenticate"]
        given = await http.get("/v1/models", headers={"Authorization": f"Bearer {edge.key}", "X-Request-ID": "mine"})
        assert (given.status_code, given.headers["x-request-id"]) == (200, "mine")
        both = {"Authorization": f"Bearer {edge.key}", "X-API-Key": "rgc_other"}
        check_error(await http.get("/v1/models", headers=both), 400, "ambiguous_credentials")


async def test_a_key_for_something_else(edge: Tenant) -> None:
    key = f"rgc_{new_id()}{new_id()}"
    await make_tenant(edge.runtime, new_id(), key, scopes=("ingest",))
    async with client_of(edge, key) as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await client.models.list()
    assert (refused.value.code, refused.value.type) == ("forbidden", "permission_error")


async def test_errors_of_the_client(edge: Tenant) -> None:
    messages: Any = [{"role": "user", "content": "a"}]
    async with client_of(edge, "rgc_wrong") as client:
        with pytest.raises(openai.AuthenticationError) as unknown:
            await client.chat.completions.create(model="ragchat", messages=messages)
    assert (unknown.value.code, unknown.value.request_id is not None) == ("unauthorized", True)
    async with client_of(edge) as client:
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="gpt-4o", messages=messages)
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError) as bad:
            await client.chat.completions.create(model="ragchat", messages=messages, n=3)
        assert (bad.value.code, bad.value.param) == ("unsupported_parameter", "n")


async def test_rate_limit(limited: Service) -> None:
    caller, key = await limited.tenant()
    async with limited.client(key) as http, client_of(Tenant(limited, caller, key, http)) as client:
        raw = await client.models.with_raw_response.list()
        assert raw.headers["ratelimit-policy"] == '"default";q=5;w=60'
        for _ in range(4):
            await client.models.list()
        with pytest.raises(openai.RateLimitError) as refused:
            await client.models.list()
    assert (refused.value.code, refused.value.type) == ("rate_limited", "rate_limit_error")
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60


async def test_a_database_that_does_not_answer(edge: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*_: Any) -> None:
        raise Unavailable("database_busy", retry_after=1)

    with monkeypatch.context() as patched:
        patched.setattr(type(edge.runtime.chat), "ask", busy)
        response = await post(edge, CHAT, question())
    assert check_error(response, 503, "database_busy")["type"] == "server_error"
    assert response.headers["retry-after"] == "1"
