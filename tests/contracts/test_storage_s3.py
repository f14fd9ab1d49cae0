"""What is particular to S3: versions, multipart uploads, signed links, credentials, and servers that fail."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import io
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from app.core.errors import NotFound, Unavailable
from app.providers.storage import open_storage
from app.providers.storage import s3 as adapter
from app.providers.storage.s3 import BLOCK_BYTES, PART_BYTES, S3Storage
from tests import s3_server as servers
from tests.conftest import ROOT
from tests.contracts.test_storage import copied, keys, put, read
from tests.integration.processes import free_port
from tests.s3_server import ENVIRONMENT, SECRET, Answer, Behaviour, Bucket, Unruly, front, hang_up, new_bucket, refusing

pytestmark = pytest.mark.usefixtures("aws_environment")
s3_server, aws_environment = servers.s3_server, servers.aws_environment
LARGE = os.urandom(1 << 16) * 200
"""Three parts, four blocks."""
MEASURE = """
import asyncio, json, sys
from pathlib import Path
from app.providers.storage import open_storage

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024

async def main(folder, bucket, endpoint_url):
    storage = open_storage(Path(folder), bucket=bucket, endpoint_url=endpoint_url)
    await storage.open()
    peaks = {}
    for name, megabytes in (("before", 12), ("after", 200)):
        async with storage.receive() as file:
            for _ in range(megabytes):
                await file.write(bytes(1 << 20))
            await file.commit("t/large")
        peaks[f"{name} upload"] = peak()
        async with storage.local_copy("t/large") as path:
            assert path.stat().st_size == megabytes << 20
        peaks[f"{name} copy"] = peak()
    await storage.close()
    print(json.dumps(peaks))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def bucket(s3_server: str) -> AsyncIterator[Bucket]:
    async with new_bucket(s3_server) as made:
        yield made


@pytest.fixture
async def storage(bucket: Bucket, tmp_path: Path) -> AsyncIterator[S3Storage]:
    async with s3(bucket, tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def s3(bucket: Bucket, folder: Path, endpoint_url: str = "", name: str = "") -> AsyncIterator[S3Storage]:
    made = open_storage(folder, bucket=name or bucket.name, endpoint_url=endpoint_url or bucket.endpoint_url)
    assert isinstance(made, S3Storage)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def behind(bucket: Bucket, folder: Path, behave: Behaviour) -> AsyncIterator[S3Storage]:
    async with front(bucket.endpoint_url, behave) as url, s3(bucket, folder, url) as storage:
        yield storage


async def put_plainly(bucket: Bucket, key: str, data: bytes) -> None:
    await bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=io.BytesIO(data))


async def half_a_block(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(status=206, headers={"Content-Range": f"bytes 0-99/{len(LARGE)}"})
    answer.content_length = 100
    await answer.prepare(request)
    await answer.write(bytes(50))
    await hang_up(request)
    return answer


class TestDelete:
    async def test_no_version_and_no_delete_marker_is_left(self, bucket: Bucket, storage: S3Storage) -> None:
        await bucket.s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
        for data in (b"1", b"2", b"3"):
            await put(storage, "t/one", data)
        await put(storage, "t/one-more", b"x")
        await bucket.s3.delete_object(Bucket=bucket.name, Key="t/one")
        await put(storage, "t/one", b"4")
        assert await bucket.versions() == ["t/one"] * 5 + ["t/one-more"]
        await storage.delete("t/one")
        assert await bucket.versions() == ["t/one-more"]
        await storage.delete("t/one")
        assert await bucket.versions() == ["t/one-more"]

    async def test_behind_a_delete_marker_too(self, bucket: Bucket, storage: S3Storage) -> None:
        await bucket.s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
        await put(storage, "t/one", b"1")
        await bucket.s3.delete_object(Bucket=bucket.name, Key="t/one")
        await storage.delete("t/one")
        assert await bucket.versions() == []

    async def test_a_key_that_only_begins_the_same_is_left_alone(self, bucket: Bucket, tmp_path: Path) -> None:
        await put_plainly(bucket, "t/one-more", b"1")
        behave = Unruly("DELETE", "t/one", hang_up)
        async with behind(bucket, tmp_path, behave) as storage:
            await storage.delete("t/one")
        assert behave.seen == 0

    @pytest.mark.parametrize("status", [405, 501])
    async def test_a_server_that_knows_no_versions(self, bucket: Bucket, tmp_path: Path, status: int) -> None:
        behave = Unruly("GET", "?versions", refusing(status, "NotImplemented"), often=99)
        async with behind(bucket, tmp_path, behave) as storage:
            await put(storage, "t/one", b"1")
            await storage.delete("t/one")
            await storage.delete("t/one")
        assert behave.seen == 2
        assert await bucket.versions() == []

    @pytest.mark.parametrize(("method", "part"), [("GET", "?versions"), ("DELETE", "versionId")])
    async def test_what_may_not_be_deleted_is_no_success(
        self, bucket: Bucket, tmp_path: Path, method: str, part: str
    ) -> None:
        async with behind(bucket, tmp_path, Unruly(method, part, refusing(403, "AccessDenied"))) as storage:
            await put_plainly(bucket, "t/one", b"1")
            with pytest.raises(Unavailable):
                await storage.delete("t/one")


class TestFailing:
    @pytest.mark.parametrize(
        ("method", "part"),
        [("POST", "?uploads"), ("PUT", "partNumber=1"), ("PUT", "partNumber=3"), ("POST", "uploadId=")],
        ids=["begin", "first part", "last part", "complete"],
    )
    async def test_a_server_that_dies_during_an_upload(
        self, bucket: Bucket, tmp_path: Path, method: str, part: str
    ) -> None:
        async with behind(bucket, tmp_path, Unruly(method, part, hang_up, dies=True)) as storage:
            with capture_logs() as logs, pytest.raises(Unavailable) as raised:
                await put(storage, "t/large", LARGE)
        assert (raised.value.code, bucket.name in raised.value.detail) == ("storage_unavailable", False)
        assert any(event["event"] == "storage.failed" for event in logs)
        assert bucket.name not in str(logs)
        assert "t/large" not in str(logs)
        assert await bucket.versions() == []
        assert [*(tmp_path / "incoming").iterdir()] == []

    @pytest.mark.parametrize("last_words", [hang_up, half_a_block])
    async def test_a_server_that_dies_during_a_download(
        self, bucket: Bucket, tmp_path: Path, last_words: Behaviour
    ) -> None:
        await put_plainly(bucket, "t/large", LARGE)
        async with behind(bucket, tmp_path, Unruly("GET", "t/large", last_words, dies=True)) as storage:
            with pytest.raises(Unavailable):
                await copied(storage, "t/large")
            with pytest.raises(Unavailable):
                await read(storage, "t/large")
            with pytest.raises(Unavailable):
                await keys(storage)
        assert [*(tmp_path / "incoming").iterdir()] == []

    @pytest.mark.parametrize(
        ("method", "part"), [("PUT", "partNumber=2"), ("GET", "t/large")], ids=["upload", "download"]
    )
    @pytest.mark.parametrize("answer", [hang_up, refusing(503, "SlowDown")], ids=["cut", "slow down"])
    async def test_one_failure_is_survived(
        self, bucket: Bucket, tmp_path: Path, method: str, part: str, answer: Behaviour
    ) -> None:
        behave = Unruly(method, part, answer)
        async with behind(bucket, tmp_path, behave) as storage:
            await put(storage, "t/large", LARGE)
            assert await read(storage, "t/large") == LARGE
        assert behave.seen == 1

    @pytest.mark.parametrize("part", ["partNumber=2", "uploadId="])
    async def test_an_upload_that_is_refused_is_taken_back(self, bucket: Bucket, tmp_path: Path, part: str) -> None:
        method = "PUT" if part.startswith("part") else "POST"
        behave = Unruly(method, part, refusing(403, "AccessDenied"))
        async with behind(bucket, tmp_path, behave) as storage:
            with pytest.raises(Unavailable):
                await put(storage, "t/large", LARGE)
        assert behave.seen == 1
        assert (await bucket.uploads(), await bucket.versions()) == (0, [])

    async def test_an_upload_whose_answer_was_lost_is_taken_back(self, bucket: Bucket, tmp_path: Path) -> None:
        async def stored_in_silence(request: web.Request) -> web.Response:
            await put_plainly(bucket, "t/small", b"small")
            return await hang_up(request)

        behave = Unruly("PUT", "t/small", stored_in_silence, often=99)
        async with behind(bucket, tmp_path, behave) as storage:
            with pytest.raises(Unavailable):
                await put(storage, "t/small", b"small")
        assert behave.seen >= 1
        assert await bucket.versions() == []

    async def test_an_upload_that_is_cancelled_is_taken_back(self, bucket: Bucket, tmp_path: Path) -> None:
        begun = asyncio.Event()

        async def never(request: web.Request) -> web.Response:
            begun.set()
            await asyncio.sleep(3600)
            return await hang_up(request)

        async with behind(bucket, tmp_path, Unruly("PUT", "partNumber=2", never)) as storage:
            upload = asyncio.create_task(put(storage, "t/large", LARGE))
            await begun.wait()
            upload.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upload
        assert (await bucket.uploads(), await bucket.versions()) == (0, [])
        assert [*(tmp_path / "incoming").iterdir()] == []

    @pytest.mark.parametrize("status", [200, 403, 502])
    async def test_an_answer_that_is_not_of_an_s3(self, bucket: Bucket, tmp_path: Path, status: int) -> None:
        async def sorry(_: web.Request) -> web.Response:
            return web.Response(status=status, text="<html>Maintenance<br></html>", content_type="text/html")

        async with behind(bucket, tmp_path, Unruly("GET", "list-type=2", sorry, often=99)) as storage:
            with pytest.raises(Unavailable):
                await keys(storage)


class TestStart:
    async def test_a_server_that_comes_up_later(self, bucket: Bucket, tmp_path: Path) -> None:
        port = free_port()
        async with s3(bucket, tmp_path, f"http://127.0.0.1:{port}") as storage:
            with pytest.raises(Unavailable) as raised:
                await storage.check()
            assert raised.value.code == "storage_unavailable"
            async with front(bucket.endpoint_url, Unruly("", "", hang_up), port=port):
                await storage.check()
                await put(storage, "t/one", b"x")

    async def test_a_server_that_never_answers(
        self, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(adapter, "CHECK_SECONDS", 0.1)

        async def silent(_: web.Request) -> web.Response:
            await asyncio.sleep(3600)
            return web.Response()

        async with behind(bucket, tmp_path, silent) as storage:
            with pytest.raises(Unavailable):
                await storage.check()

    async def test_credentials_that_come_later(
        self, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        async with s3(bucket, tmp_path) as storage:
            with pytest.raises(Unavailable):
                await storage.check()
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
            await storage.check()

    @pytest.mark.parametrize("endpoint_url", ["not a url", "http://", "https://127.0.0.1:1"])
    async def test_an_endpoint_that_cannot_be(self, bucket: Bucket, tmp_path: Path, endpoint_url: str) -> None:
        async with s3(bucket, tmp_path, endpoint_url) as storage:
            with pytest.raises(Unavailable):
                await storage.check()

    async def test_a_profile_that_is_not_there(
        self, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        async with s3(bucket, tmp_path) as storage:
            with pytest.raises(Unavailable):
                await storage.check()

    async def test_a_bucket_that_is_not_there(self, bucket: Bucket, tmp_path: Path) -> None:
        async with s3(bucket, tmp_path, name="no-such-bucket") as storage:
            for attempt in (storage.check(), read(storage, "a"), put(storage, "a", b"x"), storage.delete("a")):
                with pytest.raises(Unavailable):
                    await attempt


class TestLink:
    NAME = 'నివేదిక "1"; it\'s.pdf'

    async def link(self, storage: S3Storage, seconds: int = 60) -> str:
        url = await storage.link("t/one", filename=self.NAME, media_type="application/pdf", seconds=seconds)
        assert url is not None
        return url

    async def test_opens_the_file_without_credentials(self, bucket: Bucket, storage: S3Storage) -> None:
        await put(storage, "t/one", LARGE)
        url = await self.link(storage)
        async with httpx.AsyncClient() as http:
            answer = await http.get(url)
            part = await http.get(url, headers={"Range": "bytes=2-4"})
        assert (answer.status_code, answer.content) == (200, LARGE)
        assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{quote(self.NAME, safe='')}"
        assert answer.headers["content-type"] == "application/pdf"
        assert (part.status_code, part.content) == (206, LARGE[2:5])

    async def test_the_signature_covers_every_part_of_it(self, storage: S3Storage) -> None:
        """moto does not look at signatures: this computes them as Amazon's documentation has it."""
        url = await self.link(storage, seconds=77)
        query = dict(parse_qsl(urlsplit(url).query))
        assert query["X-Amz-Expires"] == "77"
        assert signature(url) == query["X-Amz-Signature"]
        for old, new in (
            ("t/one", "t/two"), ("X-Amz-Expires=77", "X-Amz-Expires=7777"), ("attachment", "inline"),
            ("127.0.0.1", "localhost"), ("application%2Fpdf", "text%2Fhtml"),
        ):  # fmt: skip
            assert old in url
            assert signature(url.replace(old, new)) != query["X-Amz-Signature"]

    async def test_of_amazon_has_the_regions_own_address(self, bucket: Bucket, tmp_path: Path) -> None:
        storage = open_storage(tmp_path, bucket="a-bucket", region="eu-north-1")
        assert isinstance(storage, S3Storage)
        url = await self.link(storage)
        await storage.close()
        assert url.startswith("https://a-bucket.s3.eu-north-1.amazonaws.com/t/one?")
        assert "%2Feu-north-1%2Fs3%2F" in url


def signature(url: str) -> str:
    """Of a GET, after "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"."""
    parts = urlsplit(url)
    query = sorted((name, value) for name, value in parse_qsl(parts.query) if name != "X-Amz-Signature")
    plain = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    request = f"GET\n{parts.path}\n{plain}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    date = dict(query)["X-Amz-Date"]
    scope = dict(query)["X-Amz-Credential"].partition("/")[2]
    assert scope == f"{date[:8]}/{ENVIRONMENT['AWS_REGION']}/s3/aws4_request"
    key = f"AWS4{SECRET}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    return hmac.digest(key, text.encode(), "sha256").hex()


async def test_parts_and_blocks_are_small_and_checked(bucket: Bucket, tmp_path: Path) -> None:
    lengths: dict[str, list[int]] = {"PUT": [], "GET": []}

    async def watch(request: web.Request) -> Answer:
        if request.method == "PUT":
            body = await request.read()
            lengths["PUT"].append(len(body))
            assert request.headers["Content-MD5"] == base64.b64encode(hashlib.md5(body).digest()).decode()  # noqa: S324
        elif "Range" in request.headers:
            first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
            lengths["GET"].append(int(last) - int(first) + 1)
        return None

    async with behind(bucket, tmp_path, watch) as storage:
        await put(storage, "t/large", LARGE)
        assert await copied(storage, "t/large") == LARGE
        assert await read(storage, "t/large", 10, BLOCK_BYTES + 20) == LARGE[10 : BLOCK_BYTES + 20]
    assert sorted(lengths["PUT"]) == [len(LARGE) - 2 * PART_BYTES, PART_BYTES, PART_BYTES]
    assert lengths["GET"] == [*[BLOCK_BYTES] * 3, len(LARGE) - 3 * BLOCK_BYTES, BLOCK_BYTES, 10]


async def test_a_slow_reader_holds_no_connection(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "CONNECTIONS", 1)
    await put_plainly(bucket, "t/large", LARGE)
    async with s3(bucket, tmp_path) as storage:
        readers = [storage.stream("t/large") for _ in range(3)]
        for reader in readers:
            assert len(await anext(reader)) == BLOCK_BYTES
        await storage.check()


async def test_a_file_that_vanishes_while_it_is_read_is_missing(bucket: Bucket, storage: S3Storage) -> None:
    await put(storage, "t/large", LARGE)
    reader = storage.stream("t/large")
    await anext(reader)
    await storage.delete("t/large")
    with pytest.raises(NotFound):
        await anext(reader)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
async def test_memory_does_not_grow_with_the_file(bucket: Bucket, tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MEASURE, str(tmp_path), bucket.name, bucket.endpoint_url,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await child.communicate()
    assert child.returncode == 0
    peaks = json.loads(out)
    assert peaks["after copy"] - peaks["before copy"] < 64, peaks
