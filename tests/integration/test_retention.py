"""How long each kind of thing is kept: what docs/privacy-operations.md says, kind by kind."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL

from app.core.security import new_key
from app.core.settings import Settings
from app.services.retention import RetentionService, Terms, terms_of
from tests.conftest import ROOT, Service, make_database, make_settings, serving
from tests.integration.processes import place, spelled

PAGE = (ROOT / "docs" / "privacy-operations.md").read_text()
TENANT = "(SELECT id FROM tenants LIMIT 1)"
AGO = "now() - make_interval(days => $1)"
SESSION = f"""
INSERT INTO chat_sessions (id, tenant_id, user_id, last_activity_at)
VALUES (gen_random_uuid(), {TENANT}, 'ravi', {AGO}) RETURNING id
"""
JOB = """
INSERT INTO jobs (id, tenant_id, kind, payload, state, finished_at)
SELECT gen_random_uuid(), id, '{kind}', '{{}}', '{state}', now() - make_interval(days => $1) FROM tenants LIMIT 1
RETURNING id
"""
KEY = """
INSERT INTO api_keys (id, tenant_id, name, prefix, key_hash, scopes, {when})
SELECT gen_random_uuid(), id, 'old', 'rgc_', sha256(gen_random_uuid()::text::bytea), '{{chat}}',
       now() - make_interval(days => $1) FROM tenants LIMIT 1 RETURNING id
"""
USED = f"""
INSERT INTO usage_records (id, tenant_id, user_id, model, input_tokens, output_tokens, created_at)
VALUES (gen_random_uuid(), {TENANT}, 'ravi', 'm', 1, 1, {AGO}) RETURNING id
"""
REPEATABLE = f"""
INSERT INTO idempotency_keys (tenant_id, principal, route, key, fingerprint, expires_at)
VALUES ({TENANT}, 'k', 'r', $1::int::text, 'f', {AGO} + interval '24 hours') RETURNING key AS id
"""
TOKEN = f"""
WITH someone AS (
    INSERT INTO users (id, tenant_id, email, password_hash)
    VALUES (gen_random_uuid(), {TENANT}, gen_random_uuid()::text, 'h') RETURNING id, tenant_id
)
INSERT INTO refresh_tokens (id, tenant_id, user_id, family_id, token_hash, expires_at)
SELECT gen_random_uuid(), tenant_id, id, id, sha256(id::text::bytea), {AGO} FROM someone RETURNING id
"""
COUNTER = f"""
INSERT INTO budgets (tenant_id, scope, scope_id, period, starts_on)
VALUES ({TENANT}, 'tenant', 'a', 'day', (now() AT TIME ZONE 'UTC')::date - $1::int) RETURNING starts_on AS id
"""
RECEIPT = f"""
INSERT INTO erasures (id, tenant_id, requested_by, receipt_hash, finished_at)
VALUES (gen_random_uuid(), {TENANT}, 'self', sha256(gen_random_uuid()::text::bytea), {AGO}) RETURNING id
"""
ENTRY = f"""
INSERT INTO audit_log (id, tenant_id, actor, action, at)
VALUES (gen_random_uuid(), {TENANT}, 'service', 'login', {AGO}) RETURNING id
"""
TERMS = Terms(sessions=10, jobs=10, deliveries=20, usage=100, keys=30, receipts=40, audit=400)
KINDS: list[tuple[str, str, str, int]] = [
    ("sessions", "chat_sessions", SESSION, 10),
    ("jobs", "jobs", JOB.format(kind="document.ingest", state="done"), 10),
    ("deliveries", "jobs", JOB.format(kind="webhook.deliver", state="done"), 20),
    ("deliveries", "jobs", JOB.format(kind="webhook.deliver", state="dead"), 20),
    ("usage_records", "usage_records", USED, 100),
    ("api_keys", "api_keys", KEY.format(when="revoked_at"), 30),
    ("api_keys", "api_keys", KEY.format(when="expires_at"), 30),
    ("idempotency_keys", "idempotency_keys", REPEATABLE, 1),
    ("refresh_tokens", "refresh_tokens", TOKEN, 1),
    ("budgets", "budgets", COUNTER, 62),
    ("receipts", "erasures", RECEIPT, 40),
    ("audit_log", "audit_log", ENTRY, 400),
]
"""Kind, table, a row of so many days, and the days that it is kept under TERMS."""


def table() -> dict[str, tuple[str, str]]:
    """Kind: (setting, default), as documented."""
    text = PAGE.partition("<!-- run: retention -->\n")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    return {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in cells}


@pytest.fixture(scope="module")
async def service(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Service, str]]:
    url, folder = await make_database(postgres, "test_retention"), tmp_path_factory.mktemp("data")
    settings = make_settings(database_url=url, data_dir=folder, api_key=new_key(), worker_in_process=False)
    async with serving(settings) as (address, runtime):
        yield Service(address, runtime), url


@pytest.fixture
async def database(service: tuple[Service, str]) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(spelled(service[1], "postgresql"))
    await connection.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_stamp")  # to make old rows
    yield connection
    await connection.execute("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_stamp")
    await connection.close()


async def none() -> int:
    return 0


def retention(service: tuple[Service, str], terms: Terms = TERMS) -> RetentionService:
    return RetentionService(service[0].runtime.uow, terms, compact=none)


@pytest.mark.parametrize(("kind", "name", "insert", "days"), KINDS)
async def test_what_is_older_goes_and_the_rest_stays(
    service: tuple[Service, str], database: asyncpg.Connection, kind: str, name: str, insert: str, days: int
) -> None:
    young = await database.fetchval(insert, days - 1)
    await retention(service).purge()
    await database.fetchval(insert, days + 1)
    removed = await retention(service).purge()
    assert {each: count for each, count in removed.items() if count} == {kind: 1}
    column = {"idempotency_keys": "key", "budgets": "starts_on"}.get(name, "id")
    assert await database.fetchval(f"SELECT count(*) FROM {name} WHERE {column} = $1", young) == 1
    assert not any((await retention(service).purge()).values())


@pytest.mark.parametrize(("kind", "insert"), [
    ("sessions", SESSION), ("jobs", JOB.format(kind="document.ingest", state="done")),
    ("deliveries", JOB.format(kind="webhook.deliver", state="dead")), ("usage_records", USED),
    ("api_keys", KEY.format(when="revoked_at")),
])  # fmt: skip
async def test_zero_keeps_for_good(
    service: tuple[Service, str], database: asyncpg.Connection, kind: str, insert: str
) -> None:
    await database.fetchval(insert, 10_000)
    terms = Terms(sessions=0, jobs=0, deliveries=0, usage=0, keys=0)
    assert (await retention(service, terms).purge()).get(kind, 0) == 0
    assert (await retention(service).purge())[kind] == 1


async def test_dead_jobs_stay_until_somebody_looks(service: tuple[Service, str], database: asyncpg.Connection) -> None:
    id_ = await database.fetchval(JOB.format(kind="document.ingest", state="dead"), 10_000)
    await retention(service).purge()
    assert await database.fetchval("SELECT count(*) FROM jobs WHERE id = $1", id_) == 1
    await database.execute("DELETE FROM jobs WHERE id = $1", id_)


TURN = """
WITH asked AS (
    INSERT INTO messages (id, tenant_id, session_id, seq, sender, content)
    SELECT gen_random_uuid(), tenant_id, id, 1, 'user', 'q' FROM chat_sessions WHERE id = $1
    RETURNING id, tenant_id, session_id
)
INSERT INTO turns (id, tenant_id, session_id, user_message_id, request, status, lease_until)
SELECT gen_random_uuid(), tenant_id, session_id, id, '{}', $2, now() + interval '1 hour' FROM asked
"""


async def test_a_session_goes_with_all_that_is_in_it_unless_a_turn_runs(
    service: tuple[Service, str], database: asyncpg.Connection
) -> None:
    for status in ("running", "completed"):
        await database.execute(TURN, await database.fetchval(SESSION, 50), status)
    assert (await retention(service).purge())["sessions"] == 1
    assert [row["status"] for row in await database.fetch("SELECT status FROM turns")] == ["running"]
    assert await database.fetchval("SELECT count(*) FROM messages") == 1
    await database.execute("DELETE FROM turns")
    assert (await retention(service).purge())["sessions"] == 1
    assert await database.fetchval("SELECT count(*) FROM messages") == 0


async def test_many_and_two_processes_at_once(service: tuple[Service, str], database: asyncpg.Connection) -> None:
    """More than a batch; what one process is at, the other leaves alone."""
    await database.executemany(USED.replace("RETURNING id", ""), [(200,)] * 1_200)
    await database.executemany(SESSION.replace("RETURNING id", ""), [(200,)] * 1_200)
    removed = await asyncio.gather(*(retention(service).purge() for _ in range(2)))
    rest = await retention(service).purge()
    for kind in ("usage_records", "sessions"):
        assert sum(each[kind] for each in (*removed, rest)) == 1_200


async def test_a_digest_of_an_erased_user_goes_after_a_day(
    service: tuple[Service, str], database: asyncpg.Connection
) -> None:
    for hours in (23, 25):
        id_ = await database.fetchval(RECEIPT, 0)
        ago = "UPDATE erasures SET user_digest = 'd', finished_at = now() - make_interval(hours => $2) WHERE id = $1"
        await database.execute(ago, id_, hours)
    await retention(service).purge()
    assert await database.fetchval("SELECT count(*) FROM erasures WHERE user_digest IS NOT NULL") == 1
    await database.execute("DELETE FROM erasures")


def test_the_table_says_what_the_settings_are() -> None:
    settings: Settings = make_settings()
    documented = table()
    for kind, (setting, default) in documented.items():
        if setting != "fixed":
            assert str(getattr(settings, setting.lower())) == default, kind
    assert terms_of(settings) == Terms()


async def test_the_table_has_every_kind(service: tuple[Service, str]) -> None:
    assert set(await retention(service).purge()) == set(table())


@pytest.mark.parametrize(("name", "value"), [("audit_days", 364), ("usage_days", 61), ("retention_days", -1)])
def test_what_may_not_be_set(name: str, value: int) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        make_settings(**given)


async def test_on_the_command_line(postgres: URL) -> None:
    url = await make_database(postgres, "test_purge_cli")
    async with place(database_url=url, retention_days="10") as here:
        assert (await here.run("migrate")).code == 0
        connection = await asyncpg.connect(spelled(url, "postgresql"))
        await connection.execute(SESSION.replace("$1", "11").replace("RETURNING id", ""))
        await connection.close()
        done = await here.run("purge", "--json")
        assert done.code == 0, done.err
        assert done.lines[0]["sessions"] == 1
        done = await here.run("purge")
        assert {line.split()[0] for line in done.out.splitlines()[1:]} == set(table())
