"""Real parts for every test: an embedded PostgreSQL, a migrated database, the service on a socket.

One server and one database for each test process; every test gets a tenant of its own, so that nothing has to be
cleaned up and nothing of another test is seen.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import uvicorn
from sqlalchemy import URL

from app.api.http_protocol import BoundedHttp
from app.api.routers.chat_ws import MAX_FRAME_BYTES
from app.api.ws_protocol import BoundedWebSocket
from app.core.caller import Caller, tenant_caller
from app.core.ids import new_id
from app.core.security import key_digest, new_key
from app.core.settings import Settings
from app.db.embedded import embedded_postgres
from app.main import create_app
from app.runtime import Runtime

ROOT = Path(__file__).resolve().parents[1]
LONGEST_ID = 100
"""Characters of a parameter in a test's name. An archive of one file has more."""
SHARED = ROOT.parent / "shared" / "data"
DOCUMENTS = ROOT / "tests" / "data" / "documents"

JWT_SECRET = secrets.token_urlsafe(48)

for _name in Settings.model_fields:
    os.environ.pop(_name.upper(), None)


def shared(*parts: str) -> Path:
    """A folder of the larger data sets; the test is skipped where they are not."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"not present: {path.relative_to(SHARED)}")
    return path


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """No file's content in a test's name: some hold the time at which they were made, and the processes of a run must
    find the same tests."""
    return argname if isinstance(val, bytes | str) and len(val) > LONGEST_ID else None


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[URL]:
    """One server for all test processes of the run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"ragchat-test-{run[:16]}"
    async with embedded_postgres(folder / "postgres") as url:
        yield url
    if not (folder / "postgres" / "postmaster.pid").exists():  # else another test process still uses it
        shutil.rmtree(folder, ignore_errors=True)


async def make_database(postgres: URL, name: str) -> str:
    """An empty database of this test process; test processes share the server."""
    name = f"{name}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    connection = await asyncpg.connect(host=str(postgres.query["host"]), user="postgres", database="postgres")
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return postgres.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
async def database_url(postgres: URL) -> str:
    return await make_database(postgres, "test")


@pytest.fixture(scope="session")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(database_url=database_url, data_dir=tmp_path_factory.mktemp("data"))


def make_settings(**values: Any) -> Settings:
    """Nothing from the machine's environment or a `.env` file."""
    return Settings(_env_file=None, **{"log_level": "WARNING", "jwt_secret": JWT_SECRET} | values)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[str, Runtime]]:
    """The service on a free port, in this event loop."""
    app = create_app(settings)
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, proxy_headers=False, ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False, timeout_graceful_shutdown=2, http=BoundedHttp, ws=BoundedWebSocket,
    )  # fmt: skip
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
            raise RuntimeError("the service did not start")
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"127.0.0.1:{port}", app.state.runtime
    finally:
        server.should_exit = True
        await task


@dataclass(frozen=True)
class Service:
    """The running service. `client` and `tenant` give everything a test needs of its own."""

    address: str
    runtime: Runtime

    async def tenant(self) -> tuple[Caller, str]:
        """A new tenant: its caller, and a key for it."""
        caller, key = tenant_caller(new_id()), new_key()
        await make_tenant(self.runtime, caller.tenant_id, key)
        return caller, key

    def client(
        self, key: str | None = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.AsyncClient:
        given = {**({"X-API-Key": key} if key else {}), **(headers or {})}
        return httpx.AsyncClient(base_url=f"http://{self.address}", headers=given, timeout=30, **options)


async def make_tenant(
    runtime: Runtime, tenant_id: UUID, key: str, scopes: tuple[str, ...] = ("chat", "ingest", "admin")
) -> None:
    async with runtime.uow(tenant_caller(tenant_id)) as uow:
        await uow.api_keys.ensure_tenant(tenant_id, str(tenant_id))
        await uow.api_keys.put_settings_key(key_digest(key.encode()), prefix=key[:8], scopes=list(scopes))


@pytest.fixture(scope="session")
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with serving(settings) as (address, runtime):
        yield Service(address, runtime)


@dataclass(frozen=True)
class Tenant:
    """A tenant of this test's own, over HTTP (`http`) and in process (`caller`)."""

    service: Service
    caller: Caller
    key: str
    http: httpx.AsyncClient

    @property
    def runtime(self) -> Runtime:
        return self.service.runtime

    async def session(self, **fields: Any) -> str:
        response = await self.http.post("/api/v1/sessions", json={"user_id": "ravi"} | fields)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    async def add_text(self, text: str, **fields: Any) -> dict[str, Any]:
        """A document, ready."""
        response = await self.http.post("/api/v1/documents", json={"title": "note", "text": text} | fields)
        assert response.status_code in (200, 202), response.text
        return await self.ended(response.json()["id"])

    async def add_file(self, path: Path, *, seconds: float = 60, **fields: str) -> dict[str, Any]:
        files = {"file": (path.name, path.read_bytes())}
        response = await self.http.post("/api/v1/documents", files=files, data=fields)
        assert response.status_code in (200, 202), response.text
        return await self.ended(response.json()["id"], seconds)

    async def ended(self, document_id: str, seconds: float = 60) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while True:
                document = (await self.http.get(f"/api/v1/documents/{document_id}")).json()
                if document["status"] in ("ready", "failed"):
                    return dict(document)
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def open_tenant(service: Service) -> AsyncIterator[Tenant]:
    caller, key = await service.tenant()
    async with service.client(key) as http:
        yield Tenant(service, caller, key, http)


MakeTenant = Callable[[], Awaitable[Tenant]]


@pytest.fixture
async def new_tenant(service: Service) -> AsyncIterator[MakeTenant]:
    async with contextlib.AsyncExitStack() as stack:

        async def make() -> Tenant:
            return await stack.enter_async_context(open_tenant(service))

        yield make


@pytest.fixture
async def tenant(new_tenant: MakeTenant) -> Tenant:
    return await new_tenant()
