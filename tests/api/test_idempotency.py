"""P4, H50: a request with an Idempotency-Key is carried out once, and answered alike however often it comes."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from app.api.idempotency import HEADER, KEY, REPLAYED
from app.core.caller import Caller
from app.core.errors import Conflict
from app.core.idempotency import Claim, Reply
from app.core.ids import new_id
from app.core.security import key_digest, new_key
from app.services.idempotency import AlreadyDone, once
from tests.api.test_hostile_tools import check_problem, raw, request
from tests.conftest import MakeTenant, Service, Tenant, make_settings, serving

SESSIONS, DOCUMENTS, WEBHOOKS = "/api/v1/sessions", "/api/v1/documents", "/api/v1/webhooks"
SAID = {"sender": "user", "content": "How many days of leave do I get?"}
ASKED = {"message": "When do you open?"}
HOOK = {"url": "https://1.1.1.1/hook"}
NOTE = {"title": "Hours", "text": "We are open from 9 to 6."}


@dataclass(frozen=True)
class Post:
    """A request as httpx takes it, and what another one with the same key would send."""

    path: str
    sent: dict[str, Any]
    other: dict[str, Any] | None = None
    other_path: str | None = None

    async def send(self, http: httpx.AsyncClient, key: str | None = None) -> httpx.Response:
        return await http.post(self.path, headers={HEADER: key} if key else {}, **self.sent)

    async def send_other(self, http: httpx.AsyncClient, key: str) -> httpx.Response:
        return await replace(self, path=self.other_path or self.path, sent=self.other or self.sent).send(http, key)


def as_json(path: str, body: Any, other: Any = None) -> Post:
    return Post(path, {"json": body}, {"json": other})


async def session_(_tenant: Tenant) -> Post:
    return as_json(SESSIONS, {"user_id": "ravi", "metadata": {"b": 1, "a": [2, 1.5]}}, {"user_id": "sita"})


async def message(tenant: Tenant) -> Post:
    sources = [{"n": 2, "text": "Twenty."}, {"n": 1, "text": "20 days.", "score": 0.1}]
    body = SAID | {"context_metadata": {"zz": 1, "a": 1e100}, "sources": sources}
    return as_json(f"{SESSIONS}/{await tenant.session()}/messages", body, SAID)


async def text_as_json(_tenant: Tenant) -> Post:
    return as_json(DOCUMENTS, NOTE, NOTE | {"text": "We are closed."})


async def text_as_form(_tenant: Tenant) -> Post:
    def form(**fields: str) -> dict[str, Any]:
        return {"files": {name: (None, value) for name, value in fields.items()}}

    return Post(DOCUMENTS, form(**NOTE), form(**NOTE | {"title": "Other"}))


async def file(_tenant: Tenant) -> Post:
    data, same = {"title": "A"}, ("a.txt", b"Leave is 20 days.")
    other = ("a.txt", b"Leave is 21 days.")
    return Post(DOCUMENTS, {"data": data, "files": {"file": same}}, {"data": data, "files": {"file": other}})


async def reindex(tenant: Tenant) -> Post:
    first, second = await tenant.add_text("One."), await tenant.add_text("Two.")
    return Post(f"{DOCUMENTS}/{first['id']}/reindex", {}, other_path=f"{DOCUMENTS}/{second['id']}/reindex")


async def reindex_many(tenant: Tenant) -> Post:
    await tenant.add_text("One.")
    return as_json(f"{DOCUMENTS}/reindex", {}, {"status": "failed"})


async def chat(tenant: Tenant) -> Post:
    return as_json(f"{SESSIONS}/{await tenant.session()}/chat", ASKED, {"message": "And on Sunday?"})


async def stream(tenant: Tenant) -> Post:
    return as_json(f"{SESSIONS}/{await tenant.session()}/chat/stream", ASKED, {"message": "And on Sunday?"})


async def webhook(_tenant: Tenant) -> Post:
    return as_json(WEBHOOKS, HOOK, {"url": "https://1.1.1.1/other"})


async def api_key(_tenant: Tenant) -> Post:
    body = {"name": "bot", "scopes": ["chat"], "expires_at": "2990-01-01T00:00:00Z"}
    return as_json("/api/v1/api-keys", body, body | {"scopes": ["chat", "ingest"]})


CREATING: dict[str, list[Callable[[Tenant], Awaitable[Post]]]] = {
    "sessions_create": [session_],
    "messages_create": [message],
    "documents_create": [text_as_json, text_as_form, file],
    "documents_reindex": [reindex],
    "documents_reindex_many": [reindex_many],
    "chat_ask": [chat],
    "chat_stream": [stream],
    "webhooks_create": [webhook],
    "api_keys_create": [api_key],
    "openai_chat_completions": [],  # tests/api/test_openai_idempotency.py
}
NOT_CREATING = {
    "auth_register", "auth_login", "auth_refresh", "auth_logout",
    "search_run", "turns_replay", "turns_cancel", "turns_retry", "openai_embeddings",
}  # fmt: skip
"""An account is made once for each e-mail, and before there is one nobody has keys of their own; logging in is meant
anew each time. Some store nothing; a turn is cancelled once and asked again once, whatever is sent."""
MAKERS = [pytest.param(make, id=f"{name}-{make.__name__}") for name, makers in CREATING.items() for make in makers]

EFFECTS = """
SELECT 'chat_sessions', count(*) FROM chat_sessions WHERE tenant_id = :t
UNION ALL SELECT 'messages', count(*) FROM messages WHERE tenant_id = :t AND sender = 'user'
UNION ALL SELECT 'turns', count(*) FROM turns WHERE tenant_id = :t
UNION ALL SELECT 'documents', count(*) FROM documents WHERE tenant_id = :t
UNION ALL SELECT 'webhooks', count(*) FROM webhooks WHERE tenant_id = :t
UNION ALL SELECT 'api_keys', count(*) FROM api_keys WHERE tenant_id = :t
UNION ALL SELECT 'jobs', count(*) FROM jobs WHERE tenant_id = :t AND kind = 'document.ingest'
"""


async def effects(tenant: Tenant) -> list[Any]:
    async with tenant.runtime.owner.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(EFFECTS), {"t": tenant.caller.tenant_id})]


async def execute(tenant: Tenant, sql: str) -> Any:
    async with tenant.runtime.owner.begin() as connection:
        return await connection.execute(text(sql), {"t": tenant.caller.tenant_id})


def kept(response: httpx.Response) -> dict[str, str]:
    names = ("location", "etag", "content-type", "cache-control")
    return {name: response.headers[name] for name in names if name in response.headers}


def told(response: httpx.Response) -> Any:
    """The bytes; of a stream its events, since the order of their members is not kept."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        return response.content
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


async def test_every_post_is_one_or_the_other(service: Service) -> None:
    async with service.client() as http:
        document = (await http.get("/openapi.json")).json()
    posts = {path["post"]["operationId"]: path["post"] for path in document["paths"].values() if "post" in path}
    assert set(posts) == set(CREATING) | NOT_CREATING, "a new POST: give it `once`, or say that it creates nothing"
    for name, operation in posts.items():
        named = any(parameter["name"] == HEADER for parameter in operation.get("parameters", []))
        assert named == (name in CREATING), name
        assert ("422" in operation["responses"]) == named, name


@pytest.mark.parametrize("make", MAKERS)
async def test_twice_is_once(make: Callable[[Tenant], Awaitable[Post]], new_tenant: MakeTenant) -> None:
    tenant, stranger = await new_tenant(), await new_tenant()
    post, key = await make(tenant), str(uuid4())
    before = await effects(tenant)
    first = await post.send(tenant.http, key)
    assert first.status_code in (200, 201, 202), first.text
    assert REPLAYED not in first.headers
    after = await effects(tenant)
    assert after != before

    for _ in range(3):
        again = await post.send(tenant.http, key)
        assert again.headers[REPLAYED] == "true"
        assert (again.status_code, told(again), kept(again)) == (first.status_code, told(first), kept(first))
    check_problem(await post.send_other(tenant.http, key), 422, "idempotency_key_reused")
    assert await effects(tenant) == after

    elsewhere = await post.send(stranger.http, key)  # 404 where the path names what is another's
    assert REPLAYED not in elsewhere.headers
    assert elsewhere.status_code in (first.status_code, 404)
    assert (await post.send(tenant.http, str(uuid4()))).status_code in (200, 201, 202)


async def test_without_a_key_twice_is_twice(tenant: Tenant) -> None:
    """The check above can fail."""
    for make in (session_, message, chat, webhook):
        post = await make(tenant)
        await post.send(tenant.http)
        after = await effects(tenant)
        await post.send(tenant.http)
        assert await effects(tenant) != after


def with_key(tenant: Tenant, key: str) -> bytes:
    head = request("POST", SESSIONS, tenant.key, b'{"user_id": "a"}', Content_Type="application/json")
    return head.replace(b"Host:", f"{HEADER}: {key}\r\nHost:".encode(), 1)


@pytest.mark.parametrize("key", ["", " ", "a b", "a" * 256, "schlüssel", "a\tb"], ids=lambda key: repr(key[:10]))
async def test_a_key_that_is_none(tenant: Tenant, key: str) -> None:
    reply = await raw(tenant.service.address, with_key(tenant, key))
    problem = reply.json()
    assert (reply.status, problem["code"]) == (400, "invalid_idempotency_key")
    assert problem["errors"][0]["pointer"] == f"/{HEADER}"


@pytest.mark.parametrize("key", ["a\x01", "a\x7f", "a\0"], ids=repr)
async def test_a_key_that_no_header_can_hold(tenant: Tenant, key: str) -> None:
    assert (await raw(tenant.service.address, with_key(tenant, key))).status == 400
    assert (await tenant.http.get(SESSIONS)).json()["total"] == 0


async def test_two_keys_at_once(tenant: Tenant) -> None:
    reply = await raw(tenant.service.address, with_key(tenant, f"a\r\n{HEADER}: a"))
    assert (reply.status, reply.json()["code"]) == (400, "invalid_idempotency_key")


@pytest.mark.parametrize("key", ["!", "~" * 255, '"quoted"', "a,b;c=d"])
async def test_any_visible_ascii_is_a_key(tenant: Tenant, key: str) -> None:
    assert re.fullmatch(KEY.pattern, key)
    post = await session_(tenant)
    first, again = await post.send(tenant.http, key), await post.send(tenant.http, key)
    assert (first.status_code, first.content) == (again.status_code, again.content)


async def test_another_route_is_another_key(tenant: Tenant) -> None:
    one, two = await session_(tenant), await webhook(tenant)
    assert (await one.send(tenant.http, "k")).status_code == 201
    assert (await two.send(tenant.http, "k")).status_code == 201


async def test_another_address_of_the_same_route_is_another_body(tenant: Tenant) -> None:
    one, two = await message(tenant), await message(tenant)
    assert (await one.send(tenant.http, "k")).status_code == 201
    check_problem(await replace(one, path=two.path).send(tenant.http, "k"), 422, "idempotency_key_reused")


async def test_the_spelling_of_the_json_does_not_matter(tenant: Tenant) -> None:
    json_type = {"Content-Type": "application/json", HEADER: "k"}
    first = await tenant.http.post(SESSIONS, content='{"user_id":"é","title":"a"}', headers=json_type)
    again = await tenant.http.post(SESSIONS, content=' {"title" : "\\u0061", "user_id": "\\u00e9"}', headers=json_type)
    assert (again.status_code, again.content) == (201, first.content)
    other = await tenant.http.post(SESSIONS, content='{"user_id":"e","title":"a"}', headers=json_type)
    check_problem(other, 422, "idempotency_key_reused")


async def test_the_spelling_of_a_form_does_not_matter(tenant: Tenant) -> None:
    """Another boundary, another order, another media type of the part: the same."""

    async def send(form: str, boundary: str) -> httpx.Response:
        lines = form.replace("\n", "\r\n").replace("--x", f"--{boundary}")
        headers = {HEADER: "k", "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return await tenant.http.post(DOCUMENTS, content=lines, headers=headers)

    name = 'Content-Disposition: form-data; name="{}"'.format
    title = f"--x\n{name('title')}\n\nA\n"
    file_ = f'--x\n{name("file")}; filename="a.txt"\n\nTwenty.\n'
    first = await send(f"{title}{file_}--x--\n", "x")
    again = await send(f"{file_}{title}--x--\n", "quite-another")
    part = file_.replace('a.txt"', 'a.txt"\nContent-Type: text/plain')
    typed = await send(f"{part}{title}--x--\n", "y")
    assert first.status_code == 202
    assert [(r.status_code, r.content) for r in (again, typed)] == [(202, first.content)] * 2
    for other in (file_.replace("Twenty", "Thirty"), file_.replace("a.txt", "b.txt")):
        check_problem(await send(f"{other}{title}--x--\n", "x"), 422, "idempotency_key_reused")


async def test_same_bytes_with_a_key_stay_202_when_the_document_is_ready(tenant: Tenant) -> None:
    post = await file(tenant)
    first = await post.send(tenant.http, "k")
    await tenant.ended(first.json()["id"])
    again, fresh = await post.send(tenant.http, "k"), await post.send(tenant.http, "another")
    assert (again.status_code, again.content) == (202, first.content)
    assert (fresh.status_code, fresh.json()["id"]) == (200, first.json()["id"])
    assert (await post.send(tenant.http, "another")).content == fresh.content


async def test_what_failed_leaves_the_key_free(tenant: Tenant) -> None:
    """Nothing was done, so there is nothing to repeat: 400, 404, 409 and 415 are judged anew."""
    post = await session_(tenant)
    check_problem(await as_json(SESSIONS, {"user_id": 5}).send(tenant.http, "k"), 400)
    assert (await post.send(tenant.http, "k")).status_code == 201
    missing = as_json(f"{SESSIONS}/{new_id()}/messages", SAID)
    for _ in range(2):
        check_problem(await missing.send(tenant.http, "k"), 404, "session_not_found")
    for number in range(20):
        await tenant.http.post(WEBHOOKS, json=HOOK, headers={HEADER: str(number)})
    hook = as_json(WEBHOOKS, HOOK)
    check_problem(await hook.send(tenant.http, "k"), 409, "too_many_webhooks")
    listed = (await tenant.http.get(WEBHOOKS)).json()
    assert listed["total"] == 20
    await tenant.http.delete(f"{WEBHOOKS}/{listed['items'][0]['id']}")
    assert (await hook.send(tenant.http, "k")).status_code == 201
    assert (await hook.send(tenant.http, "k")).headers[REPLAYED] == "true"  # also now that there are 20 again


async def other_key(tenant: Tenant) -> str:
    """A second key of the same tenant."""
    key = new_key()
    sql = text(
        "INSERT INTO api_keys (id, tenant_id, name, prefix, key_hash, scopes) "
        "VALUES (:id, :t, 'second', 'x', :digest, ARRAY['chat'])"
    )
    async with tenant.runtime.owner.begin() as connection:
        values = {"id": new_id(), "t": tenant.caller.tenant_id, "digest": key_digest(key.encode())}
        await connection.execute(sql, values)
    return key


async def test_keys_of_another_principal_of_the_tenant_are_others(tenant: Tenant) -> None:
    post = await session_(tenant)
    first = await post.send(tenant.http, "k")
    async with tenant.service.client(await other_key(tenant)) as http:
        second, again = await post.send(http, "k"), await post.send(http, "k")
        check_problem(await (await file(tenant)).send(http, "k"), 403, "forbidden")
    assert first.json()["id"] != second.json()["id"] == again.json()["id"]


async def test_it_expires_by_the_database_clock(tenant: Tenant) -> None:
    post = await session_(tenant)
    first = await post.send(tenant.http, "k")
    hours = "SELECT extract(epoch FROM expires_at - created_at) / 3600 FROM idempotency_keys WHERE tenant_id = :t"
    assert (await execute(tenant, hours)).scalar_one() == 24
    move = "UPDATE idempotency_keys SET expires_at = now() + interval '{} seconds' WHERE tenant_id = :t"
    await execute(tenant, move.format(30))
    assert (await post.send(tenant.http, "k")).content == first.content
    await execute(tenant, move.format(-1))
    second = await post.send_other(tenant.http, "k")
    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]
    assert (await post.send_other(tenant.http, "k")).content == second.content


async def test_what_has_expired_is_removed(tenant: Tenant) -> None:
    post = await session_(tenant)
    for key in "abc":
        await post.send(tenant.http, key)
    await execute(
        tenant, "UPDATE idempotency_keys SET expires_at = now() - interval '1 s' WHERE tenant_id = :t AND key <> 'b'"
    )
    left = "SELECT key FROM idempotency_keys WHERE tenant_id = :t"
    async with asyncio.timeout(20):  # a worker does it every hour, and may be at it
        while [*(await execute(tenant, left)).scalars()] != ["b"]:
            await tenant.runtime.personal_data.retention.purge()


async def claiming(tenant: Tenant, post: Post, key: str) -> Caller:
    """The caller of a request that is under way elsewhere."""
    caller = await tenant.runtime.auth.authenticate(tenant.key.encode())
    claim = Claim(f"POST {post.path}", key, b"unknown", lambda _made: Reply(201, {}, b"{}"))
    return replace(caller, claim=claim)


async def test_while_it_runs_elsewhere(tenant: Tenant) -> None:
    post = await session_(tenant)
    async with tenant.runtime.uow(await claiming(tenant, post, "k")) as uow, once(uow) as answer:
        response = await post.send(tenant.http, "k")
        check_problem(response, 409, "idempotency_in_progress")
        assert response.headers["retry-after"] == "1"
        assert (await post.send(tenant.http, "other")).status_code == 201
        answer.postpone()
    assert (await post.send(tenant.http, "k")).status_code == 201


async def test_an_effect_that_is_rolled_back_takes_the_key_with_it(tenant: Tenant) -> None:
    post = await session_(tenant)
    caller = await claiming(tenant, post, "k")
    with pytest.raises(Conflict):
        async with tenant.runtime.uow(caller) as uow, once(uow) as answer:
            answer.keep("made", new_id())
            raise Conflict
    with pytest.raises(RuntimeError):  # a service that forgets to tell what it did
        async with tenant.runtime.uow(caller) as uow, once(uow):
            pass
    async with tenant.runtime.uow(caller) as uow, once(uow) as answer:
        answer.keep("made", new_id())
    with pytest.raises(AlreadyDone):
        async with tenant.runtime.uow(caller) as uow, once(uow):
            pass


async def test_sixty_four_at_once_on_two_processes(tenant: Tenant, tmp_path: Any) -> None:
    """One object; each client has it, or is told to come again and then has it."""
    settings = make_settings(database_url=tenant.runtime.settings.database_url, data_dir=tmp_path)
    async with serving(settings) as (address, _), tenant_at(address, tenant.key) as other:
        for make, count in ((message, 64), (session_, 8), (webhook, 8), (text_as_json, 8), (chat, 8)):
            post = await make(tenant)
            before = dict(await effects(tenant))
            clients = [(tenant.http, other)[number % 2] for number in range(count)]
            answers = await asyncio.gather(*(until_answered(post, http) for http in clients))
            assert len({*answers}) == 1, make.__name__
            grown = {name: now - before[name] for name, now in await effects(tenant) if now != before[name]}
            assert set(grown.values()) == {1}, (make.__name__, grown)


def tenant_at(address: str, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{address}", headers={"X-API-Key": key}, timeout=30)


async def until_answered(post: Post, http: httpx.AsyncClient) -> bytes:
    while (response := await post.send(http, "one-key")).status_code == 409:
        check_problem(response, 409, "idempotency_in_progress")
        await asyncio.sleep(int(response.headers["retry-after"]))
    assert response.status_code in (200, 201, 202), response.text
    return response.content


async def test_a_running_turn_is_in_progress(tenant: Tenant) -> None:
    session = await tenant.session()
    for path in ("chat", "chat/stream"):
        post = as_json(f"{SESSIONS}/{session}/{path}", ASKED)
        first = await post.send(tenant.http, "k")
        await execute(
            tenant,
            "UPDATE turns SET status = 'running', lease_until = now() + interval '30 s' WHERE tenant_id = :t "
            "AND id = (SELECT max(id::text)::uuid FROM turns WHERE tenant_id = :t)",
        )
        response = await post.send(tenant.http, "k")
        check_problem(response, 409, "idempotency_in_progress")
        assert response.headers["retry-after"] == "1"
        await execute(tenant, "UPDATE turns SET status = 'completed' WHERE tenant_id = :t")
        assert told(await post.send(tenant.http, "k")) == told(first)
    turns = "SELECT count(*) FROM turns WHERE tenant_id = :t"
    assert (await execute(tenant, turns)).scalar_one() == 2


async def test_with_a_client_message_id_the_turn_is_the_same(tenant: Tenant) -> None:
    post = await chat(tenant)
    post = as_json(post.path, ASKED | {"client_message_id": "c-1"})
    answers = [await post.send(tenant.http, key) for key in ("a", "b", "a", "b", None)]
    assert len({answer.content for answer in answers}) == 1
    assert [REPLAYED in answer.headers for answer in answers] == [False, False, True, True, False]


class TestDeleted:
    async def test_a_session_that_was_deleted_is_not_made_again(self, tenant: Tenant) -> None:
        secret = f"canary-{uuid4()}"
        post = as_json(SESSIONS, {"user_id": "ravi", "title": secret})
        made = await post.send(tenant.http, "k")
        assert secret.encode() in await stored(tenant)
        path = f"{SESSIONS}/{made.json()['id']}"
        said = as_json(f"{path}/messages", SAID | {"content": secret})
        asked = as_json(f"{path}/chat", {"message": secret})
        assert (await said.send(tenant.http, "k")).status_code == 201
        assert (await asked.send(tenant.http, "k")).status_code == 200
        assert (await tenant.http.delete(path)).status_code == 204
        assert secret.encode() not in await stored(tenant)
        check_problem(await post.send(tenant.http, "k"), 404, "gone")
        check_problem(await said.send(tenant.http, "k"), 404, "session_not_found")
        check_problem(await asked.send(tenant.http, "k"), 404)
        assert (await tenant.http.get(SESSIONS)).json()["total"] == 0

    async def test_a_document(self, tenant: Tenant) -> None:
        secret = f"canary-{uuid4()}"
        post = as_json(DOCUMENTS, {"title": secret, "text": f"{secret} is here."})
        document = (await post.send(tenant.http, "k")).json()["id"]
        await tenant.ended(document)
        again = Post(f"{DOCUMENTS}/{document}/reindex", {})
        await again.send(tenant.http, "k")
        session = await tenant.session()
        source = {"document_id": document, "title": secret, "text": secret}
        said = as_json(f"{SESSIONS}/{session}/messages", SAID | {"sources": [source]})
        first = await said.send(tenant.http, "k")
        assert secret in first.text
        assert (await tenant.http.delete(f"{DOCUMENTS}/{document}")).status_code == 204
        assert secret.encode() not in await stored(tenant)
        for post_ in (post, again):
            check_problem(await post_.send(tenant.http, "k"), 404, "gone")
        repeated = await said.send(tenant.http, "k")
        assert repeated.headers[REPLAYED] == "true"
        assert repeated.json()["id"] == first.json()["id"]
        assert secret not in repeated.text

    async def test_a_webhook_takes_its_secret_along(self, tenant: Tenant) -> None:
        post = await webhook(tenant)
        made = (await post.send(tenant.http, "k")).json()
        assert made["secret"].encode() in await stored(tenant)
        assert (await tenant.http.delete(f"{WEBHOOKS}/{made['id']}")).status_code == 204
        assert made["secret"].encode() not in await stored(tenant)
        check_problem(await post.send(tenant.http, "k"), 404, "gone")

    async def test_a_tenant_can_be_deleted(self, tenant: Tenant) -> None:
        await (await session_(tenant)).send(tenant.http, "k")
        await execute(tenant, "DELETE FROM tenants WHERE id = :t")
        assert await stored(tenant) == b""


async def stored(tenant: Tenant) -> bytes:
    """All that the keys of the tenant hold."""
    sql = "SELECT * FROM idempotency_keys WHERE tenant_id = :t"
    rows = [*(await execute(tenant, sql))]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
