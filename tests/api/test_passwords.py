"""Another password: who may give it, what ends with the old one, and that it is no way to guess."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.core.passwords import Passwords
from tests.api import people
from tests.api import test_hostile_tools as tools
from tests.api.people import AUTH, PASSWORD, Join, Person, log_in
from tests.api.test_hostile_tools import check_problem
from tests.conftest import Service, Tenant, make_settings, serving

join, edge, unharmed = people.join, tools.edge, tools.unharmed
PATH = f"{AUTH}/me/password"
NEW = "staple battery horse"


async def change(person: Person, **fields: Any) -> httpx.Response:
    return await person.http.put(PATH, json={"current_password": PASSWORD, "new_password": NEW} | fields)


async def status_of_login(person: Person, password: str) -> int:
    async with person.tenant.service.client() as http:
        response = await http.post(f"{AUTH}/login", json={"email": person.email, "password": password})
    return response.status_code


async def audited(person: Person) -> list[tuple[str, str]]:
    sql = text("SELECT outcome, split_part(actor, ':', 1) FROM audit_log WHERE action = 'user.password' "
               "AND object_id = :id ORDER BY id")  # fmt: skip
    async with person.tenant.runtime.owner.connect() as connection:
        return [(outcome, actor) for outcome, actor in await connection.execute(sql, {"id": person.id})]


async def test_it_takes_the_place_of_the_old_one_and_ends_other_logins(edge: Tenant, join: Join) -> None:
    person = await join(edge)
    elsewhere = await log_in(edge, person.email)
    answer = await change(person)
    assert (answer.status_code, answer.content) == (204, b"")
    assert [await status_of_login(person, one) for one in (PASSWORD, NEW)] == [401, 200]
    assert (await person.http.get(f"{AUTH}/me")).status_code == 200
    bearer = {"Authorization": f"Bearer {elsewhere['access_token']}"}
    check_problem(await person.http.get(f"{AUTH}/me", headers=bearer), 401, "invalid_token")
    for pair, status in ((elsewhere, 401), (person.pair, 200)):
        refreshed = await person.http.post(f"{AUTH}/refresh", json={"refresh_token": pair["refresh_token"]})
        assert refreshed.status_code == status
    assert await audited(person) == [("ok", "user")]


async def test_the_current_one_must_be_right(edge: Tenant, join: Join) -> None:
    person = await join(edge)
    for wrong in ("not this one", PASSWORD + " ", ""):
        check_problem(await change(person, current_password=wrong), 401, "wrong_login")
    assert [await status_of_login(person, one) for one in (PASSWORD, NEW)] == [200, 401]
    assert await audited(person) == [("failed", "user")] * 3


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"new_password": "short"}, "too_short", "/new_password"),
        ({"new_password": "x" * 129}, "too_long", "/new_password"),
        ({"new_password": "x" * 100_000}, "too_long", "/new_password"),
        ({"current_password": "x" * 129}, "too_long", "/current_password"),
        ({"new_password": "long enough\0"}, "invalid_character", "/new_password"),
        ({"new_password": 12345678}, "wrong_type", "/new_password"),
        ({"user_id": "x"}, "extra_forbidden", "/user_id"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_refused(edge: Tenant, join: Join, fields: dict[str, Any], code: str, pointer: str) -> None:
    person = await join(edge)
    problem = check_problem(await change(person, **fields), 400)
    assert (problem["errors"][0]["code"], problem["errors"][0]["pointer"]) == (code, pointer)
    assert await status_of_login(person, PASSWORD) == 200


async def test_a_key_has_none(edge: Tenant) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW}
    check_problem(await edge.http.put(PATH, json=body), 403, "users_only")


async def test_of_two_at_once_one_wins(edge: Tenant, join: Join) -> None:
    person = await join(edge)
    other = "another one of mine"
    answers = await asyncio.gather(change(person), change(person, new_password=other))
    assert sorted(answer.status_code for answer in answers) == [204, 401]
    won = NEW if answers[0].status_code == 204 else other
    assert await status_of_login(person, won) == 200


async def test_a_login_with_the_old_one_that_is_on_its_way_is_none(
    edge: Tenant, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was right when it was looked at, and the change ends what there is: it must not begin behind that."""
    person = await join(edge)
    verified, go_on = asyncio.Event(), asyncio.Event()
    verify = Passwords.verify

    async def slowly(self: Passwords, password: str, stored: str | None) -> tuple[bool, str | None]:
        found = await verify(self, password, stored)
        if not verified.is_set():
            verified.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(Passwords, "verify", slowly)
    login = asyncio.create_task(status_of_login(person, PASSWORD))
    await verified.wait()
    assert (await change(person)).status_code == 204
    go_on.set()
    assert await login == 401


async def test_places_for_hashing_are_as_few_as_for_logins(
    edge: Tenant, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await join(edge)
    monkeypatch.setattr(edge.runtime.accounts.passwords, "_free", 0)
    check_problem(await change(person), 429, "too_many_logins")


async def test_one_account_has_one_quota_however_it_is_spelled_and_wherever_it_is_guessed(
    database_url: str, tmp_path: Path
) -> None:
    settings = make_settings(
        database_url=database_url, data_dir=tmp_path, worker_in_process=False, rate_limit_login_per_minute=4
    )
    person = {"email": f"{tmp_path.name}@shop.example", "password": PASSWORD}
    wide = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in person["email"])
    async with serving(settings) as (address, runtime), Service(address, runtime).client() as http:
        assert (await http.post(f"{AUTH}/register", json=person)).status_code == 201
        token = (await http.post(f"{AUTH}/login", json=person)).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        wrong = {"current_password": "not this one", "new_password": NEW}
        assert wide != person["email"]
        guesses = [
            await http.post(f"{AUTH}/login", json={"email": wide, "password": "not this one"}),
            await http.put(PATH, json=wrong, headers=bearer),
            await http.put(PATH, json=wrong, headers=bearer),
            await http.post(f"{AUTH}/login", data={"username": wide.upper(), "password": "not this one"}),
            await http.post(f"{AUTH}/login", json=person),
        ]
    assert [guess.status_code for guess in guesses] == [401, 401, 429, 429, 429]
    check_problem(guesses[-1], 429, "rate_limited")
