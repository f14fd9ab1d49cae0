"""An S3 on loopback: moto's server as a child process, and a front before it that can misbehave."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aioboto3  # type: ignore[import-untyped]
import pytest
from aiohttp import ClientSession, web
from aiohttp.typedefs import LooseHeaders

SECRET = "the-secret-of-the-tests"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "ap-south-1",
    "AWS_DEFAULT_REGION": "ap-south-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
"""Ends with the process that started it, however that ends: its standard input closes."""


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """Its URL."""
    child = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=os.environ | ENVIRONMENT,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        try:
            yield f"http://127.0.0.1:{int(child.stdout.readline())}"
        finally:
            child.kill()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and a region, and nothing of the machine's own."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class Bucket:
    """As somebody else sees it, who lists what is really there."""

    name: str
    endpoint_url: str
    s3: Any

    async def versions(self) -> list[str]:
        """The keys of all versions and delete markers."""
        found = await self.s3.list_object_versions(Bucket=self.name)
        return sorted(item["Key"] for item in (*found.get("Versions", ()), *found.get("DeleteMarkers", ())))

    async def uploads(self) -> int:
        """Multipart uploads that were neither completed nor aborted."""
        return len((await self.s3.list_multipart_uploads(Bucket=self.name)).get("Uploads", ()))


@contextlib.asynccontextmanager
async def new_bucket(endpoint_url: str) -> AsyncIterator[Bucket]:
    name = f"files-{uuid4()}"
    session = aioboto3.Session(ENVIRONMENT["AWS_ACCESS_KEY_ID"], SECRET, region_name=ENVIRONMENT["AWS_REGION"])
    async with session.client("s3", endpoint_url=endpoint_url) as s3:
        where = {"LocationConstraint": ENVIRONMENT["AWS_REGION"]}
        await s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
        yield Bucket(name, endpoint_url, s3)


Answer = web.StreamResponse | None
Behaviour = Callable[[web.Request], Awaitable[Answer]]


class Unruly:
    """Answers requests that have `part` in their path and query, the first `often` of them; then dies if it is to."""

    def __init__(self, method: str, part: str, answer: Behaviour, *, often: int = 1, dies: bool = False) -> None:
        self.seen = 0
        self._method, self._part, self._answer, self._often, self._dies = method, part, answer, often, dies

    async def __call__(self, request: web.Request) -> Answer:
        if self.seen == self._often:
            return await hang_up(request) if self._dies else None
        if request.method != self._method or self._part not in request.raw_path:
            return None
        self.seen += 1
        return await self._answer(request)


@contextlib.asynccontextmanager
async def front(endpoint_url: str, behave: Behaviour, *, port: int = 0) -> AsyncIterator[str]:
    """Its URL. Passes on what `behave` has no answer for."""
    async with ClientSession(auto_decompress=False) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            answer = await behave(request)
            if answer is not None:
                return answer
            headers: LooseHeaders = request.headers
            async with session.request(
                request.method, endpoint_url + request.raw_path, headers=headers, data=io.BytesIO(await request.read())
            ) as passed:
                kept = {name: value for name, value in passed.headers.items() if name not in ("Server", "Date")}
                body = None if request.method == "HEAD" else await passed.read()
                return web.Response(status=passed.status, headers=kept, body=body)

        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def hang_up(request: web.Request) -> web.Response:
    """The connection ends without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def refusing(status: int, code: str) -> Behaviour:
    async def refuse(_: web.Request) -> web.Response:
        text = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        return web.Response(status=status, text=text, content_type="application/xml")

    return refuse
