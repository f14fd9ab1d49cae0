import asyncio

from app.core.ids import new_id
from tests.api.test_hostile_tools import check_problem
from tests.conftest import MakeTenant, Tenant

SESSIONS = "/api/v1/sessions"


class TestCreate:
    async def test_answers_201_with_location_and_etag(self, tenant: Tenant) -> None:
        body = {"user_id": "ravi", "title": "Leave", "metadata": {"channel": "web", "tags": ["a"]}}
        response = await tenant.http.post(SESSIONS, json=body)
        session = response.json()
        assert response.status_code == 201
        assert response.headers["Location"] == f"{SESSIONS}/{session['id']}"
        assert response.headers["ETag"] == '"1"'
        assert (session["title"], session["is_favorite"], session["metadata"]) == ("Leave", False, body["metadata"])
        assert session["id"][14] == "7"
        assert session["created_at"].endswith("Z")

    async def test_unknown_field_is_refused(self, tenant: Tenant) -> None:
        response = await tenant.http.post(SESSIONS, json={"user_id": "ravi", "role": "admin"})
        problem = response.json()
        assert (response.status_code, problem["errors"][0]["pointer"]) == (400, "/role")
        assert problem["errors"][0]["code"] == "extra_forbidden"


class TestList:
    async def test_newest_activity_first_and_pages_fit_together(self, tenant: Tenant) -> None:
        ids = [await tenant.session(title=f"t{i}") for i in range(5)]
        await tenant.http.post(f"{SESSIONS}/{ids[0]}/messages", json={"sender": "user", "content": "hello"})
        expected = [ids[0], *reversed(ids[1:])]
        whole = (await tenant.http.get(SESSIONS)).json()
        assert [item["id"] for item in whole["items"]] == expected
        assert (whole["total"], whole["skip"], whole["limit"], whole["next_cursor"]) == (5, 0, 50, None)
        by_skip = (await tenant.http.get(SESSIONS, params={"skip": 2, "limit": 2})).json()
        assert [item["id"] for item in by_skip["items"]] == expected[2:4]

    async def test_cursor_stays_right_while_sessions_come(self, tenant: Tenant) -> None:
        ids = [await tenant.session() for _ in range(4)]
        first = (await tenant.http.get(SESSIONS, params={"limit": 2})).json()
        await tenant.session()
        second = (await tenant.http.get(SESSIONS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert [i["id"] for i in first["items"] + second["items"]] == [*reversed(ids)]
        assert second["next_cursor"] is None

    async def test_filters_and_search(self, tenant: Tenant) -> None:
        a = await tenant.session(user_id="asha", title="100% cotton")
        b = await tenant.session(user_id="ravi", scenario_id="refund")
        await tenant.http.patch(f"{SESSIONS}/{a}/favorite")
        await tenant.http.post(f"{SESSIONS}/{b}/messages", json={"sender": "user", "content": "where is my parcel"})

        async def found(**params: str) -> list[str]:
            return [item["id"] for item in (await tenant.http.get(SESSIONS, params=params)).json()["items"]]

        assert await found(user_id="asha") == [a]
        assert await found(is_favorite="true") == [a]
        assert await found(scenario_id="refund") == [b]
        assert await found(q="0% c") == [a]
        assert await found(q="parcel") == [b]
        assert await found(q="_") == []


class TestUpdate:
    async def test_only_what_was_sent_changes(self, tenant: Tenant) -> None:
        id_ = await tenant.session(title="old", metadata={"a": 1})
        response = await tenant.http.put(f"{SESSIONS}/{id_}", json={"title": "new"})
        assert response.headers["ETag"] == '"2"'
        assert (response.json()["title"], response.json()["metadata"]) == ("new", {"a": 1})

    async def test_stale_if_match_is_412(self, tenant: Tenant) -> None:
        id_ = await tenant.session()
        await tenant.http.put(f"{SESSIONS}/{id_}", json={"title": "one"}, headers={"If-Match": '"1"'})
        response = await tenant.http.put(f"{SESSIONS}/{id_}", json={"title": "two"}, headers={"If-Match": '"1"'})
        assert (response.status_code, response.json()["code"]) == (412, "stale_version")

    async def test_a_weak_one_matches_nothing(self, tenant: Tenant) -> None:
        """If-Match compares strongly (RFC 9110, 13.1.1)."""
        id_ = await tenant.session()
        for etag, status in (('W/"1"', 412), ('"1"', 200)):
            response = await tenant.http.put(f"{SESSIONS}/{id_}", json={"title": "a"}, headers={"If-Match": etag})
            assert response.status_code == status

    async def test_favorite_toggles(self, tenant: Tenant) -> None:
        id_ = await tenant.session()
        marks = [(await tenant.http.patch(f"{SESSIONS}/{id_}/favorite")).json()["is_favorite"] for _ in range(3)]
        assert marks == [True, False, True]

    async def test_favorite_is_told_nothing(self, tenant: Tenant) -> None:
        """Whoever says which of the two it should be would get the other one half of the time."""
        id_ = await tenant.session()
        path = f"{SESSIONS}/{id_}/favorite"
        for refused in (
            await tenant.http.patch(path, json={"is_favorite": False}),
            await tenant.http.patch(path, params={"is_favorite": "false"}),
        ):
            problem = check_problem(refused, 400, "invalid_request")
            assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [("/is_favorite", "extra_forbidden")]
        check_problem(await tenant.http.patch(path, json=[]), 400, "invalid_request")
        check_problem(await tenant.http.patch(path, content=b"on"), 400, "malformed_json")
        assert (await tenant.http.get(f"{SESSIONS}/{id_}")).json()["is_favorite"] is False
        assert (await tenant.http.patch(path, json={})).json()["is_favorite"] is True


class TestDelete:
    async def test_takes_messages_with_it(self, tenant: Tenant) -> None:
        id_ = await tenant.session()
        await tenant.http.post(f"{SESSIONS}/{id_}/messages", json={"sender": "user", "content": "hello"})
        assert (await tenant.http.delete(f"{SESSIONS}/{id_}")).status_code == 204
        for path in (f"{SESSIONS}/{id_}", f"{SESSIONS}/{id_}/messages"):
            assert (await tenant.http.get(path)).status_code == 404
        assert (await tenant.http.delete(f"{SESSIONS}/{id_}")).status_code == 404


class TestForeign:
    async def test_another_tenants_session_looks_like_an_unknown_one(self, new_tenant: MakeTenant) -> None:
        mine, other = await new_tenant(), await new_tenant()
        theirs = await other.session()
        for method, suffix, body in (
            ("GET", "", None),
            ("PUT", "", {"title": "x"}),
            ("DELETE", "", None),
            ("PATCH", "/favorite", None),
            ("GET", "/messages", None),
            ("POST", "/messages", {"sender": "user", "content": "x"}),
            ("GET", "/export", None),
            ("POST", "/chat", {"message": "x"}),
            ("POST", "/chat/stream", {"message": "x"}),
        ):
            answers = []
            for id_ in (theirs, str(new_id())):
                response = await mine.http.request(method, f"{SESSIONS}/{id_}{suffix}", json=body)
                problem = response.json()
                answers.append((response.status_code, problem["code"], problem["detail"], problem["title"]))
            assert answers[0] == answers[1]
            assert answers[0][0] == 404
        assert (await other.http.get(f"{SESSIONS}/{theirs}")).json()["title"] is None


class TestMessages:
    async def test_a_thousand_from_fifty_clients_get_seq_1_to_1000(self, tenant: Tenant) -> None:
        id_ = await tenant.session()

        async def client(number: int) -> list[int]:
            async with tenant.service.client(tenant.key) as http:
                taken = []
                for i in range(20):
                    body = {"sender": "user", "content": f"{number}-{i}"}
                    response = await http.post(f"{SESSIONS}/{id_}/messages", json=body)
                    assert response.status_code == 201, response.text
                    taken.append(response.json()["seq"])
                return taken

        taken = [seq for seqs in await asyncio.gather(*map(client, range(50))) for seq in seqs]
        assert sorted(taken) == [*range(1, 1001)]
        read, cursor = [], None
        while True:
            params = {"limit": 200} | ({"cursor": cursor} if cursor else {})
            page = (await tenant.http.get(f"{SESSIONS}/{id_}/messages", params=params)).json()
            read += [message["seq"] for message in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert read == [*range(1, 1001)]

    async def test_context_and_sources_come_back(self, tenant: Tenant) -> None:
        id_ = await tenant.session()
        source = {"title": "Handbook", "page": 12, "text": "20 days of leave.", "score": 0.8, "char_start": 5}
        body = {
            "sender": "assistant",
            "content": "You get 20 days.",
            "context_metadata": {"model": "elsewhere"},
            "sources": [source, {"text": "second"}],
        }
        created = (await tenant.http.post(f"{SESSIONS}/{id_}/messages", json=body)).json()
        (read,) = (await tenant.http.get(f"{SESSIONS}/{id_}/messages")).json()["items"]
        assert created == read
        assert read["context_metadata"] == {"model": "elsewhere"}
        assert [s["n"] for s in read["sources"]] == [1, 2]
        assert {key: read["sources"][0][key] for key in source} == source

    async def test_descending_pages(self, tenant: Tenant) -> None:
        id_ = await tenant.session()
        for i in range(5):
            await tenant.http.post(f"{SESSIONS}/{id_}/messages", json={"sender": "user", "content": str(i)})
        path = f"{SESSIONS}/{id_}/messages"
        first = (await tenant.http.get(path, params={"order": "desc", "limit": 3})).json()
        second = (await tenant.http.get(path, params={"order": "desc", "cursor": first["next_cursor"]})).json()
        assert [m["seq"] for m in first["items"] + second["items"]] == [5, 4, 3, 2, 1]


class TestExport:
    async def test_json_markdown_and_csv(self, tenant: Tenant) -> None:
        id_ = await tenant.session(title="Leave")
        formula = '=HYPERLINK("http://x")'
        source = {"title": "Handbook", "page": 3, "text": "t"}
        path = f"{SESSIONS}/{id_}/messages"
        await tenant.http.post(path, json={"sender": "user", "content": formula})
        await tenant.http.post(path, json={"sender": "assistant", "content": "20 days", "sources": [source]})
        export = f"{SESSIONS}/{id_}/export"
        data = (await tenant.http.get(export)).json()
        assert [m["content"] for m in data["messages"]] == [formula, "20 days"]
        markdown = (await tenant.http.get(export, params={"format": "markdown"})).text
        assert markdown.startswith("# Leave\n")
        assert "> [1] Handbook, page 3" in markdown
        response = await tenant.http.get(export, params={"format": "csv"})
        assert '"\'=HYPERLINK(""http://x"")"' in response.text
        assert response.headers["content-disposition"].startswith("attachment")
