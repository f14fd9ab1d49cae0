"""`ragchat create-user` and `ragchat create-key` as processes, and what they make over HTTP."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import URL

from tests.conftest import make_database
from tests.integration.processes import RAGCHAT, Place, place

pytestmark = pytest.mark.xdist_group("accounts_cli")
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
async def office(postgres: URL) -> AsyncIterator[Place]:
    async with place(database_url=await make_database(postgres, "test_accounts_cli")) as here:
        assert (await here.run("migrate")).code == 0
        yield here


async def typed(here: Place, stdin: str, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        RAGCHAT, *arguments, env=here.environment(), cwd=here.folder, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin.encode())
    return process.returncode or 0, out.decode(), err.decode()


async def test_what_was_made_here_opens_the_service(office: Place) -> None:
    made = await typed(office, PASSWORD + "\n", "create-user", "Admin@Shop.example", "--admin")
    assert made == (0, "admin@shop.example is a new admin\n", "")
    again = await typed(office, PASSWORD + "\n", "create-user", "admin@shop.example")
    assert again == (2, "", "email_taken: There is an account with this e-mail address.\n")
    key, plain = await asyncio.gather(
        office.run("create-key", "bot", "--scope", "chat", "--scope", "ingest", "--days", "30", "--json"),
        office.run("create-key", "other"),
    )
    assert (key.code, key.lines[0]["scopes"]) == (0, ["chat", "ingest"])
    assert (plain.code, plain.out[:4], plain.out.count("\n")) == (0, "rgc_", 1)
    assert stat.S_IMODE(os.stat(office.data / "jwt_secret").st_mode) == 0o600

    service = await office.serve()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{office.port}") as http:
        login = await http.post("/api/v1/auth/login", json={"email": "admin@shop.example", "password": PASSWORD})
        bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}
        assert (await http.get("/api/v1/users", headers=bearer)).json()["total"] == 1
        for made_key in (key.lines[0]["key"], plain.out.strip()):
            assert (await http.get("/api/v1/sessions", headers={"X-API-Key": made_key})).status_code == 200
            assert (await http.get("/api/v1/users", headers={"X-API-Key": made_key})).status_code == 403
    assert PASSWORD not in service.out + service.err
    assert await service.stop() == 0
    service = await office.serve()  # a token outlives the process that issued it
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{office.port}") as http:
        assert (await http.get("/api/v1/auth/me", headers=bearer)).json()["role"] == "admin"
    assert await service.stop() == 0


async def test_another_password(office: Place) -> None:
    account = {"email": "sita@shop.example", "password": PASSWORD}
    assert (await typed(office, PASSWORD, "create-user", account["email"]))[0] == 0
    service = await office.serve()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{office.port}/api/v1/auth") as http:
        pair = (await http.post("/login", json=account)).json()
        done = await typed(office, "staple battery horse\n", "set-password", "Sita@SHOP.example")
        assert done == (0, "The password is set; every login has ended.\n", "")
        assert (await http.post("/login", json=account)).status_code == 401
        assert (await http.post("/login", json=account | {"password": "staple battery horse"})).status_code == 200
        assert (await http.post("/refresh", json={"refresh_token": pair["refresh_token"]})).status_code == 401
        async with asyncio.timeout(10):  # the service is another process
            bearer = {"Authorization": f"Bearer {pair['access_token']}"}
            while (await http.get("/me", headers=bearer)).status_code != 401:
                await asyncio.sleep(0.1)
    assert await service.stop() == 0
    [entry] = (await office.run("audit", "--action", "user.password", "--json")).lines
    assert (entry["actor"], entry["outcome"]) == ("command line", "ok")


@pytest.mark.parametrize(
    ("stdin", "arguments", "said"),
    [
        ("short\n", ("create-user", "a@b.example"), "too_short: A password has 8 characters at least.\n"),
        ("", ("create-user", "a@b.example"), "too_short: A password has 8 characters at least.\n"),
        ("x" * 129, ("create-user", "a@b.example"), "too_long: A password has 128 characters at most.\n"),
        ("short\n", ("set-password", "a@b.example"), "too_short: A password has 8 characters at least.\n"),
        (PASSWORD, ("set-password", "nobody"), "user_not_found: There is no such user.\n"),
        (PASSWORD, ("create-user", "nobody"), "not valid: email\n"),
        ("", ("create-key", ""), "not valid: name\n"),
        ("", ("create-key", "bot", "--scope", "root"), "not valid: scopes, which are of chat, ingest, admin\n"),
        ("", ("create-key", "API_KEY"), "reserved_name: This is the name of the key from the settings.\n"),
    ],
)
async def test_what_is_refused_is_said_in_one_line(
    office: Place, stdin: str, arguments: tuple[str, ...], said: str
) -> None:
    assert await typed(office, stdin, *arguments) == (2, "", said)


async def test_a_password_is_no_argument(office: Place) -> None:
    for arguments in (("a@b.example", PASSWORD), ("a@b.example", "--password", PASSWORD)):
        code, _, err = await typed(office, "", "create-user", *arguments)
        assert code == 2
        assert "Usage" in err
