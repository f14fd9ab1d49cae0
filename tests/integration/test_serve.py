"""`ragchat serve` as a process: what it says, how it stops, what it refuses."""

import asyncio
import re
import signal
import socket
import stat

import pytest
import websockets
from sqlalchemy import URL

from tests.conftest import JWT_SECRET, make_database
from tests.integration.processes import Child, Place, free_port, place, spelled

STRONG_KEY = "rgc_3kVmW8sTqL0xZr5nYb7uJd2hCf6gPa9e"
SECRET = "dW5ndWVzc2FibGUtLTQ4LWJ5dGVzLW9mLXJhbmRvbQ"


async def test_a_life_with_stops_and_a_kill(here: Place) -> None:
    """First start, Ctrl-C, second start, kill -9, third start, SIGTERM: one data folder all along."""
    service = await here.serve()
    said = re.search(r"API key +(rgc_\S+)  \(new; kept in (.+)\)", service.out)
    assert said is not None
    assert said[1] == here.key
    assert said[2] == str(here.data / "api_key")
    assert stat.S_IMODE((here.data / "api_key").stat().st_mode) == 0o600
    for line in (
        f"http://localhost:{here.port}/docs",
        f"ws://localhost:{here.port}/chat/{{session_id}}",
        str(here.data),
    ):
        assert line in service.out
    async with here.client() as http:
        session = (await http.post("/api/v1/sessions", json={"user_id": "ravi"})).json()["id"]
        messages = f"/api/v1/sessions/{session}/messages"
        assert (await http.post(messages, json={"sender": "user", "content": "one"})).status_code == 201
        assert (await http.get(messages, headers={"X-API-Key": "rgc_wrong"})).status_code == 401
        uri = f"ws://127.0.0.1:{here.port}/chat/{session}"
        async with websockets.connect(uri, additional_headers={"X-API-Key": here.key}) as socket_:
            assert await service.stop(signal.SIGINT) == 0  # with an open socket
            with pytest.raises(websockets.ConnectionClosed):
                while await socket_.recv():
                    pass
            assert socket_.close_code in (1001, 1012)
    assert here.processes() == []
    assert "Traceback" not in service.err

    service = await here.serve()
    assert here.key not in service.out + service.err
    assert "API key     in" in service.out
    async with here.client() as http:
        assert (await http.post(messages, json={"sender": "user", "content": "two"})).status_code == 201
    await service.kill()
    assert here.processes() != []  # PostgreSQL goes on

    service = await here.serve()
    async with here.client() as http:
        page = (await http.get(messages)).json()
        assert [(item["seq"], item["content"]) for item in page["items"]] == [(1, "one"), (2, "two")]
    assert await service.stop(signal.SIGTERM) == 0
    assert here.processes() == []
    assert not (here.data / "postgres" / "postmaster.pid").exists()


async def test_two_instances_side_by_side_and_a_port_in_use(here: Place) -> None:
    async with place() as there:
        services = await asyncio.gather(here.serve(), there.serve())
        async with here.client() as one, there.client() as two:
            session = (await one.post("/api/v1/sessions", json={"user_id": "ravi"})).json()["id"]
            assert (await one.get(f"/api/v1/sessions/{session}")).status_code == 200
            assert (await two.get(f"/api/v1/sessions/{session}")).status_code == 404
            assert (await two.get("/api/v1/sessions", headers={"X-API-Key": here.key})).status_code == 401

        third = await there.run("serve", port=str(here.port), data_dir=str(there.folder / "third"))
        assert third.code == 2
        line = f"ragchat does not start: port {here.port} on 127.0.0.1 is in use; choose another: PORT=8001\n"
        assert third.err == line
        assert third.out == ""
        assert not (there.folder / "third").exists()

        assert await two_stops(services[0], here) == 0
        assert await services[1].stop(signal.SIGHUP) == 0  # the terminal was closed
        assert here.processes() == there.processes() == []


async def two_stops(service: Child, at: Place) -> int:
    """A request that is under way gets time, until a second signal says that it must not."""
    with socket.create_connection(("127.0.0.1", at.port)) as slow:
        slow.sendall(b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nX-API-Key: " + at.key.encode())
        slow.sendall(b"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        await asyncio.sleep(0.3)
        service.send(signal.SIGTERM)
        await asyncio.sleep(0.7)
        assert service.process.returncode is None
        return await service.stop(signal.SIGTERM)


@pytest.mark.parametrize(
    ("sign", "number"), [(".postgres-start.lock", signal.SIGTERM), (".postgres-new-*/base/1/PG_VERSION", signal.SIGINT)]
)
async def test_a_first_start_that_is_broken_off(here: Place, sign: str, number: signal.Signals) -> None:
    service = await here.start("serve")
    await there_is(here, sign)
    assert await service.stop(number) == 0
    assert "Traceback" not in service.err + service.out
    assert "ragchat is ready" not in service.out
    assert here.processes() == []
    assert not [*here.folder.glob("data/.postgres-new-*")]
    if number is signal.SIGINT:
        assert (here.data / "postgres" / "PG_VERSION").exists()  # initdb was let end: the next start need not repeat it
        service = await here.serve()
        assert await service.stop() == 0


async def there_is(place: Place, sign: str) -> None:
    async with asyncio.timeout(30):
        while not [*place.folder.glob(f"data/{sign}")]:
            await asyncio.sleep(0.01)


async def test_a_first_start_that_is_killed_leaves_nothing_that_breaks_the_next(here: Place) -> None:
    service = await here.start("serve")
    await there_is(here, ".postgres-new-*/PG_VERSION")
    await service.kill()
    service = await here.serve()
    assert await service.stop() == 0
    assert [path.name for path in here.data.glob(".postgres-new-*")] == []


REFUSALS = {
    "no key": ({"app_env": "production"}, "API_KEY must be set when APP_ENV=production."),
    "a default": ({"app_env": "production", "api_key": "change-me"}, "API_KEY is a known default or shorter than"),
    "short": ({"app_env": "production", "api_key": STRONG_KEY[:20]}, "API_KEY is a known default or shorter than"),
    "no secret": ({"app_env": "production", "api_key": STRONG_KEY}, "JWT_SECRET must be set when APP_ENV=production."),
    "a default secret": (
        {"app_env": "production", "api_key": STRONG_KEY, "jwt_secret": "change-me"},
        "JWT_SECRET is a known default, the API_KEY, or shorter than 32 bytes",
    ),
    "no key to mask with": (
        {"app_env": "production", "api_key": STRONG_KEY, "jwt_secret": JWT_SECRET, "openai_model": "m"},
        "MASKING_KEY must be set when",
    ),
    "a short one": ({"masking_key": "change-me"}, "MASKING_KEY is a known default or shorter than 32 characters"),
    "a typing error": ({"port": "eighty"}, "PORT must be a whole number"),
    "not postgres": ({"database_url": "mysql://localhost/x"}, "DATABASE_URL"),
    "not a url": ({"database_url": "nonsense"}, "DATABASE_URL"),
    "a folder in a file": ({"data_dir": "/etc/passwd/data"}, "DATA_DIR /etc/passwd/data cannot be made"),
    "no such host": ({"host": "192.0.2.1"}, "cannot listen on HOST=192.0.2.1"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_it_refuses_is_said_in_one_line(here: Place, name: str) -> None:
    settings, line = REFUSALS[name]
    done = await here.run("serve", **settings)
    assert done.code == 2
    assert done.err.startswith("ragchat does not start: ")
    assert line in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert "change-me" not in done.err
    assert not (here.data / "postgres").exists()


async def test_production_starts_with_a_strong_key_and_never_prints_it(postgres: URL) -> None:
    """On a database of one's own, in the spelling of a hosting provider."""
    url = spelled(await make_database(postgres, "test_production"), "postgres") + "&sslmode=disable"
    async with place(app_env="production", api_key=STRONG_KEY, jwt_secret=SECRET, database_url=url) as here:
        service = await here.serve()
        async with here.client() as http:
            assert (await http.get("/api/v1/sessions")).status_code == 200
        assert STRONG_KEY not in service.out + service.err
        assert SECRET not in service.out + service.err
        assert not (here.data / "jwt_secret").exists()
        assert not (here.data / "api_key").exists()
        assert not (here.data / "postgres").exists()
        assert await service.stop() == 0
        assert "listen.lost" not in service.err


async def test_a_database_that_stays_away(here: Place) -> None:
    """It is waited for, a signal ends the waiting; a command in the terminal gives up after moments."""
    url = f"postgresql://u:hush-hush@127.0.0.1:{free_port()}/none"
    service = await here.start("serve", database_url=url)
    await service.until("database.awaited")
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", here.port)
    assert await service.stop(signal.SIGINT) == 0
    assert service.err.endswith("stopped before it was ready\n")
    assert "Traceback" not in service.err

    done = await here.run("search", "anything", database_url=url)
    assert done.code == 2
    assert done.err == "database_unavailable: The database of DATABASE_URL did not answer within 3 seconds.\n"
    assert "hush-hush" not in service.err + done.err
