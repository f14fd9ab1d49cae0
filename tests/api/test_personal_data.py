"""Export and erasure over HTTP: one's own only, all of it, and nothing that comes late."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
import websockets

from app.api import sockets
from app.core.caller import DEFAULT_TENANT, tenant_caller, user_caller
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.core.pseudonyms import user_digest
from app.schemas.documents import DocumentFields
from app.schemas.sessions import SessionCreate
from app.services import exports
from app.services.budgets import Reservation, Usage, settle
from app.services.documents import Upload
from tests.api import people
from tests.api.people import Join
from tests.conftest import MakeTenant, Service, Tenant

join = people.join
PASSWORD = "correct horse battery"


@pytest.fixture
async def person(service: Service) -> AsyncIterator[tuple[str, Any]]:
    """(id, a client that is logged in) of somebody new."""
    async with service.client() as http:
        account = {"email": f"{new_id()}@harbour.example", "password": PASSWORD, "display_name": "Lakshmi"}
        id_ = (await http.post("/api/v1/auth/register", json=account)).json()["id"]
        login = {"email": account["email"], "password": PASSWORD}
        token = (await http.post("/api/v1/auth/login", json=login)).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        yield id_, http


async def ended(http: Any, id_: str) -> None:
    async with asyncio.timeout(30):
        while (await http.get(f"/api/v1/documents/{id_}")).json()["status"] != "ready":
            await asyncio.sleep(0.05)


async def done(http: Any, receipt: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (told := (await http.get(receipt)).json())["status"] != "done":
            await asyncio.sleep(0.05)
    return dict(told)


async def test_an_export_holds_everything_that_is_mine_and_nothing_else(
    person: tuple[str, Any], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "ROWS", 3)  # so that all of it comes in several pages
    id_, http = person
    document = (await http.post("/api/v1/documents", json={"title": "mine", "text": "The cat is grey."})).json()["id"]
    await ended(http, document)
    made = [(await http.post("/api/v1/sessions", json={"user_id": id_, "title": f"t{n}"})).json() for n in range(4)]
    for n in range(5):
        body = {"sender": "user", "content": f"said {n}", "context_metadata": {"n": n}}
        await http.post(f"/api/v1/sessions/{made[0]['id']}/messages", json=body)
    answer = (await http.post(f"/api/v1/sessions/{made[1]['id']}/chat", json={"message": "Which cat is grey?"})).json()
    await http.put(f"/api/v1/messages/{answer['id']}/feedback", json={"rating": "up", "comment": "good"})
    async with service.runtime.uow(tenant_caller(DEFAULT_TENANT)) as uow:
        reservation = Reservation(new_id(), id_, None, None, "m", 1)
        await settle(uow, reservation, Usage("openai/gpt", 10, 5))
        other = Reservation(new_id(), "somebody else", None, None, "m", 1)
        await settle(uow, other, Usage("openai/other", 10, 5))

    response = await http.get("/api/v1/auth/me/export")
    assert response.status_code == 200
    assert response.headers["content-disposition"] == 'attachment; filename="export.json"'
    told = response.json()
    assert [*told] == [
        "format", "exported_at", "user_id", "account", "api_keys", "sessions", "documents", "usage", "events"
    ]  # fmt: skip
    assert told["account"] == {
        name: value for name, value in (await http.get("/api/v1/auth/me")).json().items()
        if name not in ("tenant_id", "scopes")
    }  # fmt: skip
    assert [session["id"] for session in told["sessions"]] == [session["id"] for session in made]
    for session in told["sessions"]:
        path = f"/api/v1/sessions/{session['id']}"
        feedback = {message["id"]: message.pop("feedback") for message in session["messages"]}
        assert session.pop("messages") == (await http.get(f"{path}/messages")).json()["items"]
        assert len(session.pop("turns")) == (session["id"] == made[1]["id"])
        assert session == (await http.get(path)).json()
        said = [(one["message_id"], one["comment"]) for one in feedback.values() if one]
        assert said == ([(answer["id"], "good")] if session["id"] == made[1]["id"] else [])
    content = told["documents"][0].pop("content_url")
    assert told["documents"] == [(await http.get(f"/api/v1/documents/{document}")).json()]
    assert (await http.get(content)).text == "The cat is grey."
    assert [(used["model"], used["input_tokens"]) for used in told["usage"]] == [("openai/gpt", 10)]
    actions = [event["action"] for event in told["events"]]
    assert (actions[0], actions[-1]) == ("register", "user.export")
    assert "password" not in response.text


async def test_an_export_tells_nothing_of_others(new_tenant: MakeTenant, join: Join) -> None:
    tenant = await new_tenant()
    admin, user = await join(tenant, "admin"), await join(tenant)
    key = (await tenant.http.post("/api/v1/api-keys", json={"name": "bot", "scopes": ["admin"]})).json()
    url = f"/api/v1/users/{user.id}"
    assert (await admin.http.patch(url, json={"role": "admin"})).status_code == 200
    async with tenant.service.client(key["key"]) as program:
        assert (await program.patch(url, json={"disabled": False})).status_code == 200
    assert (await user.http.patch(f"/api/v1/users/{admin.id}", json={"role": "user"})).status_code == 200
    async with tenant.service.client() as stranger:
        guess = {"email": user.email, "password": "not this one"}
        assert (await stranger.post("/api/v1/auth/login", json=guess)).status_code == 401
    text = (await user.http.get("/api/v1/auth/me/export")).text
    events = json.loads(text)["events"]
    own = f"user:{user.id}"
    assert [(event["actor"], event["action"], event["object_id"]) for event in events] == [
        ("service", "register", user.id), (own, "login", user.id), ("an administrator", "user.role", user.id),
        ("an API key", "user.enable", user.id), (own, "user.role", None), ("anonymous", "login", user.id),
        (own, "user.export", user.id),
    ]  # fmt: skip
    for event in events:
        assert ((event["ip"], event["request_id"]) == (None, None)) == (event["actor"] != own)
    assert admin.id not in text
    assert key["id"] not in text


async def test_there_is_no_export_of_nobody(tenant: Tenant) -> None:
    service = tenant.runtime.personal_data.exports
    for _ in range(2):  # the first one leaves no trace that the second would find
        with pytest.raises(NotFound) as refused:
            await service.begin(tenant.caller, "nobdoy")
        assert refused.value.code == "user_not_found"
    await tenant.session(user_id="ravi")
    await service.begin(tenant.caller, "ravi")
    async with tenant.runtime.uow(tenant.caller) as uow:
        entries = await uow.audit.list_newest(user_id=None, object_id=None, action="user.export", since=None, limit=9)
    assert len(entries) == 1


async def test_who_was_erased_may_see_what_stays(tenant: Tenant) -> None:
    """Rows of the audit log."""
    await tenant.session(user_id="ravi")
    receipt = (await tenant.http.delete("/api/v1/users/ravi")).json()["receipt_url"]
    await done(tenant.http, receipt)
    pieces = await tenant.runtime.personal_data.exports.begin(tenant.caller, "ravi")
    told = json.loads("".join([piece async for piece in pieces]))
    assert [event["action"] for event in told["events"]] == ["user.erase", "user.erased", "user.export"]


async def test_an_export_comes_in_pieces(tenant: Tenant) -> None:
    """However much there is, no more than a page and a piece are in memory."""
    session = await tenant.session(user_id="ravi")
    async with tenant.runtime.uow(tenant.caller) as uow:
        for n in range(300):
            seq = await uow.sessions.take_seq(UUID(session))
            content = f"{n:03} " + "x" * 2_000
            await uow.messages.add(
                {"id": new_id(), "session_id": UUID(session), "seq": seq, "sender": "user", "content": content}
            )
    pieces = [piece async for piece in await tenant.runtime.personal_data.exports.begin(tenant.caller, "ravi")]
    assert len(pieces) >= 9
    assert max(map(len, pieces)) < 2 * exports.PIECE_CHARS
    told = json.loads("".join(pieces))
    assert [message["content"][:3] for message in told["sessions"][0]["messages"]] == [f"{n:03}" for n in range(300)]
    assert (told["account"], told["api_keys"], told["documents"]) == (None, [], [])


async def test_a_key_is_nobody(tenant: Tenant) -> None:
    for method, path in (("GET", "/api/v1/auth/me/export"), ("DELETE", "/api/v1/auth/me")):
        response = await tenant.http.request(method, path)
        assert (response.status_code, response.json()["code"]) == (403, "users_only")


async def test_users_erase_only_themselves(person: tuple[str, Any], tenant: Tenant) -> None:
    id_, http = person
    for path in (f"/api/v1/users/{id_}", f"/api/v1/users/{new_id()}", "/api/v1/erasures"):
        method = "GET" if path.endswith("erasures") else "DELETE"
        assert (await http.request(method, path)).status_code == 403
    await tenant.session(user_id="ravi")


async def test_an_admin_erases_nobody_of_another_tenant(new_tenant: MakeTenant) -> None:
    mine, theirs = await new_tenant(), await new_tenant()
    session = await theirs.session(user_id="ravi")
    answers = []
    for name in ("ravi", "nobody", str(new_id())):
        response = await mine.http.delete(f"/api/v1/users/{name}")
        body = {key: value for key, value in response.json().items() if key not in ("instance", "request_id")}
        answers.append((response.status_code, body))
    assert answers == [answers[0]] * 3
    assert answers[0][0] == 404
    assert (await theirs.http.get(f"/api/v1/sessions/{session}")).status_code == 200
    receipt = (await theirs.http.delete("/api/v1/users/ravi")).json()
    assert (await mine.http.get("/api/v1/erasures")).json()["total"] == 0
    assert [item["id"] for item in (await theirs.http.get("/api/v1/erasures")).json()["items"]] == [receipt["id"]]


@pytest.mark.parametrize("name", ["dept/ravi kumar", "ravi@harbour.example", "రవి", "a%2Fb", "..", "x" * 255, "erase"])
async def test_any_name_that_a_session_may_have(tenant: Tenant, name: str) -> None:

    session = await tenant.session(user_id=name)
    written = quote(name, safe="").replace(".", "%2E") if name == ".." else quote(name, safe="")
    response = await tenant.http.delete(f"/api/v1/users/{written}")
    assert response.status_code == 202, response.text
    told = await done(tenant.http, response.json()["receipt_url"])
    assert told["counts"]["sessions"] == 1
    assert (await tenant.http.get(f"/api/v1/sessions/{session}")).status_code == 404


async def test_a_receipt_needs_no_credentials_and_cannot_be_guessed(tenant: Tenant, service: Service) -> None:
    await tenant.session(user_id="ravi")
    asked = (await tenant.http.delete("/api/v1/users/ravi")).json()
    async with service.client() as nobody:
        told = await done(nobody, asked["receipt_url"])
        assert told["requested_by"] == "admin"
        assert "ravi" not in json.dumps(told)
        address = asked["receipt_url"]
        for other in (
            f"/api/v1/erasures/{asked['id']}",
            address[:-1],
            address + "x",
            "/api/v1/erasures/é",
            address[:17] + "y" * 9_000,
        ):
            response = await nobody.get(other)
            assert response.status_code in (404, 414), other
        assert (await nobody.get("/api/v1/erasures")).status_code == 401


@contextlib.asynccontextmanager
async def under_way(tenant: Tenant, user_id: str) -> AsyncIterator[UUID]:
    """An erasure that no worker has begun."""
    values = {"id": new_id(), "user_id": user_id, "requested_by": "admin", "receipt_hash": new_id().bytes}
    async with tenant.runtime.uow(tenant.caller) as uow:
        await uow.erasures.lock(user_id)
        await uow.erasures.create(values)
    yield values["id"]  # type: ignore[misc]


async def test_nothing_new_for_a_user_who_is_being_erased(tenant: Tenant) -> None:
    async with under_way(tenant, "ravi") as id_:
        refused = await tenant.http.post("/api/v1/sessions", json={"user_id": "ravi"})
        assert (refused.status_code, refused.json()["code"]) == (409, "user_erased")
        chat = {"model": "ragchat", "user": "ravi", "messages": [{"role": "user", "content": "Hello?"}]}
        assert (await tenant.http.post("/v1/chat/completions", json=chat)).status_code == 409
        await tenant.session(user_id="sita")
        again = await tenant.http.delete("/api/v1/users/ravi")
        assert (again.status_code, again.json()["id"], again.json()["receipt_url"]) == (202, str(id_), None)
        async with tenant.runtime.uow(tenant.caller) as uow:
            await uow.erasures.finish(id_)
        await tenant.session(user_id="ravi")


class SlowUpload:
    """An upload whose last bytes come when the test says so."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def blocks(self) -> AsyncIterator[bytes]:
        yield b"The Qorvexil pump "
        self.begun.set()
        await self.go_on.wait()
        yield b"is serviced."


@pytest.mark.parametrize("finished", [False, True])
async def test_an_upload_on_its_way_does_not_bring_them_back(tenant: Tenant, finished: bool) -> None:
    person = user_caller(tenant.caller.tenant_id, new_id(), "user")
    assert person.user_id is not None
    upload = SlowUpload()
    fields = Upload(DocumentFields(), "pump.txt", upload.blocks(), {})
    sending = asyncio.create_task(tenant.runtime.documents.create(person, fields))
    await upload.begun.wait()
    async with under_way(tenant, person.user_id) as id_:
        if finished:
            async with tenant.runtime.uow(tenant.caller) as uow:
                await uow.erasures.finish(id_)
        upload.go_on.set()
        with pytest.raises(Conflict) as refused:
            await sending
    assert refused.value.code == "user_erased"
    prefix = f"{tenant.caller.tenant_id}/"
    assert [file async for file in tenant.runtime.storage.list_files(prefix)] == []
    with pytest.raises(Conflict):
        await tenant.runtime.sessions.create(person, SessionCreate(user_id=person.user_id))


async def test_what_was_stored_before_is_seen_and_what_comes_after_is_refused(tenant: Tenant) -> None:
    """The request waits for a transaction that is storing something, and that one is then part of what goes."""
    stored = asyncio.Event()

    async def slowly() -> None:
        async with tenant.runtime.uow(tenant.caller) as uow:
            assert await uow.erasures.is_open("ravi") is None
            stored.set()
            await asyncio.sleep(0.5)

    storing = asyncio.create_task(slowly())
    await stored.wait()
    async with under_way(tenant, "ravi"):
        assert storing.done()
        await storing


async def test_a_turn_that_ends_too_late_names_nobody_in_the_ledger(tenant: Tenant) -> None:
    """Its session is gone, so what it used is stored without one, and without the name."""
    async with under_way(tenant, "ravi") as id_, tenant.runtime.uow(tenant.caller) as uow:
        await uow.erasures.finish(id_)
        for user in ("ravi", "sita"):
            await settle(uow, Reservation(new_id(), user, None, None, "m", 1), Usage("openai/gpt", 10, 5))
        digest = user_digest(tenant.caller.tenant_id, "ravi")
        assert (await uow.erasures.get(id_)).user_digest == digest  # type: ignore[union-attr]
    by_user = (await tenant.http.get("/api/v1/usage?group_by=user")).json()["items"]
    assert {item["group"] for item in by_user} == {"(erased)", "sita"}


@pytest.mark.parametrize("with_key", [False, True])
async def test_open_sockets_end(
    person: tuple[str, Any], tenant: Tenant, service: Service, monkeypatch: pytest.MonkeyPatch, with_key: bool
) -> None:
    monkeypatch.setattr(sockets, "CHECK_SECONDS", 0.3)
    id_, http = person
    if with_key:
        session, header = await tenant.session(user_id="ravi"), {"X-API-Key": tenant.key}
    else:
        session = (await http.post("/api/v1/sessions", json={"user_id": id_})).json()["id"]
        header = {"Authorization": http.headers["Authorization"]}
    url = f"ws://{service.address}/chat/{session}"
    async with websockets.connect(url, additional_headers=header) as socket:
        assert json.loads(await socket.recv())["type"] == "ready"
        erased = await (tenant.http.delete("/api/v1/users/ravi") if with_key else http.delete("/api/v1/auth/me"))
        assert erased.status_code == 202
        async with asyncio.timeout(20):
            with contextlib.suppress(websockets.ConnectionClosed):
                told = [json.loads(await socket.recv()) for _ in range(5)]
                raise AssertionError(told)
        assert socket.close_code == 1008
