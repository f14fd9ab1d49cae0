"""Bodies that are not JSON, or not what they should be (H31-H39, H44, H47, H19)."""

import json
import time
from typing import Any

import pytest

from tests.api import test_hostile_tools as tools
from tests.api.test_hostile_tools import CANARY, check_problem, raw, request
from tests.conftest import Tenant

edge, unharmed = tools.edge, tools.unharmed
NIL = "00000000-0000-0000-0000-000000000000"
SESSIONS = "/api/v1/sessions"
JSON = {"Content-Type": "application/json"}


async def post(tenant: Tenant, path: str, body: bytes | str | dict[str, Any], method: str = "POST") -> Any:
    content = json.dumps(body) if isinstance(body, dict) else body
    return await tenant.http.request(method, path, content=content, headers=JSON)


@pytest.fixture(scope="module")
async def session(edge: Tenant) -> str:
    return await edge.session()


@pytest.mark.parametrize(
    "body",
    [
        '{"user_id":', f"{{'user_id':'{CANARY}'}}", CANARY, b'\xef\xbb\xbf{"user_id":"a"}',
        '{"user_id":"a"}'.encode("utf-16"), '{"user_id":"é"}'.encode("latin-1"), '{"user_id":"a"} x',
        '{"user_id":"a","metadata":{"a":NaN}}', '{"user_id":"a","metadata":{"a":-Infinity}}',
        '{"user_id":"a","metadata":{"a":1e400}}', '{"user_id":"a","metadata":{"a":' + "1" * 5000 + "}}",
        '{"user_id":"a","user_id":"b"}', '{"user_id":"a","metadata":{"a":1,"a":2}}',
        "[" * 100_000, '{"a":' * 200_000, '{"user_id":"a","metadata":' + '{"a":' * 64 + "1" + "}" * 65,
        json.dumps({"user_id": "a", "metadata": {str(i): 1 for i in range(100_000)}})[:1_000_000],
        json.dumps({"user_id": "a", "metadata": {str(i): 1 for i in range(10_001)}}),
        '{"user_id":"a","metadata":{"a":[' + "1," * 100_001 + "1]}}",
        '"' + '\\"' * 500_000, '["' + "\\\n" * 400_000,
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
async def test_not_json_is_400_within_a_second(edge: Tenant, body: bytes | str) -> None:
    began = time.perf_counter()
    check_problem(await post(edge, SESSIONS, body), 400, "malformed_json")
    assert time.perf_counter() - began < 1


async def test_json_near_the_limits_is_taken(edge: Tenant) -> None:
    metadata = {"deep": json.loads("[" * 60 + "]" * 60), "keys": {str(i): i for i in range(5000)}, "big": 10**63}
    response = await post(edge, SESSIONS, {"user_id": "a", "metadata": metadata})
    assert response.status_code == 201
    assert response.json()["metadata"] == metadata


@pytest.mark.parametrize("body", ["", "[]", "null", "5", '"text"', "true"])
async def test_json_of_another_shape(edge: Tenant, body: str) -> None:
    problem = check_problem(await post(edge, SESSIONS, body), 400, "invalid_request")
    assert problem["errors"][0]["pointer"] == ""


@pytest.mark.parametrize(
    ("path", "body", "pointer", "code"),
    [
        (SESSIONS, {}, "/user_id", "missing"),
        (SESSIONS, {"user_id": [CANARY]}, "/user_id", "wrong_type"),
        (SESSIONS, {"user_id": 5}, "/user_id", "wrong_type"),
        (SESSIONS, {"user_id": "a", "title": True}, "/title", "wrong_type"),
        (SESSIONS, {"user_id": "a", "title": "t" * 501}, "/title", "too_long"),
        (SESSIONS, {"user_id": "a", "metadata": [1]}, "/metadata", "wrong_type"),
        (SESSIONS, {"user_id": "a", "metadata": {"a": "x" * 70_000}}, "/metadata", "too_long"),
        (SESSIONS, {"user_id": "a", "tenant_id": CANARY}, "/tenant_id", "extra_forbidden"),
        (SESSIONS, {"user_id": "a", "id": "1", "created_at": "2020-01-01"}, "/id", "extra_forbidden"),
        (SESSIONS, {"user_id": "a", f"<script>{CANARY}": 1}, "", "extra_forbidden"),
        ("/api/v1/search", {"query": CANARY, "top_k": 5.0}, "/top_k", "wrong_type"),
        ("/api/v1/search", {"query": CANARY, "top_k": "5"}, "/top_k", "wrong_type"),
        ("/api/v1/search", {"query": CANARY, "top_k": True}, "/top_k", "wrong_type"),
        ("/api/v1/search", {"query": CANARY, "top_k": 1000}, "/top_k", "out_of_range"),
        ("/api/v1/search", {"query": CANARY, "top_k": 0}, "/top_k", "out_of_range"),
        ("/api/v1/search", {"query": CANARY, "top_k": 2**63}, "/top_k", "out_of_range"),
        ("/api/v1/search", {"query": CANARY, "mode": CANARY}, "/mode", "not_allowed"),
        ("/api/v1/search", {"query": ["a"]}, "/query", "wrong_type"),
        ("/api/v1/search", {"query": "x" * 20_001}, "/query", "too_long"),
        ("/api/v1/search", {"query": "a", "filters": {"owner": {"$gt": ""}}}, "/filters/owner", "extra_forbidden"),
        ("/api/v1/search", {"query": "a", "filters": {"lang": {"$ne": None}}}, "/filters/lang", "wrong_type"),
        ("/api/v1/search", {"query": "a", "filters": {"document_ids": [CANARY]}}, "/filters/document_ids/0",
         "not_allowed"),
        ("/api/v1/search", {"query": "a", "filters": {"document_ids": ["{" + NIL + "}"]}},
         "/filters/document_ids/0", "not_allowed"),
        ("{session}/chat", {"message": "a", "use_rag": "true"}, "/use_rag", "wrong_type"),
        ("{session}/chat", {"message": "a", "use_rag": 1}, "/use_rag", "wrong_type"),
        ("{session}/chat", {"message": "a", "lang": "te; DROP"}, "/lang", "not_allowed"),
        ("{session}/chat", {"message": " \u200b\u2063\ufe0f\U000e0041 "}, "/message", "empty_content"),
        ("{session}/chat", {"message": "x" * 8001}, "/message", "too_long"),
        ("{session}/messages", {"sender": CANARY, "content": "a"}, "/sender", "not_allowed"),
        ("{session}/messages", {"sender": "user", "content": "a", "seq": 1}, "/seq", "extra_forbidden"),
        ("{session}/messages", {"sender": "user", "content": "a", "sources": [{"text": "a", "score": "0.5"}]},
         "/sources/0/score", "wrong_type"),
        ("{session}/messages", {"sender": "user", "content": "a", "sources": [{"text": "a", "page": "3"}]},
         "/sources/0/page", "wrong_type"),
        ("/api/v1/documents", {"text": 5}, "/text", "wrong_type"),
        ("/api/v1/documents", {"text": "a", "file_uri": f"file:///etc/{CANARY}"}, "/file_uri", "extra_forbidden"),
        ("/api/v1/documents", {"text": "a", "s3_uri": "s3://other/x"}, "/s3_uri", "extra_forbidden"),
        ("/api/v1/documents", {"text": "a", "source": "http://169.254.169.254/"}, "/source", "extra_forbidden"),
        ("/api/v1/documents", {"text": " \u200b\n"}, "/text", "empty_content"),
    ],
)  # fmt: skip
async def test_wrong_field(
    edge: Tenant, session: str, path: str, body: dict[str, Any], pointer: str, code: str
) -> None:
    response = await post(edge, path.replace("{session}", f"{SESSIONS}/{session}"), body)
    error = check_problem(response, 400)["errors"][0]
    assert (error["pointer"], error["code"]) == (pointer, code)


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        (SESSIONS, {"user_id": "a", "title": "a" * 501}, "It may have 500 characters at most."),
        ("/api/v1/search", {"query": "a", "filters": {"document_ids": []}}, "It must have 1 item at least."),
        ("/api/v1/search", {"query": "a", "filters": {"document_ids": [NIL] * 101}}, "It may have 100 items at most."),
        ("/api/v1/search", {"query": "a", "filters": {"document_ids": [NIL.replace("-", "")]}},
         "It must be an id as this service writes them: in lower case, with hyphens."),
        ("/api/v1/search", {"query": "a", "top_k": 51}, "It must be 50 at most."),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_with_its_unit(edge: Tenant, path: str, body: dict[str, Any], detail: str) -> None:
    assert check_problem(await post(edge, path, body), 400)["errors"][0]["detail"] == detail


@pytest.mark.parametrize("favourite", ['"true"', "1", '"yes"', "[]"])
async def test_true_is_true_only(edge: Tenant, session: str, favourite: str) -> None:
    response = await post(edge, f"{SESSIONS}/{session}", f'{{"is_favorite": {favourite}}}', "PUT")
    assert check_problem(response, 400)["errors"][0]["code"] == "wrong_type"


@pytest.mark.parametrize(("escape", "code"), [("\\ud800", "invalid_unicode"), ("\\u0000", "invalid_character")])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", SESSIONS, '{"user_id":"%s"}'),
        ("POST", SESSIONS, '{"user_id":"a","title":"%s"}'),
        ("POST", SESSIONS, '{"user_id":"a","scenario_id":"%s"}'),
        ("POST", SESSIONS, '{"user_id":"a","metadata":{"a":[{"b":"%s"}]}}'),
        ("POST", SESSIONS, '{"user_id":"a","metadata":{"%s":1}}'),
        ("PUT", "{session}", '{"title":"%s"}'),
        ("PUT", "{session}", '{"metadata":{"a":"%s"}}'),
        ("POST", "{session}/messages", '{"sender":"user","content":"%s"}'),
        ("POST", "{session}/messages", '{"sender":"user","content":"a","context_metadata":{"a":"%s"}}'),
        ("POST", "{session}/messages", '{"sender":"user","content":"a","sources":[{"text":"%s"}]}'),
        ("POST", "{session}/messages", '{"sender":"user","content":"a","sources":[{"text":"a","title":"%s"}]}'),
        ("POST", "{session}/messages", '{"sender":"user","content":"a","sources":[{"text":"a","url":"%s"}]}'),
        ("POST", "{session}/chat", '{"message":"%s"}'),
        ("POST", "{session}/chat/stream", '{"message":"%s"}'),
        ("POST", "{session}/chat", '{"message":"a","client_message_id":"%s"}'),
        ("POST", "/api/v1/search", '{"query":"%s"}'),
        ("POST", "/api/v1/search", '{"query":"a","filters":{"collection":"%s"}}'),
        ("POST", "/api/v1/documents", '{"text":"%s"}'),
        ("POST", "/api/v1/documents", '{"text":"a","title":"%s"}'),
        ("POST", "/api/v1/documents", '{"text":"a","external_id":"%s"}'),
        ("POST", "/api/v1/documents", '{"text":"a","collection":"%s"}'),
        ("POST", "/api/v1/documents", '{"text":"a","metadata":{"a":"%s"}}'),
    ],
)
async def test_text_that_cannot_be_stored(
    edge: Tenant, session: str, method: str, path: str, body: str, escape: str, code: str
) -> None:  # fmt: skip
    sent = body % (CANARY + escape)
    check_problem(await post(edge, path.replace("{session}", f"{SESSIONS}/{session}"), sent, method), 400, code)


async def test_name_of_a_field_with_a_lone_surrogate(edge: Tenant) -> None:
    check_problem(await post(edge, SESSIONS, '{"user_id":"a","\\ud800":1}'), 400)
    check_problem(await post(edge, SESSIONS, '{"user_id":"a","\\u0000":1}'), 400)


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "foo/bar+json",
     "application/json,text/plain", "multipart/form-data; boundary=x", "", "application/" + "x+" * 5000 + "json!"],
)  # fmt: skip
@pytest.mark.parametrize("path", [SESSIONS, "/api/v1/search"])
async def test_other_media_types_are_415(edge: Tenant, path: str, media_type: str) -> None:
    response = await edge.http.post(path, content=b'{"user_id":"a"}', headers={"Content-Type": media_type})
    check_problem(response, 415, "unsupported_type")


@pytest.mark.parametrize("path", [SESSIONS, "/api/v1/documents", "/v1/embeddings"])
async def test_json_in_another_encoding_is_415(edge: Tenant, path: str) -> None:
    for charset in ("utf-16", '"ISO-8859-1"', "utf-8; charset=utf-16"):
        headers = {"Content-Type": f"application/json; charset={charset}"}
        assert (await edge.http.post(path, content=b"{}", headers=headers)).status_code == 415
    for charset in ("utf-8", "UTF-8", '"utf-8"', "us-ascii"):
        headers = {"Content-Type": f"application/json;charset={charset}"}
        assert (await edge.http.post(path, content=b"{}", headers=headers)).status_code == 400


async def test_no_media_type_is_415(edge: Tenant) -> None:
    reply = await raw(edge.service.address, request("POST", SESSIONS, edge.key, b'{"user_id":"a"}'))
    check_problem(reply, 415, "unsupported_type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity"])
async def test_compressed_requests_are_415(edge: Tenant, encoding: str) -> None:
    for path in (SESSIONS, "/api/v1/documents"):
        headers = JSON | {"Content-Encoding": encoding}
        response = await edge.http.post(path, content=b"\x1f\x8b" + bytes(100), headers=headers)
        check_problem(response, 415, "unsupported_encoding")


@pytest.mark.parametrize("accept", ["application/xml", "text/html;q=x", "*/*;" * 2000, "\xff"])
async def test_accept_does_not_matter(edge: Tenant, accept: str) -> None:
    response = await edge.http.get(SESSIONS, headers={b"Accept": accept.encode("latin-1")})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE messages;--", "{{7*7}}", "${jndi:ldap://x}", "%s%n", "<script>alert(1)</script>", "$$;SELECT 1",
     "x\nERROR user=admin", "\x1b[31mred\x1b[0m", "\u202egnp.exe", '\\"', "a\r\nSet-Cookie: a=b"],
)  # fmt: skip
async def test_text_is_kept_as_it_is_and_never_logged(edge: Tenant, text: str) -> None:
    text = CANARY + text
    created = await post(edge, SESSIONS, {"user_id": text, "title": text, "metadata": {text: [text]}})
    url = f"{SESSIONS}/{created.json()['id']}"
    message = await post(edge, f"{url}/messages", {"sender": "user", "content": text})
    assert message.headers["x-content-type-options"] == "nosniff"
    read = (await edge.http.get(url)).json()
    assert (read["user_id"], read["title"], read["metadata"]) == (text, text, {text: [text]})
    assert (await edge.http.get(f"{url}/messages")).json()["items"][0]["content"] == text
    assert text in (await edge.http.get(SESSIONS, params={"user_id": text})).json()["items"][0]["user_id"]
