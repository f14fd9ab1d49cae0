"""Ids, pages, cursors, conditions and search text (H26, H27, H45, H46, H49, H52, H55)."""

import base64
import csv
import io
import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.api import test_hostile_tools as tools
from tests.api.test_hostile_tools import CANARY, check_problem, raw, request
from tests.conftest import MakeTenant, Tenant

edge, unharmed = tools.edge, tools.unharmed
SESSIONS, DOCUMENTS, SEARCH = "/api/v1/sessions", "/api/v1/documents", "/api/v1/search"
NIL = "00000000-0000-0000-0000-000000000000"
LISTS = (SESSIONS, DOCUMENTS, f"{SESSIONS}/{{session}}/messages")


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.fixture(scope="module")
async def session(edge: Tenant) -> str:
    return await edge.session()


@pytest.fixture(scope="module")
async def asked(edge: Tenant) -> Tenant:
    await edge.add_text("The pomegranate costs five rupees.\n\nదానిమ్మ ఐదు రూపాయలు.")
    return edge


class TestIds:
    @pytest.mark.parametrize(
        "id_",
        ["0", "-1", "1e9", "1;DROP", "%00", "%0a", "a" * 500, "a" * 5000, "..%2f", "%2e%2e", "null", "*", "{id}",
         CANARY, NIL, NIL.replace("-", ""), f"%7B{NIL}%7D", f"urn:uuid:{NIL}", "%ff", "%F0%9F%92%A9",
         "ABCDEFAB" + NIL[8:]],
    )  # fmt: skip
    @pytest.mark.parametrize(
        ("method", "path", "code"),
        [
            ("GET", f"{SESSIONS}/%s", "session_not_found"),
            ("DELETE", f"{SESSIONS}/%s", "session_not_found"),
            ("GET", f"{SESSIONS}/%s/messages", "session_not_found"),
            ("GET", f"{DOCUMENTS}/%s", "document_not_found"),
            ("GET", f"{DOCUMENTS}/%s/content", "document_not_found"),
            ("GET", "/api/v1/turns/%s", "turn_not_found"),
            ("POST", "/api/v1/turns/%s/cancel", "turn_not_found"),
        ],
    )
    async def test_what_is_no_id_names_nothing(self, edge: Tenant, method: str, path: str, code: str, id_: str) -> None:
        """404 for all of them; a slash or dots within make another address."""
        problem = check_problem(await raw(edge.service.address, request(method, path % id_, edge.key)), 404)
        assert problem["code"] in ({code, "not_found"} if "%2" in id_ else {code})

    async def test_an_id_has_one_spelling(self, edge: Tenant, session: str) -> None:
        assert (await edge.http.get(f"{SESSIONS}/{session}")).status_code == 200
        for other in (
            session.upper(),
            session.replace("-", ""),
            f"{{{session}}}",
            f"urn:uuid:{session}",
            f"{session} ",
        ):
            check_problem(await edge.http.get(f"{SESSIONS}/{quote(other)}"), 404, "session_not_found")


class TestPages:
    @pytest.mark.parametrize("path", LISTS)
    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("limit=-1", "out_of_range"), ("limit=0", "out_of_range"), ("limit=201", "out_of_range"),
            ("limit=1000000000", "out_of_range"), ("limit=abc", "wrong_type"), ("limit=5.0", "wrong_type"),
            ("limit=1_0", "wrong_type"), ("limit=%205", "wrong_type"), ("limit=", "wrong_type"),
            ("limit=0x5", "wrong_type"), ("limit=1e2", "wrong_type"), ("limit=%D9%A5", "wrong_type"),
            ("limit=" + "9" * 5000, "wrong_type"), ("skip=-1", "out_of_range"), ("skip=99999999999", "out_of_range"),
            (f"limit={CANARY}", "wrong_type"), ("limit[]=5&limit=x", "wrong_type"),
        ],
    )  # fmt: skip
    async def test_numbers(self, edge: Tenant, session: str, path: str, query: str, code: str) -> None:
        problem = check_problem(await edge.http.get(f"{path.format(session=session)}?{query}"), 400, "invalid_request")
        assert [error["code"] for error in problem["errors"]] == [code]

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("limit=10&limit=20", "duplicate_parameter"), ("limit=10&%6cimit=10", "duplicate_parameter"),
            ("q=%00", "invalid_character"), ("q=a%00b", "invalid_character"), ("%00=1", "invalid_character"),
            ("unknown=%00", "invalid_character"), ("q=%ff", "invalid_unicode"), ("q=%ed%a0%80", "invalid_unicode"),
            ("q=%c0%af", "invalid_unicode"), ("q=" + "a" * 201, "too_long"), (f"cursor={CANARY}", "invalid_cursor"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("path", [SESSIONS, DOCUMENTS])
    async def test_queries(self, edge: Tenant, path: str, query: str, code: str) -> None:
        check_problem(await edge.http.get(f"{path}?{query}"), 400, code)

    async def test_repeated_parameters_of_every_route(self, edge: Tenant, session: str) -> None:
        for path in (
            f"{SESSIONS}/{session}/export?format=csv&format=json",
            f"/api/v1/turns/{NIL}/events?after=1&after=2",
        ):
            check_problem(await edge.http.get(path), 400, "duplicate_parameter")

    @pytest.mark.parametrize("query", ["status=nope", "status=ready'--", "order=sideways", "format=exe"])
    async def test_choices(self, edge: Tenant, session: str, query: str) -> None:
        suffix = {"s": DOCUMENTS, "o": f"{SESSIONS}/{session}/messages", "f": f"{SESSIONS}/{session}/export"}[query[0]]
        error = check_problem(await edge.http.get(f"{suffix}?{query}"), 400, "invalid_request")["errors"][0]
        assert error["code"] == "not_allowed"

    async def test_search_in_lists_takes_text_literally(self, edge: Tenant) -> None:
        for q in ("%", "_", "\\", "'", "'; DROP TABLE sessions;--", "%25%27", "((((", "\u202e", "😀" * 200):
            for path in (SESSIONS, DOCUMENTS):
                response = await edge.http.get(path, params={"q": q + CANARY})
                expected = 200 if len(q + CANARY) <= 200 else 400
                assert response.status_code == expected, q


class TestCursors:
    @pytest.mark.parametrize(
        "value",
        ["", "x", "====", "é", "%2B%2F", "a" * 501, cursor(), cursor(1, 2), cursor("a", "b"), cursor("2024-01-01", NIL),
         cursor("2024-01-01T00:00:00+00:00", "x"), cursor("2024-01-01T00:00:00+00:00", NIL, NIL),
         cursor(["a"], {"b": 1}),
         cursor("2024-01-01T00:00:00+00:00' OR 1=1--", NIL), cursor("-1"), cursor("1.0"),
         cursor("١"), cursor("9" * 19),
         base64.urlsafe_b64encode(b"[" * 300).decode(), base64.urlsafe_b64encode(b"\xff" * 30).decode(),
         base64.urlsafe_b64encode(b'["' + b"1" * 200 + b'"]').decode(), "null", "bnVsbA", "e30"],
    )  # fmt: skip
    @pytest.mark.parametrize("path", LISTS)
    async def test_forged(self, edge: Tenant, session: str, path: str, value: str) -> None:
        response = await edge.http.get(path.format(session=session), params={"cursor": value})
        assert check_problem(response, 400)["errors"][0]["pointer"] == "/cursor"

    @pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
    @pytest.mark.parametrize("path", [SESSIONS, DOCUMENTS])
    async def test_times_at_the_ends_of_the_calendar(self, new_tenant: MakeTenant, path: str, moment: str) -> None:
        response = await (await new_tenant()).http.get(path, params={"cursor": cursor(moment, NIL)})
        check_problem(response, 400, "invalid_cursor")

    async def test_of_another_list(self, edge: Tenant, session: str) -> None:
        for text in ("one", "two"):
            body = {"sender": "user", "content": text}
            await edge.http.post(f"{SESSIONS}/{session}/messages", json=body)
        page = (await edge.http.get(f"{SESSIONS}/{session}/messages", params={"limit": 1})).json()
        check_problem(await edge.http.get(SESSIONS, params={"cursor": page["next_cursor"]}), 400, "invalid_cursor")
        check_problem(await edge.http.get(f"{DOCUMENTS}/{NIL}/chunks", params={"cursor": "x"}), 400, "invalid_cursor")
        both = {"cursor": page["next_cursor"], "skip": 1}
        check_problem(await edge.http.get(f"{SESSIONS}/{session}/messages", params=both), 400)

    async def test_of_another_tenant_opens_nothing(self, edge: Tenant, new_tenant: MakeTenant) -> None:
        other = await new_tenant()
        theirs = {await other.session() for _ in range(3)}
        foreign = (await other.http.get(SESSIONS, params={"limit": 1})).json()["next_cursor"]
        items = (await edge.http.get(SESSIONS, params={"cursor": foreign})).json()["items"]
        assert not theirs & {item["id"] for item in items}


class TestConditions:
    @pytest.mark.parametrize("value", ['"x"', "x", '"-1"', '"1", "2"', '"99999999999"', '"1.0"', '"١"', CANARY, '""'])
    async def test_if_match_that_is_no_etag_of_ours(self, edge: Tenant, session: str, value: str) -> None:
        headers = {b"If-Match": value.encode()}
        response = await edge.http.put(f"{SESSIONS}/{session}", json={"title": "t"}, headers=headers)
        check_problem(response, 400, "invalid_etag")

    @pytest.mark.parametrize(
        "value",
        ["x", f"{NIL}.x", f"{NIL}.-1", f"{NIL}.99999999999", "a" * 101, "8c8f3a3e-5f3c-7cde-9a10-3b1f2c4d5e6f.1"],
    )
    async def test_last_event_id(self, edge: Tenant, session: str, value: str) -> None:
        answer = await edge.http.post(f"{SESSIONS}/{session}/chat", json={"message": "hello", "use_rag": False})
        path = f"/api/v1/turns/{answer.json()['turn_id']}/events"
        check_problem(await edge.http.get(path, headers={"Last-Event-ID": value}), 400)
        check_problem(await edge.http.get(path, params={"after": "-1"}), 400)

    async def test_range_flood(self, edge: Tenant) -> None:
        document = await edge.add_text("Ten bytes!")
        url = f"{DOCUMENTS}/{document['id']}/content"
        for value, status in (
            ("bytes=" + "0-," * 10_000, 200), ("bytes=0-0,2-2", 200), ("lines=1-2", 200), ("bytes=-", 200),
            ("bytes=" + "9" * 30 + "-", 200), ("bytes=٣-", 200), ("bytes=5-2", 416), ("bytes=10-", 416),
            ("bytes=-0", 416),
        ):  # fmt: skip
            began = time.perf_counter()
            response = await edge.http.get(url, headers={b"Range": value.encode()})
            assert response.status_code == status, value[:20]
            assert time.perf_counter() - began < 0.5
            if status == 416:
                check_problem(response, 416, "invalid_range")
                assert response.headers["content-range"] == "bytes */10"
            else:
                assert response.content == b"Ten bytes!"


class TestSearchText:
    @pytest.mark.parametrize(
        "query",
        [
            "'", '"', "\\", "%_", ":*", "pomegranate:*", "a & | !", "((((", "<->", "!!", "-" * 40, "- - -",
            "the of and", "😀" * 50, "مرحبا بالعالم", "\u200bx\u200d", "x" * 20_000, "a " * 10_000,
            "'; DROP TABLE chunks;--", "\u202eabc", "a\nb\tc", "\\' OR 1=1", "it''s", "$1",
            ":question", "%(a)s", "{{7*7}}", "Z\u0351\u036b" * 500,
            "𝕬𝖇𝖈", "\ufffd", "a.b.c.d@e/f?g=h", "http://" + "a" * 3000, " ".join(f"w{i}" for i in range(3000)),
        ],
        ids=lambda query: repr(query[:16]),
    )  # fmt: skip
    @pytest.mark.parametrize("mode", ["hybrid", "text", "vector"])
    async def test_any_text_is_searched(self, asked: Tenant, query: str, mode: str) -> None:
        began = time.perf_counter()
        response = await asked.http.post(SEARCH, json={"query": query, "mode": mode, "top_k": 50})
        assert response.status_code == 200, response.text
        assert time.perf_counter() - began < 2
        assert all(-1 <= item["score"] <= 1 for item in response.json()["items"])

    @pytest.mark.parametrize(
        "query", ['"pomegranate"', "pomegranate & !!", "((pomegranate", "pomegranate:* \\", "-pomegranate'"]
    )
    async def test_signs_do_not_hide_words(self, asked: Tenant, query: str) -> None:
        found = (await asked.http.post(SEARCH, json={"query": query, "mode": "text"})).json()["items"]
        assert "pomegranate" in found[0]["text"]

    async def test_formulas_leave_as_text(self, edge: Tenant) -> None:
        session = await edge.session()
        formulas = ['=HYPERLINK("http://x")', "+cmd|' /C calc'!A0", "-1+1", "@SUM(1)", "\t=1", "\r=1", " =1"]
        for content in formulas:
            body = {"sender": "user", "content": content, "sources": [{"text": "t", "title": content}]}
            assert (await edge.http.post(f"{SESSIONS}/{session}/messages", json=body)).status_code == 201
        export = f"{SESSIONS}/{session}/export"
        rows = [*csv.reader(io.StringIO((await edge.http.get(export, params={"format": "csv"})).text, newline=""))][1:]
        assert [row[3] for row in rows] == [f"'{content}" for content in formulas]
        assert not [
            cell for row in rows for cell in row if cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
        ]
        data = (await edge.http.get(export)).json()
        assert [message["content"] for message in data["messages"]] == formulas
