"""P1 and P2: what was acknowledged is there after `kill -9`, once, without gaps. P13: the database may come and go."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from app.db.embedded import Server
from tests.integration.processes import Place, place, rows

WRITERS = 16
SESSIONS = 4


class Writers:
    """Append without pause until they are stopped; whatever goes wrong in between, they try on."""

    def __init__(self, http: httpx.AsyncClient, sessions: list[str]) -> None:
        self._http = http
        self._sessions = sessions
        self._tasks: list[asyncio.Task[None]] = []
        self.acked: list[tuple[str, int, str]] = []
        self.others: Counter[str] = Counter()

    def begin(self) -> None:
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(WRITERS)]

    async def _write(self, number: int) -> None:
        session = self._sessions[number % len(self._sessions)]
        for count in range(1_000_000):
            content = f"writer {number}, message {count}"
            body = {"sender": "user", "content": content}
            try:
                answer = await self._http.post(f"/api/v1/sessions/{session}/messages", json=body)
            except httpx.HTTPError as exc:
                self.others[type(exc).__name__] += 1
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 201:
                self.acked.append((session, answer.json()["seq"], content))
            else:
                self.others[f"{answer.status_code} {answer.json()['code']}"] += 1
                await asyncio.sleep(0.05)

    async def until_acked(self, count: int) -> None:
        target = len(self.acked) + count
        async with asyncio.timeout(40):
            while len(self.acked) < target:
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def check(self) -> None:
        """Every acked message is there exactly once under its number; the numbers have no gap."""
        stored: list[tuple[str, int, str]] = []
        for session in self._sessions:
            numbers = []
            cursor: dict[str, str] = {}
            while True:
                path = f"/api/v1/sessions/{session}/messages"
                page = (await self._http.get(path, params={"limit": "200"} | cursor)).json()
                stored += [(session, item["seq"], item["content"]) for item in page["items"]]
                numbers += [item["seq"] for item in page["items"]]
                if not page["next_cursor"]:
                    break
                cursor = {"cursor": page["next_cursor"]}
            assert numbers == [*range(1, len(numbers) + 1)]
        assert set(self.acked) <= set(stored)
        assert len({(session, content) for session, _, content in stored}) == len(stored)
        assert len(stored) - len(self.acked) <= 3 * WRITERS  # those whose answer was cut off


async def new_sessions(http: httpx.AsyncClient) -> list[str]:
    made = [await http.post("/api/v1/sessions", json={"user_id": f"user {n}"}) for n in range(SESSIONS)]
    return [answer.json()["id"] for answer in made]


async def test_killing_the_service_and_then_its_database(here: Place) -> None:
    """The embedded server: the service is killed and started again, then the postmaster, which the service revives."""
    service = await here.serve(rate_limit_per_minute="0")
    async with here.client() as http:
        writers = Writers(http, await new_sessions(http))
        writers.begin()
        await writers.until_acked(150)
        await service.kill()
        before = len(writers.acked)
        service = await here.serve()
        await writers.until_acked(100)
        assert before >= 150

        os.kill(here.postmaster(), signal.SIGKILL)
        await writers.until_acked(100)
        await writers.stop()
        await writers.check()
    assert "503 database_unavailable" in writers.others, writers.others
    assert not [problem for problem in writers.others if problem.startswith(("4", "500"))], writers.others
    assert await service.stop() == 0
    assert here.processes() == []


async def test_a_database_that_comes_and_goes(here: Place) -> None:
    """Another's PostgreSQL: there only after the service was started, killed, back again."""
    async with place() as other:
        server = Server(other.data / "postgres")
        url = f"postgresql://postgres@/postgres?host={server.socket_folder}"
        service = await here.start("serve", database_url=url)
        await service.until("database.awaited")
        await asyncio.to_thread(server.join)
        await service.until("ragchat is ready")
        async with here.client() as http:
            session = (await http.post("/api/v1/sessions", json={"user_id": "ravi"})).json()["id"]
            path = f"/api/v1/sessions/{session}/messages"
            assert (await http.post(path, json={"sender": "user", "content": "kept"})).status_code == 201

            os.kill(other.postmaster(), signal.SIGKILL)
            await eventually(lambda: status(http, "/readyz"), 503)
            assert await status(http, "/livez") == 200
            answer = await http.get(path)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"].isdigit()
            assert answer.json()["code"] == "database_unavailable"

            await asyncio.to_thread(server.revive)
            await eventually(lambda: status(http, "/readyz"), 200)
            assert [item["content"] for item in (await http.get(path)).json()["items"]] == ["kept"]
            document = await http.post("/api/v1/documents", json={"title": "note", "text": "Back at work again."})
            id_ = document.json()["id"]
            await eventually(lambda: document_status(http, id_), "ready")  # the worker and its LISTEN are back, too
        settings = await rows(url, "SELECT name, setting FROM pg_settings WHERE name = ANY($1)", DURABLE)
        assert {row["setting"] for row in settings} == {"on"}
        assert await service.stop() == 0
        assert "Traceback" not in service.err
        await asyncio.to_thread(server.leave)
        assert other.processes() == []


DURABLE = ["synchronous_commit", "fsync", "full_page_writes"]


async def status(http: httpx.AsyncClient, path: str) -> int:
    return (await http.get(path)).status_code


async def document_status(http: httpx.AsyncClient, id_: str) -> str:
    return str((await http.get(f"/api/v1/documents/{id_}")).json()["status"])


async def eventually(ask: Callable[[], Awaitable[Any]], expected: Any, seconds: float = 30) -> None:
    found: Any = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (found := await ask()) != expected:
                await asyncio.sleep(0.1)
    assert found == expected
