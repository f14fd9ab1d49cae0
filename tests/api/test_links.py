"""Links to original files: whoever has one gets that file until it ends, and nothing else, ever (H28)."""

import asyncio
import base64
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest

from app.core.ids import new_id
from app.services import links
from app.services.links import LinkService
from tests.api import test_hostile_tools as tools
from tests.api.test_hostile_tools import check_problem
from tests.conftest import MakeTenant, Tenant

edge, unharmed = tools.edge, tools.unharmed
API = "/api/v1"
NAME = 'ధరలు "1"; it\'s <b>.html'
BYTES = f"<p>ఒక కప్పు టీ 15 రూపాయలు.</p><!--{'x' * 600_000}-->".encode()
"""Several blocks, and little to index."""


async def add(tenant: Tenant, data: bytes = BYTES, **fields: str) -> str:
    response = await tenant.http.post(f"{API}/documents", files={"file": (NAME, data)}, data=fields)
    assert response.status_code in (200, 202), response.text
    return str(response.json()["id"])


async def link(tenant: Tenant, document_id: str, **params: Any) -> str:
    response = await tenant.http.get(f"{API}/documents/{document_id}/link", params=params)
    assert response.status_code == 200, response.text
    return str(response.json()["url"])


async def refused(tenant: Tenant, url: str) -> dict[str, Any]:
    """What it says, without what names the request."""
    async with tenant.service.client() as http:
        problem = check_problem(await http.get(url), 404, "not_found")
    return {name: value for name, value in problem.items() if name not in ("instance", "request_id")}


class TestFollowed:
    async def test_opens_the_file_without_credentials_as_content_does(self, tenant: Tenant) -> None:
        document = await add(tenant)
        url = await link(tenant, document)
        mine = await tenant.http.get(f"{API}/documents/{document}/content")
        async with tenant.service.client() as http:
            given = await http.get(url)
            part = await http.get(url, headers={"Range": "bytes=300000-300009"})
            same = await http.get(url, headers={"If-None-Match": given.headers["etag"]})
            beyond = await http.get(url, headers={"Range": "bytes=99999999-"})
        assert (given.status_code, given.content) == (200, BYTES)
        varying = ("date", "x-request-id")
        told = {name: value for name, value in given.headers.items() if name not in varying}
        assert told == {name: value for name, value in mine.headers.items() if name not in varying}
        assert told["content-disposition"].startswith("attachment; filename*=UTF-8''%E0%B0%A7")
        assert "sandbox" in told["content-security-policy"]
        assert told["referrer-policy"] == "no-referrer"
        assert (part.status_code, part.content) == (206, BYTES[300_000:300_010])
        assert same.status_code == 304
        check_problem(beyond, 416, "invalid_range")

    async def test_is_told_until_when(self, tenant: Tenant) -> None:
        document = await add(tenant)
        for asked, seconds in (({}, 300), ({"seconds": 1}, 1), ({"seconds": 3600}, 3600)):
            before = datetime.now(UTC)
            response = await tenant.http.get(f"{API}/documents/{document}/link", params=asked)
            assert response.headers["cache-control"] == "no-store"
            ends = datetime.fromisoformat(response.json()["expires_at"])
            assert timedelta(seconds=seconds - 2) < ends - before < timedelta(seconds=seconds + 60)

    async def test_shows_the_version_it_was_made_for(self, tenant: Tenant) -> None:
        document = await add(tenant, b"The first.", external_id="word")
        first = await link(tenant, document)
        assert await add(tenant, b"The second.", external_id="word") == document
        second = await link(tenant, document)
        async with tenant.service.client() as http:
            assert (await http.get(first)).content == b"The first."
            assert (await http.get(second)).content == b"The second."
            assert (await http.get(await link(tenant, document, version=1))).content == b"The first."

    async def test_the_token_is_not_logged(self, edge: Tenant) -> None:
        url = await link(edge, await add(edge))
        with tools.watched_logs() as (events, lines):
            async with edge.service.client() as http:
                assert (await http.get(url)).status_code == 200
        assert url.rpartition("/")[2] not in str(events) + str(lines)
        assert any(event.get("route") == f"{API}/files/{{token}}" for event in events)


class TestRefused:
    async def test_after_its_end(self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        document = await add(tenant)
        url = await link(tenant, document, seconds=60)
        unknown = await refused(tenant, f"{API}/nothing/here")
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 61)
        assert await refused(tenant, url) == unknown

    async def test_after_a_second_of_real_time(self, tenant: Tenant) -> None:
        document = await add(tenant)
        url = await link(tenant, document, seconds=1)
        async with asyncio.timeout(10), tenant.service.client() as http:
            while (await http.get(url)).status_code == 200:
                await asyncio.sleep(0.1)
        await refused(tenant, url)

    async def test_altered_at_any_place(self, tenant: Tenant) -> None:
        url = await link(tenant, await add(tenant))
        path, _, token = url.rpartition("/")
        unknown = await refused(tenant, f"{API}/nothing/here")
        for place in range(len(token)):
            other = "A" if token[place] != "A" else "B"
            assert await refused(tenant, f"{path}/{token[:place]}{other}{token[place + 1 :]}") == unknown
        for other in (token[:-1], token[:-4], token + "A", token + "AAAA", token + "=", "~" + token, "a", "=" * 96,
                      token.lower(), f"{token[:9]}%20{token[9:]}", f"{token}%00", "ఎ" * 96, token * 60):  # fmt: skip
            assert await refused(tenant, f"{path}/{other}") == unknown

    async def test_made_with_another_key(self, tenant: Tenant) -> None:
        document = await add(tenant)
        other = LinkService(tenant.runtime.documents, tenant.runtime.storage, settings_key="k" * 40)
        made = await other.create(tenant.caller, UUID(document), version=None, seconds=60)
        assert await refused(tenant, f"{API}/files/{made.token}") == await refused(tenant, f"{API}/nothing/here")

    async def test_for_another_tenant_or_document_by_a_signed_part_of_both(self, new_tenant: MakeTenant) -> None:
        mine, other = await new_tenant(), await new_tenant()
        tokens = [(await link(each, await add(each))).rpartition("/")[2] for each in (mine, other)]
        parts = [base64.urlsafe_b64decode(token) for token in tokens]
        size = links.SIGNED.size
        for mixed in (parts[0][:size] + parts[1][size:], parts[1][:16] + parts[0][16:], parts[0][:16] + parts[1][16:]):
            await refused(mine, f"{API}/files/{base64.urlsafe_b64encode(mixed).decode()}")

    async def test_after_its_document_was_deleted(self, tenant: Tenant) -> None:
        document = await add(tenant)
        url = await link(tenant, document)
        assert (await tenant.http.delete(f"{API}/documents/{document}")).status_code == 204
        assert await refused(tenant, url) == await refused(tenant, f"{API}/nothing/here")

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
    async def test_by_another_method(self, tenant: Tenant, method: str) -> None:
        url = await link(tenant, await add(tenant, b"x"))
        async with tenant.service.client() as http:
            assert (await http.request(method, url)).status_code == 405
            assert (await http.get(url)).status_code == 200

    @pytest.mark.parametrize("seconds", ["0", "3601", "-1", "1e3", "5.0", "", "a", "999999999999999999999"])
    async def test_too_long_or_no_number(self, tenant: Tenant, seconds: str) -> None:
        document = await add(tenant, b"x")
        response = await tenant.http.get(f"{API}/documents/{document}/link", params={"seconds": seconds})
        assert check_problem(response, 400)["errors"][0]["pointer"] == "/seconds"

    async def test_of_what_is_not_there_or_not_mine(self, new_tenant: MakeTenant) -> None:
        mine, other = await new_tenant(), await new_tenant()
        theirs = await add(other)
        for id_ in (theirs, str(new_id()), "no-id"):
            response = await mine.http.get(f"{API}/documents/{id_}/link")
            check_problem(response, 404, "document_not_found")
        response = await other.http.get(f"{API}/documents/{theirs}/link", params={"version": 7})
        check_problem(response, 404, "version_not_found")

    async def test_without_a_key_nobody_makes_one(self, tenant: Tenant) -> None:
        document = await add(tenant, b"x")
        async with tenant.service.client() as http:
            check_problem(await http.get(f"{API}/documents/{document}/link"), 401, "unauthorized")


class TestGone:
    async def test_a_file_that_is_lost_is_a_problem_and_no_broken_answer(self, tenant: Tenant) -> None:
        document = await add(tenant)
        url = await link(tenant, document)
        await tenant.ended(document)
        shutil.rmtree(Path(tenant.runtime.settings.data_dir, "files", str(tenant.caller.tenant_id)))
        check_problem(await tenant.http.get(f"{API}/documents/{document}/content"), 404, "file_missing")
        async with tenant.service.client() as http:
            check_problem(await http.get(url), 404, "file_missing")


async def test_the_address_is_no_part_of_the_contract(edge: Tenant) -> None:
    paths = (await edge.http.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if path.startswith(f"{API}/files")]
    assert httpx.URL(await link(edge, await add(edge))).is_relative_url
    assert quote(NAME) not in await link(edge, await add(edge))
