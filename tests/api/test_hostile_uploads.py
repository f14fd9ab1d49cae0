"""Forms, files and their names (H73-H78, H86, H87)."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from app.core.settings import Settings
from tests.api import test_hostile_tools as tools
from tests.api.test_hostile_tools import CANARY, Reply, check_problem, raw, request
from tests.conftest import Service, Tenant, make_settings, serving

edge, unharmed = tools.edge, tools.unharmed
DOCUMENTS = "/api/v1/documents"
END = b"--x--\r\n"


def part(name: str = "file", data: bytes | str = CANARY, *, filename: str | None = None, headers: str = "") -> bytes:
    """One part of a form whose boundary is x; a filename makes it a file."""
    shown = "" if filename is None else f'; filename="{filename}"'
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n{headers}\r\n'
    return head.encode() + (data.encode() if isinstance(data, str) else data) + b"\r\n"


FILE = part(filename="a.txt")
FORM = "multipart/form-data; boundary=x"


async def send(tenant: Tenant, body: bytes, media_type: str = FORM) -> Reply:
    data = request("POST", DOCUMENTS, tenant.key, body, Content_Type=media_type)
    return await raw(tenant.service.address, data)


class TestForms:
    @pytest.mark.parametrize(
        ("body", "media_type"),
        [
            (FILE + END, "multipart/form-data"),
            (FILE + END, "multipart/form-data; boundary="),
            (FILE + END, "multipart/form-data; boundary=y"),
            (FILE + END, "multipart/form-data; boundary=" + "x" * 300),
            (FILE + END, 'multipart/form-data; boundary="\xff"'),
            (b"", FORM), (b"garbage", FORM), (END, "multipart/form-data; boundary=--x"),
            (FILE, FORM), (FILE[:-5], FORM), (b"--x\r\nContent-Dispo", FORM),
            (FILE + part("title", "cut")[:-4], FORM),
            (b"".join(part(f"f{i}") for i in range(11)) + FILE + END, FORM),
            (b"".join(part(f"f{i}") for i in range(1001)) + END, FORM),
            (FILE + part("file2", filename="b.txt") + END, FORM),
            (FILE + FILE + END, FORM),
            (b"".join(part(f"f{i}", filename="b.txt") for i in range(1001)) + END, FORM),
            (part(filename="a.txt", headers="X-A: b\r\n" * 9) + END, FORM),
            (part(filename="a.txt", headers="X-A: b\r\n" * 50_000) + END, FORM),
            (part(filename="a.txt", headers="X-A: " + "b" * 1_000_000 + "\r\n") + END, FORM),
            (part(filename="a" * 100_000 + ".txt") + END, FORM),
            (b'--x\r\nContent-Disposition: form-data; filename="a.txt"\r\n\r\nx\r\n' + END, FORM),
            (b"--x\r\n\r\nx\r\n" + END, FORM),
            (part(filename="a\r\nX-A: b.txt") + b"", FORM),
            (FILE + END, 'multipart/form-data; !="' + "\\" * 50_000),
        ],
        ids=range(25),
    )  # fmt: skip
    async def test_malformed(self, edge: Tenant, body: bytes, media_type: str) -> None:
        began = time.perf_counter()
        check_problem(await send(edge, body, media_type), 400, "malformed_multipart")
        assert time.perf_counter() - began < 1

    @pytest.mark.parametrize(
        "charset",
        ["punycode", "undefined", "idna", "utf-16", "utf-7", "unicode_escape", "raw_unicode_escape", "hex", "rot13",
         "zip", "latin-1", "\xff", "a" * 1000],
    )  # fmt: skip
    async def test_only_utf8(self, edge: Tenant, charset: str) -> None:
        body = part("title", "\\ud800\\x00" + "a" * 100) + FILE + END
        check_problem(await send(edge, body, f"{FORM}; charset={charset}"), 400, "malformed_multipart")

    async def test_long_media_type_costs_no_time(self, edge: Tenant) -> None:
        for tail in ("; a=" + '\\"' * 20_000, ";" * 50_000, '; a="b"' * 8000, "; " + "=" * 50_000):
            began = time.perf_counter()
            reply = await send(edge, b"", FORM + tail)
            check_problem(reply, 400, "malformed_multipart")
            assert time.perf_counter() - began < 2  # quadratic time would be minutes

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (part("title", "a") + part("title", "b") + FILE, "duplicate_field"),
            (part("title", "a"), "missing_file"),
            (part("file", "not a file"), "missing_file"),
            (part("text", "x", filename="a.txt"), "missing_file"),
            (part("text", "x") + FILE, "missing_file"),
            (part("text", " \u200b\n"), "empty_content"),
            (part("text", "a\0b"), "invalid_character"),
            (part("title", "a\0b") + FILE, "invalid_character"),
            (part("external_id", "a\0b") + FILE, "invalid_character"),
            (part("collection", "\0") + FILE, "invalid_character"),
            (part("title", "a" * 501) + FILE, "too_long"),
            (part("title", "\u200b") + FILE, "empty_content"),
            (part("lang", "te; DROP") + FILE, "invalid_request"),
            (part("file_uri", "file:///etc/passwd") + FILE, "invalid_request"),
            (part("s3_uri", "s3://other/x") + FILE, "invalid_request"),
            (part("tenant_id", "1") + FILE, "invalid_request"),
            (part("lang", "xx") + FILE, "unsupported_language"),
            (part("metadata", "[]") + FILE, "invalid_request"),
            (part("metadata", '{"a":') + FILE, "malformed_json"),
            (part("metadata", '{"a": 1, "a": 2}') + FILE, "malformed_json"),
            (part("metadata", '{"a": "\\u0000"}') + FILE, "invalid_character"),
            (part("metadata", "{}", filename="a.json") + part("text", "x"), "invalid_request"),
            (part(CANARY + "<b>", "1") + FILE, "invalid_request"),
        ],
    )
    async def test_wrong_fields(self, edge: Tenant, body: bytes, code: str) -> None:
        check_problem(await send(edge, body + END), 400, code)

    async def test_nothing_refused_is_kept(self, edge: Tenant) -> None:
        assert CANARY not in (await edge.http.get(DOCUMENTS)).text
        assert not [*(edge.runtime.settings.data_dir / "files" / "incoming").iterdir()]


NAMES = {
    "../../etc/passwd.txt": "passwd.txt", "..\\..\\x.txt": "x.txt", "/abs.txt": "abs.txt", "C:\\x.txt": "x.txt",
    "C:x.txt": "C:x.txt", "a\0b.txt": "ab.txt", ".txt": ".txt", "con.txt": "con.txt", "-rf.txt": "-rf.txt",
    "%2e%2e%2fx.txt": "%2e%2e%2fx.txt", "exe.\u202etxt.fdp.txt": "exe.txt.fdp.txt", "\u200bx\u2066.txt": "x.txt",
    "😀.txt": "😀.txt", "e\u0301.txt": "é.txt", "é .txt": "é .txt", "$(id).txt": "$(id).txt", "`id`;.txt": "`id`;.txt",
    "~/.ssh/x.txt": "x.txt", "a.txt ": "a.txt", "a/../..": None, "": None, "...": None, "a.txt/": "a.txt",
    "n" * 300 + ".txt": "n" * 251 + ".txt", "క" * 200 + ".txt": "క" * 83 + ".txt", "a%0d%0aX: y.txt": "a%0d%0aX: y.txt",
    'a%22; filename=%22b.txt': 'a%22; filename=%22b.txt', "a\x1b[31m.txt": "a[31m.txt", "a\u2028b.txt": "ab.txt",
}  # fmt: skip
"""As sent, and as shown; None where no type is left."""


class TestNames:
    @pytest.mark.parametrize(("sent", "shown"), NAMES.items(), ids=lambda name: ascii(name)[:20])
    async def test_are_for_display_only(self, edge: Tenant, sent: str, shown: str | None) -> None:
        reply = await send(edge, part(filename=sent, data=f"file of {sent!r}") + END)
        if shown is None:
            check_problem(reply, 415, "unsupported_type")
            return
        document = reply.json()
        assert (reply.status, document["filename"]) == (202, shown)
        assert len(shown.encode()) <= 255
        url = f"{DOCUMENTS}/{document['id']}/content"
        answer = await raw(edge.service.address, request("GET", url, edge.key))
        assert answer.status == 200
        prefix, _, name = answer.headers["content-disposition"].partition("''")
        assert prefix == "attachment; filename*=UTF-8"
        assert not set(name) & set("\"\\;/ \r\n'")
        assert unquote(name) == shown
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_titles_name_no_files(self, edge: Tenant) -> None:
        for title in ("../../../../tmp/x", "/etc/cron.d/x", "a\r\nX: y", "a\\..\\b", "x" * 500):
            reply = await edge.http.post(DOCUMENTS, json={"title": title, "text": f"text of {title}"})
            assert (reply.status_code, reply.json()["title"]) == (202, title)
            answer = await edge.http.get(f"{DOCUMENTS}/{reply.json()['id']}/content")
            assert "x" in answer.headers["content-disposition"] or "b.txt" in answer.headers["content-disposition"]
            assert "X" not in answer.headers

    async def test_files_lie_under_names_of_ours(self, edge: Tenant, tmp_path_factory: pytest.TempPathFactory) -> None:
        await send(edge, part(filename="../../../escaped.txt", data="escape") + END)
        root = edge.runtime.settings.data_dir
        keys = {path.relative_to(root / "files") for path in (root / "files").rglob("*") if path.is_file()}
        assert keys
        assert not [key for key in keys if len(key.parts) != 2 or key.suffix]
        around = [root.parent, *root.parents[1:3]]
        assert not [path for folder in around for path in folder.glob("*escaped*")]
        assert not Path(f"{root}-evil").exists()


class TestTypes:
    @pytest.mark.parametrize(
        ("name", "data", "code"),
        [
            ("a.exe", b"MZ\x90\0", "unsupported_type"), ("a.svg", b"<svg onload=alert(1)>", "unsupported_type"),
            ("a.zip", b"PK\x03\x04", "unsupported_type"), ("a", b"text", "unsupported_type"),
            ("a.pdf.exe", b"%PDF-1.7", "unsupported_type"), ("a.txt\u202e.exe", b"text", "unsupported_type"),
            ("a.pdf", b"MZ\x90\0" + bytes(200), "type_mismatch"),
            ("a.txt", b"<!doctype html><script>", "type_mismatch"),
            ("a.docx", b"%PDF-1.7\n", "type_mismatch"), ("a.pdf", b"PK\x03\x04" + bytes(50), "type_mismatch"),
            ("a.docx", b"PK\x03\x04" + bytes(22) + b"\x05\0\0\0evil/", "type_mismatch"),
            ("a.txt", b"\x89PNG\r\n\x1a\n", "type_mismatch"), ("a.md", b"\x7fELF", "type_mismatch"),
            ("a.txt", b"%PDF-1.7\n", "type_mismatch"), ("a.html", b"GIF89a\0\0", "type_mismatch"),
        ],
    )  # fmt: skip
    async def test_wrong_ones(self, edge: Tenant, name: str, data: bytes, code: str) -> None:
        reply = await edge.http.post(DOCUMENTS, files={"file": (name, data, "application/pdf")})
        check_problem(reply, 415, code)

    async def test_empty_and_tiny(self, edge: Tenant) -> None:
        check_problem(await edge.http.post(DOCUMENTS, files={"file": ("a.txt", b"")}), 400, "empty_file")
        for data in (b"1", b" ", b"\0"):
            reply = await edge.http.post(DOCUMENTS, files={"file": ("a.txt", data)})
            assert reply.status_code == 202
            assert (await edge.ended(reply.json()["id"]))["status"] in ("ready", "failed")

    async def test_a_page_is_never_shown(self, edge: Tenant) -> None:
        page = b"<!doctype html><title>t</title><script>alert(1)</script><p>Words."
        document = (await edge.http.post(DOCUMENTS, files={"file": ("p.html", page)})).json()
        answer = await edge.http.get(f"{DOCUMENTS}/{document['id']}/content")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"

    async def test_the_same_file_at_once_is_one_document(self, edge: Tenant) -> None:
        files = {"file": ("same.txt", b"The same bytes.")}
        replies = await asyncio.gather(*(edge.http.post(DOCUMENTS, files=files) for _ in range(20)))
        assert sorted(reply.status_code for reply in replies) == [200] * 19 + [202]
        assert len({reply.json()["id"] for reply in replies}) == 1


@pytest.fixture(scope="module")
async def small(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A service that takes documents of 1 MiB."""
    values: dict[str, Any] = {"database_url": settings.database_url, "data_dir": settings.data_dir}
    async with serving(make_settings(**values, max_upload_mb=1, worker_in_process=False)) as (address, runtime):
        service = Service(address, runtime)
        _, key = await service.tenant()
        async with service.client(key) as http:
            yield http


class TestSizes:
    LIMIT = 1 << 20

    async def test_to_the_byte(self, small: httpx.AsyncClient) -> None:
        for size, status in ((self.LIMIT - 1, 202), (self.LIMIT, 202), (self.LIMIT + 1, 413)):
            data = b"a" * size
            replies = [
                await small.post(DOCUMENTS, files={"file": ("a.txt", data)}),
                await small.post(DOCUMENTS, json={"title": str(size), "text": data.decode(), "collection": "json"}),
                await small.post(DOCUMENTS, files={"text": (None, data), "collection": (None, "form")}),
            ]
            assert [reply.status_code for reply in replies] in ([status] * 3, [413, 413, 400])
            for reply in replies:
                if reply.status_code >= 400:
                    check_problem(reply, reply.status_code)

    async def test_over_the_limit_of_bodies(self, small: httpx.AsyncClient, settings: Settings) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield part(filename="a.txt", data="")[:-2]
            for _ in range(64):
                yield b"a" * 65_536

        check_problem(await small.post(DOCUMENTS, files={"file": ("a.txt", b"a" * (3 << 20))}), 413, "too_large")
        check_problem(await small.post(DOCUMENTS, json={"text": "a" * (3 << 20)}), 413, "too_large")
        reply = await small.post(DOCUMENTS, content=chunks(), headers={"Content-Type": FORM})
        check_problem(reply, 413, "too_large")
        assert not [*(settings.data_dir / "files" / "incoming").iterdir()]
