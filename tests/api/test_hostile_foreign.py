"""What is another tenant's is not to be found, named or guessed (H23, H25, H27, H28); test_walk.py asks every route."""

from uuid import uuid4

import pytest

from app.core.ids import new_id
from app.schemas.users import UserCreate
from tests.api import test_hostile_tools as tools
from tests.api.test_hostile_tools import CANARY, check_problem
from tests.conftest import MakeTenant, Tenant, make_tenant

edge, unharmed = tools.edge, tools.unharmed
API = "/api/v1"
TEXT = "The wombat sleeps in the blue shed."


@pytest.fixture(scope="module")
async def theirs(edge: Tenant) -> dict[str, str]:
    """One of everything, of the module's tenant; the tests ask as another one."""
    document = await edge.add_text(TEXT, title=CANARY, external_id="secret", collection="sheds")
    session = await edge.session(user_id="ravi", title=CANARY)
    await edge.http.post(f"{API}/sessions/{session}/chat", json={"message": "Where does the wombat sleep?"})
    await edge.runtime.accounts.users.create(edge.caller, UserCreate(email=f"{uuid4()}@shop.example", password=CANARY))
    await edge.http.post(f"{API}/webhooks", json={"url": f"https://nobody.invalid/{CANARY}"})
    return {"document": document["id"], "session": session}


async def test_lists_and_filters_show_nothing_of_it(new_tenant: MakeTenant, theirs: dict[str, str]) -> None:
    mine = await new_tenant()
    for path in ("sessions", "sessions?user_id=ravi", f"sessions?q={CANARY}", "documents", f"documents?q={CANARY}",
                 "documents?collection=sheds", "documents?status=ready", "sessions?tenant_id=1",
                 "webhooks", "users"):  # fmt: skip
        page = (await mine.http.get(f"{API}/{path}")).json()
        assert (page["items"], page["total"]) == ([], 0)


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
async def test_search_finds_nothing_of_it(new_tenant: MakeTenant, theirs: dict[str, str], mode: str) -> None:
    mine = await new_tenant()
    for filters in ({}, {"collection": "sheds"}, {"lang": "en"}):
        body = {"query": TEXT, "mode": mode, "top_k": 50, "filters": filters}
        assert (await mine.http.post(f"{API}/search", json=body)).json()["items"] == []


async def test_naming_it_is_refused(new_tenant: MakeTenant, theirs: dict[str, str]) -> None:
    mine = await new_tenant()
    own = (await mine.add_text("Something of my own."))["id"]
    session = await mine.session()
    for ids in ([theirs["document"]], [own, theirs["document"]], [str(uuid4())]):
        response = await mine.http.post(f"{API}/search", json={"query": "a", "filters": {"document_ids": ids}})
        check_problem(response, 404, "unknown_document")
        for path in ("chat", "chat/stream"):
            body = {"message": "a", "document_ids": ids}
            response = await mine.http.post(f"{API}/sessions/{session}/{path}", json=body)
            check_problem(response, 404, "unknown_document")
    assert (await mine.http.get(f"{API}/sessions/{session}/messages")).json()["total"] == 0


async def test_its_names_are_free(edge: Tenant, new_tenant: MakeTenant, theirs: dict[str, str]) -> None:
    """Neither the same bytes nor the same external id lead to another tenant's document."""
    mine = await new_tenant()
    response = await mine.http.post(f"{API}/documents", json={"title": "a", "text": TEXT, "external_id": "secret"})
    assert (response.status_code, response.json()["version"]) == (202, 1)
    assert response.json()["id"] != theirs["document"]
    assert (await edge.http.get(f"{API}/documents/{theirs['document']}")).json()["version"] == 1


async def test_its_file_has_no_address(edge: Tenant, new_tenant: MakeTenant, theirs: dict[str, str]) -> None:
    mine = await new_tenant()
    files = edge.runtime.settings.data_dir / "files" / str(edge.caller.tenant_id)
    tenant = edge.caller.tenant_id
    for key in [path.name for path in files.iterdir()]:
        for path in (f"/files/{tenant}/{key}", f"/{tenant}/{key}", f"/static/{key}", f"{API}/documents/{key}/content",
                     f"{API}/documents/{tenant}%2f{key}/content"):  # fmt: skip
            check_problem(await mine.http.get(path), 404)


async def test_a_key_does_what_it_was_made_for(new_tenant: MakeTenant) -> None:
    tenant = await new_tenant()
    for scope, method, path, body in (
        ("chat", "POST", "/documents", {"title": "a", "text": "b"}),
        ("chat", "DELETE", f"/documents/{uuid4()}", None),
        ("ingest", "POST", "/sessions", {"user_id": "a"}),
        ("ingest", "POST", "/search", {"query": "a"}),
        ("ingest", "GET", f"/documents/{uuid4()}/chunks", None),
        ("ingest", "GET", f"/documents/{uuid4()}/content", None),
    ):
        key = f"rgc_{new_id()}{new_id()}"
        await make_tenant(tenant.runtime, new_id(), key, scopes=(scope,))
        async with tenant.service.client(key) as http:
            check_problem(await http.request(method, API + path, json=body), 403, "forbidden")
