"""`/docs` comes from this host alone, under a strict Content-Security-Policy."""

import hashlib
import re
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from app.api.docs_page import FOLDER, MEDIA_TYPES, mount_docs

HREF = re.compile(r'(?:src|href)="([^"]*)"')
CSS_URL = re.compile(r"url\(\s*[\"']?([^\"')]{1,40})|@import\s+[\"']?([^\"';]{1,40})")
STARTS_A_REQUEST = re.compile(r"https?://|(?<!:)//[a-z]|fetch\(|XMLHttpRequest|import\(", re.ASCII)


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    app = FastAPI(title='Docs & "more"', docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    mount_docs(app)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://ragchat.test") as client:
        yield client


async def test_the_page_has_a_strict_policy(client: AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(policy)
    assert "*" not in str(policy)


async def test_the_page_refers_to_our_own_assets_only(client: AsyncClient) -> None:
    html = (await client.get("/docs")).text
    assert "//" not in html
    assert "<title>Docs &amp; &quot;more&quot;</title>" in html
    assert re.findall(r"<script(?![^>]*src=)|<style|\son[a-z]+=", html) == []
    assert "docs/assets/init.js" in html
    for reference in HREF.findall(html):
        assert (await client.get(f"/{reference}")).status_code == 200, reference


async def test_the_stylesheet_and_our_script_reach_no_other_host(client: AsyncClient) -> None:
    css = (await client.get("/docs/assets/swagger-ui.css")).text
    urls = {first or second for first, second in CSS_URL.findall(css)}
    assert urls
    assert [url for url in urls if not url.startswith("data:")] == []
    script = (await client.get("/docs/assets/init.js")).text
    code = re.sub(r"^//.*$", "", script, flags=re.MULTILINE)
    assert STARTS_A_REQUEST.findall(code) == []
    assert "validatorUrl: null" in code  # otherwise the bundle asks validator.swagger.io


@pytest.mark.parametrize(("name", "media_type"), MEDIA_TYPES.items())
async def test_assets_have_the_right_type_and_can_be_cached(client: AsyncClient, name: str, media_type: str) -> None:
    first = await client.get(f"/docs/assets/{name}")
    assert first.status_code == 200
    assert first.content == (FOLDER / name).read_bytes()
    assert first.headers["content-type"].split(";")[0] == media_type
    assert first.headers["x-content-type-options"] == "nosniff"
    assert "max-age=86400" in first.headers["cache-control"]
    again = await client.get(f"/docs/assets/{name}", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    changed = await client.get(f"/docs/assets/{name}", headers={"If-None-Match": '"other"'})
    assert changed.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "unknown.js", "README.md", "", ".", "..%2f..%2fsettings.py", "%2e%2e/%2e%2e/core/settings.py",
        "..%2F..%2F__init__.py", "%2fetc%2fpasswd", "..%5c..%5cmain.py", "init.js%00", "init.js/", "INIT.JS",
    ],
)  # fmt: skip
async def test_anything_else_is_not_found(client: AsyncClient, path: str) -> None:
    answer = await client.get(f"/docs/assets/{path}", follow_redirects=False)
    if answer.status_code == 307:  # Starlette takes a trailing slash away, and nothing more
        assert answer.headers["location"] == "http://ragchat.test/docs/assets/init.js"
    else:
        assert answer.status_code == 404


async def test_the_routes_are_not_in_the_schema(client: AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json()["paths"] == {}


async def test_without_a_schema_there_is_no_page() -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mount_docs(app)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://ragchat.test") as client:
        assert (await client.get("/docs")).status_code == 404


def test_the_vendored_files_are_the_recorded_ones() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| `([0-9a-f]{64})`", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 6
    for name, recorded in rows:
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == recorded, name
