"""`ragchat prices` and `ragchat usage` as processes."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import URL

from app.core.caller import DEFAULT_TENANT
from app.core.ids import new_id
from tests.conftest import make_database
from tests.integration.processes import Place, place, rows

pytestmark = pytest.mark.xdist_group("usage_cli")
USED = """
INSERT INTO usage_records (id, tenant_id, user_id, model, input_tokens, output_tokens, cost, created_at)
VALUES ($1, $2, $3, $4, 100, 20, $5::text::numeric, $6::text::timestamptz)
"""


@pytest.fixture(scope="module")
async def office(postgres: URL) -> AsyncIterator[tuple[Place, str]]:
    url = await make_database(postgres, "test_usage_cli")
    async with place(database_url=url) as here:
        assert (await here.run("migrate")).code == 0
        yield here, url


async def test_prices(office: tuple[Place, str]) -> None:
    here, _ = office
    for arguments in (
        ("openai/gpt-*", "--input", "0.150000", "--output", "0.6"),
        ("openai/gpt-*", "--input", "2", "--output", "8", "--from", "2990-01-01"),
        ("bedrock/*", "--input", "3", "--output", "15", "--from", "2026-01-01T05:30:00Z"),
    ):
        done = await here.run("prices", "set", *arguments)
        assert (done.code, done.err) == (0, "")
    assert done.out == "bedrock/*: 3 in, 15 out for a million tokens, in US dollars\n"
    shown, listed = await asyncio.gather(here.run("prices", "list"), here.run("prices", "list", "--json"))
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[1] == ["*", "bedrock/*", "3", "15", "2026-01-01", "05:30:00Z"]
    assert lines[2][:3] == ["openai/gpt-*", "2", "8"]
    assert lines[3][:4] == ["*", "openai/gpt-*", "0.15", "0.6"]
    [found] = listed.lines
    assert [(one["model"], one["input_price"], one["in_force"]) for one in found] == [
        ("bedrock/*", "3", True), ("openai/gpt-*", "2", False), ("openai/gpt-*", "0.15", True),
    ]  # fmt: skip


@pytest.mark.parametrize("amount", ["-1", "1e400", "NaN", "0.0000001", "much", "", "1000000000"])
async def test_what_is_no_price(office: tuple[Place, str], amount: str) -> None:
    here, _ = office
    done = await here.run("prices", "set", "m", f"--input={amount}", "--output", "1")
    assert (done.code, done.out) == (2, "")
    assert "not an amount of money" in done.err
    assert len(done.err.splitlines()) == 1


async def test_usage(office: tuple[Place, str]) -> None:
    here, url = office
    for user, model, cost, moment in (
        ("ravi", "openai/gpt-x", "0.000027", "2026-03-01 00:00:00+00"),
        ("ravi", "openai/gpt-x", "0.000027", "2026-03-01 23:59:59+00"),
        ("mina", "local", None, "2026-03-02 00:00:00+00"),
        ("mina", "local", None, "2026-02-28 23:59:59+00"),
    ):
        await rows(url, USED, new_id(), DEFAULT_TENANT, user, model, cost, moment)
    march = ("--from", "2026-03-01", "--to", "2026-03-02")
    shown, as_json, by_user = await asyncio.gather(
        here.run("usage", *march),
        here.run("usage", "--json", *march),
        here.run("usage", "--group-by", "user", *march),
    )
    assert [line.split() for line in shown.out.splitlines()[1:]] == [
        ["2026-03-01", "2", "200", "40", "0.000054", "0"],
        ["2026-03-02", "1", "100", "20", "120"],
        ["all", "3", "300", "60", "0.000054", "120"],
    ]
    report = json.loads(as_json.out)
    assert (report["from"], report["to"], report["overall"]["cost"]) == ("2026-03-01", "2026-03-02", "0.000054")
    assert [line.split()[0] for line in by_user.out.splitlines()] == ["user", "ravi", "mina", "all"]
    wrong = await here.run("usage", "--from", "2026-03-02", "--to", "2026-03-01")
    assert (wrong.code, wrong.out) == (2, "")
    assert "`from` must not be after `to`" in wrong.err
