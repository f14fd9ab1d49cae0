"""Who may see and change users, and what a user may see and change elsewhere (H20, H25)."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from app.core.errors import Unauthorized
from app.core.tokens import Tokens
from app.schemas.api_keys import ApiKeyCreate
from app.services import auth
from tests.api import people
from tests.api import test_hostile_tools as tools
from tests.api.people import AUTH, PASSWORD, Join
from tests.api.test_hostile_tools import CANARY, check_problem
from tests.conftest import JWT_SECRET, MakeTenant, Tenant

join, edge, unharmed = people.join, tools.edge, tools.unharmed
API = "/api/v1"
USERS = f"{API}/users"


class TestAdministration:
    async def test_admins_and_keys_list_their_tenant(self, new_tenant: MakeTenant, join: Join) -> None:
        tenant, other = await new_tenant(), await new_tenant()
        admin, user, _ = await join(tenant, "admin"), await join(tenant), await join(other)
        for http in (admin.http, tenant.http):
            listed = (await http.get(USERS)).json()
            assert [(one["id"], one["role"]) for one in listed["items"]] == [(user.id, "user"), (admin.id, "admin")]
            assert listed["total"] == 2
            assert "password" not in str(listed)
            first = (await http.get(f"{USERS}?limit=1")).json()
            rest = (await http.get(f"{USERS}?limit=1&cursor={first['next_cursor']}")).json()
            assert [first["items"][0]["id"], rest["items"][0]["id"], rest["next_cursor"]] == [user.id, admin.id, None]
            assert (await http.get(f"{USERS}/{user.id}")).json()["email"] == user.email

    async def test_a_change_is_made_of_what_was_sent(self, edge: Tenant, join: Join) -> None:
        user = await join(edge)
        url = f"{USERS}/{user.id}"
        named = (await edge.http.patch(url, json={"display_name": "Ravi"})).json()
        assert (named["display_name"], named["role"], named["disabled"]) == ("Ravi", "user", False)
        assert (await edge.http.patch(url, json={"display_name": None})).json()["display_name"] is None
        assert (await edge.http.patch(url, json={"role": None, "disabled": None})).json()["role"] == "user"
        assert (await edge.http.patch(url, json={"disabled": True})).json()["disabled"] is True
        for body in ({"role": "root"}, {"disabled": "yes"}, {"email": "a@b.example"}, {"password_hash": "x"},
                     {"tenant_id": str(uuid4())}, {"scopes": ["admin"]}):  # fmt: skip
            check_problem(await edge.http.patch(url, json=body), 400, "invalid_request")

    async def test_the_last_admin_stays_one(self, new_tenant: MakeTenant, join: Join) -> None:
        tenant = await new_tenant()
        one, two = await join(tenant, "admin"), await join(tenant, "admin")
        assert (await one.http.patch(f"{USERS}/{two.id}", json={"disabled": True})).status_code == 200
        for http in (one.http, tenant.http):
            for body in ({"role": "user"}, {"disabled": True}):
                check_problem(await http.patch(f"{USERS}/{one.id}", json=body), 409, "last_admin")
        assert (await one.http.patch(f"{USERS}/{one.id}", json={"role": "admin"})).status_code == 200

    async def test_two_admins_cannot_depose_each_other_at_once(self, new_tenant: MakeTenant, join: Join) -> None:
        tenant = await new_tenant()
        one, two = await join(tenant, "admin"), await join(tenant, "admin")
        body = {"role": "user"}
        answers = await asyncio.gather(
            one.http.patch(f"{USERS}/{two.id}", json=body), two.http.patch(f"{USERS}/{one.id}", json=body)
        )
        assert sorted(answer.status_code for answer in answers) in ([200, 403], [200, 409])
        roles = [one["role"] for one in (await tenant.http.get(USERS)).json()["items"]]
        assert sorted(roles) == ["admin", "user"]

    async def test_nobody_else_erases_the_last_admin(self, new_tenant: MakeTenant, join: Join) -> None:
        tenant = await new_tenant()
        one, two = await join(tenant, "admin"), await join(tenant, "admin")
        assert (await one.http.delete(f"{USERS}/{two.id}")).status_code == 202
        for http in (tenant.http, one.http):
            check_problem(await http.delete(f"{USERS}/{one.id}"), 409, "last_admin")
        assert (await one.http.get(f"{AUTH}/me")).status_code == 200
        user = await join(tenant)
        assert (await tenant.http.delete(f"{USERS}/{user.id}")).status_code == 202
        assert (await one.http.delete(f"{AUTH}/me")).status_code == 202  # oneself: docs/decisions/0024-erasure.md

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/users", None), ("GET", "/users/{own}", None), ("PATCH", "/users/{own}", {"role": "admin"}),
            ("GET", "/api-keys", None), ("POST", "/api-keys", {"name": "a", "scopes": ["chat"]}),
            ("DELETE", "/api-keys/{own}", None), ("GET", "/webhooks", None),
            ("POST", "/webhooks", {"url": "https://1.1.1.1/"}), ("DELETE", "/webhooks/{own}", None),
            ("POST", "/documents/reindex", {}), ("POST", "/documents/{own}/reindex", None),
        ],
    )  # fmt: skip
    async def test_users_have_no_admin_functions(
        self, edge: Tenant, join: Join, method: str, path: str, body: Any
    ) -> None:
        user = await join(edge)
        check_problem(await user.http.request(method, API + path.format(own=user.id), json=body), 403, "forbidden")


class TestKeysOfAnAdmin:
    """What an admin made does not go on for somebody who is none any more."""

    async def made(self, http: httpx.AsyncClient) -> dict[str, Any]:
        response = await http.post(f"{API}/api-keys", json={"name": "bot", "scopes": ["admin"]})
        assert response.status_code == 201, response.text
        return dict(response.json())

    async def opens(self, tenant: Tenant, key: dict[str, Any]) -> bool:
        async with tenant.service.client(key["key"]) as http:
            return (await http.get(USERS)).status_code == 200

    @pytest.mark.parametrize("body", [{"disabled": True}, {"role": "user"}], ids=str)
    async def test_they_end_with_the_role(self, new_tenant: MakeTenant, join: Join, body: dict[str, Any]) -> None:
        tenant = await new_tenant()
        one, two = await join(tenant, "admin"), await join(tenant, "admin")
        mine, own = await self.made(one.http), await self.made(two.http)
        async with tenant.service.client(own["key"]) as program:
            child = await self.made(program)
        assert child["created_by"] == two.id
        elsewhere = auth.AuthService(tenant.runtime.uow, Tokens(JWT_SECRET, seconds=60))
        for key in (own, child):
            await elsewhere.authenticate(key["key"].encode())
        assert (await one.http.patch(f"{USERS}/{two.id}", json=body)).status_code == 200
        assert [await self.opens(tenant, key) for key in (own, child, mine)] == [False, False, True]
        listed = (await one.http.get(f"{API}/api-keys")).json()["items"]
        assert {key["id"] for key in listed} & {own["id"], child["id"], mine["id"]} == {mine["id"]}
        async with asyncio.timeout(5):  # another process
            for key in (own, child):
                with pytest.raises(Unauthorized):
                    while await elsewhere.authenticate(key["key"].encode()):
                        await asyncio.sleep(0.1)
        assert await _revoked(tenant) == {own["id"], child["id"]}

    async def test_unless_they_are_to_stay(self, new_tenant: MakeTenant, join: Join) -> None:
        tenant = await new_tenant()
        one, two = await join(tenant, "admin"), await join(tenant, "admin")
        own = await self.made(two.http)
        url = f"{USERS}/{two.id}"
        for body in ({"role": "user"}, {"disabled": True}):
            assert (await one.http.patch(f"{url}?keys=keep", json=body)).status_code == 200
        for body in ({"display_name": "Ravi"}, {"disabled": False}, {"role": "admin"}):
            assert (await one.http.patch(url, json=body)).status_code == 200
        assert await self.opens(tenant, own)
        check_problem(await one.http.patch(f"{url}?keys=all", json={"role": "user"}), 400, "invalid_request")
        assert (await one.http.patch(f"{url}?keys=revoke", json={"role": "user"})).status_code == 200
        assert not await self.opens(tenant, own)

    @pytest.mark.parametrize("by_key", [False, True])
    async def test_none_is_made_by_who_is_still_remembered(
        self, new_tenant: MakeTenant, join: Join, by_key: bool
    ) -> None:
        """Another process may know the caller for some seconds more: a key must not outlive those."""
        tenant = await new_tenant()
        await join(tenant, "admin")
        two = await join(tenant, "admin")
        key = (await self.made(two.http))["key"]
        runtime = tenant.runtime
        caller = await runtime.auth.authenticate(key.encode() if by_key else two.token.encode())
        assert (await tenant.http.patch(f"{USERS}/{two.id}", json={"role": "user"})).status_code == 200
        with pytest.raises(Unauthorized):
            await runtime.accounts.api_keys.create(caller, ApiKeyCreate(name="late", scopes=["admin"]))


async def _revoked(tenant: Tenant) -> set[str]:
    sql = text("SELECT object_id FROM audit_log WHERE action = 'key.revoke' AND tenant_id = :tenant")
    async with tenant.runtime.owner.connect() as connection:
        return {*(await connection.execute(sql, {"tenant": tenant.caller.tenant_id})).scalars()}


class TestSessions:
    async def test_they_are_the_callers_own(self, edge: Tenant, join: Join) -> None:
        user, other = await join(edge), await join(edge)
        for body in ({}, {"user_id": user.id}):
            assert (await user.http.post(f"{API}/sessions", json=body)).json()["user_id"] == user.id
        for name in (other.id, "ravi", user.id.upper(), user.email):
            check_problem(await user.http.post(f"{API}/sessions", json={"user_id": name}), 403, "foreign_user")
        theirs = await other.session()
        assert (await user.http.get(f"{API}/sessions?user_id={other.id}")).json()["total"] == 0
        assert theirs not in str((await user.http.get(f"{API}/sessions")).json())
        assert (await user.http.get(f"{API}/sessions")).json()["total"] == 2

    async def test_a_key_opens_one_for_them_and_needs_a_name(self, edge: Tenant, join: Join) -> None:
        user = await join(edge)
        session = await edge.session(user_id=user.id)
        assert (await user.http.get(f"{API}/sessions/{session}")).json()["user_id"] == user.id
        problem = check_problem(await edge.http.post(f"{API}/sessions", json={}), 400, "invalid_request")
        assert problem["errors"][0]["code"] == "missing"

    @pytest.mark.parametrize("role", ["user", "admin"])
    async def test_everything_below_anothers_is_not_there(self, edge: Tenant, join: Join, role: str) -> None:
        owner, other = await join(edge), await join(edge, role)
        session = await owner.session()
        answer = (await owner.http.post(f"{API}/sessions/{session}/chat", json={"message": "Hello?"})).json()
        ids = {"session": session, "turn": answer["turn_id"], "message": answer["id"]}
        for method, path, body in (
            ("GET", "/sessions/{session}", None), ("PUT", "/sessions/{session}", {"title": "mine"}),
            ("DELETE", "/sessions/{session}", None), ("PATCH", "/sessions/{session}/favorite", None),
            ("GET", "/sessions/{session}/export", None), ("GET", "/sessions/{session}/messages", None),
            ("POST", "/sessions/{session}/messages", {"sender": "user", "content": "a"}),
            ("POST", "/sessions/{session}/chat", {"message": "a"}),
            ("POST", "/sessions/{session}/chat/stream", {"message": "a"}),
            ("GET", "/turns/{turn}", None), ("GET", "/turns/{turn}/events", None), ("GET", "/turns/{turn}/trace", None),
            ("POST", "/turns/{turn}/replay", None), ("POST", "/turns/{turn}/cancel", None),
            ("POST", "/turns/{turn}/retry", None), ("PUT", "/messages/{message}/feedback", {"rating": "up"}),
        ):  # fmt: skip
            answers = []
            for known in (ids, dict.fromkeys(ids, str(uuid4()))):
                problem = check_problem(await other.http.request(method, API + path.format(**known), json=body), 404)
                answers.append({k: v for k, v in problem.items() if k not in ("instance", "request_id")})
            assert answers[0] == answers[1], path
        kept = (await owner.http.get(f"{API}/sessions/{session}")).json()
        assert (kept["title"], kept["is_favorite"]) == (None, False)
        assert (await owner.http.get(f"{API}/sessions/{session}/messages")).json()["total"] == 2


class TestDocuments:
    async def test_own_ones_and_shared_ones_and_nobody_elses(self, new_tenant: MakeTenant, join: Join) -> None:
        tenant = await new_tenant()
        admin, user, other = await join(tenant, "admin"), await join(tenant), await join(tenant)
        shared = await admin.as_tenant.add_text("The gull eats fish.", title="shared")
        own = await user.as_tenant.add_text("The gull eats crabs.", title="own")
        theirs = await other.as_tenant.add_text("The gull eats chips.", title="theirs")
        by_key = await tenant.add_text("The gull eats bread.", title="by key")
        for person, seen in ((user, {"shared", "own", "by key"}), (admin, {"shared", "by key"})):
            listed = (await person.http.get(f"{API}/documents")).json()["items"]
            assert {document["title"] for document in listed} == seen
            for mode in ("hybrid", "text", "vector"):
                body = {"query": "What does the gull eat?", "mode": mode, "top_k": 50}
                found = (await person.http.post(f"{API}/search", json=body)).json()["items"]
                assert {source["title"] for source in found} == seen
            named = {"query": "gull", "filters": {"document_ids": [theirs["id"]]}}
            check_problem(await person.http.post(f"{API}/search", json=named), 404, "unknown_document")
            asked = {"message": "What does the gull eat?", "document_ids": [theirs["id"]]}
            path = f"{API}/sessions/{await person.session()}/chat"
            check_problem(await person.http.post(path, json=asked), 404, "unknown_document")
            for path in ("", "/chunks", "/content", "/link", "/events"):
                check_problem(await person.http.get(f"{API}/documents/{theirs['id']}{path}"), 404)
            check_problem(await person.http.delete(f"{API}/documents/{theirs['id']}"), 404, "document_not_found")
        for document in (shared, by_key):
            check_problem(await user.http.delete(f"{API}/documents/{document['id']}"), 403, "forbidden")
        reindex = f"{API}/documents/{shared['id']}/reindex"
        assert (await admin.http.post(reindex)).status_code == 202
        assert (await admin.http.post(f"{API}/documents/{theirs['id']}/reindex")).status_code == 404
        assert (await admin.http.post(f"{API}/documents/reindex", json={})).json()["queued"] <= 2
        assert (await user.http.delete(f"{API}/documents/{own['id']}")).status_code == 204
        assert (await admin.http.delete(f"{API}/documents/{by_key['id']}")).status_code == 204
        assert (await tenant.http.get(f"{API}/documents/{theirs['id']}")).json()["version"] == 1

    async def test_the_same_bytes_are_another_document_for_another_owner(self, edge: Tenant, join: Join) -> None:
        user, other = await join(edge), await join(edge)
        text = {"title": "a", "text": f"Said twice {uuid4()}.", "external_id": str(uuid4())}
        ids = set()
        for http in (edge.http, user.http, other.http):
            made = await http.post(f"{API}/documents", json=text)
            assert (made.status_code, made.json()["version"]) == (202, 1)
            assert (await http.post(f"{API}/documents", json=text)).json()["id"] == made.json()["id"]
            ids.add(made.json()["id"])
        assert len(ids) == 3

    async def test_answers_to_a_key_are_made_of_what_the_sessions_user_may_read(
        self, new_tenant: MakeTenant, join: Join
    ) -> None:
        """Who may ask for everybody must not put one user's documents into another one's session."""
        tenant = await new_tenant()
        user, other = await join(tenant), await join(tenant)
        await user.as_tenant.add_text("The password of the shed is swordfish.", title="shed")
        for name, knows in ((user.id, True), (other.id, False), ("ravi", False)):
            session = await tenant.session(user_id=name)
            path = f"{API}/sessions/{session}/chat"
            answer = (await tenant.http.post(path, json={"message": "What is the password of the shed?"})).json()
            assert ("swordfish" in str(answer)) == knows
            again = (await tenant.http.post(f"{API}/turns/{answer['turn_id']}/replay")).json()
            assert again["same"] is True
        body = {"model": "ragchat", "messages": [{"role": "user", "content": "What is the password of the shed?"}]}
        assert "swordfish" not in (await other.http.post("/v1/chat/completions", json=body)).text
        assert "swordfish" in (await user.http.post("/v1/chat/completions", json=body)).text

    async def test_a_source_of_a_message_is_one_that_can_be_read(self, edge: Tenant, join: Join) -> None:
        user, other = await join(edge), await join(edge)
        theirs = await other.as_tenant.add_text(f"Nobody else's {uuid4()}.")
        path = f"{API}/sessions/{await user.session()}/messages"
        for id_ in (theirs["id"], str(uuid4())):
            body = {"sender": "assistant", "content": "a", "sources": [{"text": "a", "document_id": id_}]}
            check_problem(await user.http.post(path, json=body), 404, "unknown_document")
        own = await user.as_tenant.add_text(f"My own {uuid4()}.")
        body = {"sender": "assistant", "content": "a", "sources": [{"text": "a", "document_id": own["id"]}]}
        assert (await user.http.post(path, json=body)).json()["seq"] == 1


class TestElsewhere:
    async def test_openai_clients_are_the_user_whoever_they_name(self, edge: Tenant, join: Join) -> None:
        user, other = await join(edge), await join(edge)
        body = {"model": "ragchat-plain", "messages": [{"role": "user", "content": "Hello?"}], "user": other.id}
        assert (await user.http.post("/v1/chat/completions", json=body)).status_code == 200
        assert (await user.http.get(f"{API}/sessions")).json()["items"][0]["user_id"] == user.id
        assert (await other.http.get(f"{API}/sessions")).json()["total"] == 0

    async def test_usage_and_limits_are_their_own(self, edge: Tenant, join: Join) -> None:
        user, other = await join(edge), await join(edge)
        for group in ("user", "key", "session"):
            assert (await user.http.get(f"{API}/usage?group_by={group}")).json()["items"] == []
        check_problem(await user.http.get(f"{API}/usage/limits?user_id={other.id}"), 403, "foreign_user")

    async def test_idempotency_keys_are_their_own(self, edge: Tenant, join: Join) -> None:
        user, other = await join(edge), await join(edge)
        headers = {"Idempotency-Key": CANARY}
        made = [await http.post(f"{API}/sessions", json={}, headers=headers) for http in (user.http, other.http)]
        assert made[0].json()["id"] != made[1].json()["id"]
        again = await user.http.post(f"{API}/sessions", json={}, headers=headers)
        assert again.content == made[0].content

    async def test_me(self, edge: Tenant, join: Join) -> None:
        admin = await join(edge, "admin")
        me = (await admin.http.get(f"{AUTH}/me")).json()
        assert (me["id"], me["role"], me["scopes"]) == (admin.id, "admin", ["admin", "chat", "ingest"])
        assert PASSWORD not in str(me)
