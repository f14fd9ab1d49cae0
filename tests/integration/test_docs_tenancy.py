"""docs/tenancy.md: its SQL and its backup, run as they are written by an owner who is no superuser."""

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from app.core.caller import DEFAULT_TENANT
from app.core.ids import new_id
from app.db import migrate
from app.db.embedded import programs
from app.db.engine import create_engine, driver_connection, open_engines
from app.db.row_security import is_separate, require_wall
from tests.conftest import ROOT, make_database

PAGE = (ROOT / "docs" / "tenancy.md").read_text()
MAKE_ROLE = re.compile(r"CREATE ROLE (ragchat_(?:app|system|search)) NOLOGIN;")
IF_MISSING = r"DO $$ BEGIN CREATE ROLE \1 NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;"
"""Other databases of the test's server share these roles."""


def block(name: str) -> str:
    found = re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name
    return found.group(1)


@dataclass(frozen=True)
class Managed:
    """A database whose owner may not make roles. `admin` may."""

    admin: URL
    owner: URL


@pytest.fixture
async def managed(postgres: URL) -> AsyncIterator[Managed]:
    admin, name = make_url(await make_database(postgres, "test_tenancy")), f"owner_{new_id().hex[-12:]}"
    superuser = create_engine(admin, pool_size=1)
    async with driver_connection(superuser) as connection:
        await connection.execute("CREATE EXTENSION vector")
        await connection.execute(f"CREATE ROLE {name} LOGIN")
        await connection.execute(f'ALTER DATABASE "{admin.database}" OWNER TO {name}')
        await connection.execute(MAKE_ROLE.sub(IF_MISSING, block("roles").replace("the_owner", name)))
    owner = create_engine(admin.set(username=name), pool_size=1)
    await migrate.upgrade(owner)
    await owner.dispose()
    yield Managed(admin, owner.url)
    async with driver_connection(superuser) as connection:
        await connection.execute(f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}")
    await superuser.dispose()


async def test_the_owner_looks_and_backs_up(managed: Managed, tmp_path: Path) -> None:
    owner = create_engine(managed.owner, pool_size=1)
    async with driver_connection(owner) as connection:
        assert await connection.fetchval("SELECT count(*) FROM tenants") == 0
        await connection.execute(block("maintenance"))
        for user in ("ravi", "ravi", "meera"):
            await connection.execute(
                "INSERT INTO chat_sessions (id, tenant_id, user_id, is_favorite) VALUES ($1, $2, $3, false)",
                new_id(), DEFAULT_TENANT, user,
            )  # fmt: skip
        assert await connection.fetchval("SELECT count(*) FROM chat_sessions") == 3
        before, look, _ = re.split(r"(SELECT count.*?;)", block("look"))
        await connection.execute(before)
        assert await connection.fetchval(look) == 2
    await owner.dispose()
    dump = await asyncio.to_thread(
        subprocess.run,
        ["/bin/sh", "-c", block("backup").replace("--format=custom --file=ragchat.dump", "")],
        env=os.environ | {"PATH": f"{programs()}:{os.environ['PATH']}", "DATABASE": libpq(managed.owner)},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert dump.returncode == 0, dump.stderr
    assert dump.stdout.count("\travi\t") == 2
    assert "FORCE ROW LEVEL SECURITY" in dump.stdout


def libpq(url: URL) -> str:
    return f"host={url.query['host']} user={url.username} dbname={url.database}"


async def test_a_login_that_is_nothing_but_a_member(managed: Managed) -> None:
    name = f"login_{new_id().hex[-12:]}"
    superuser = create_engine(managed.admin, pool_size=1)
    async with driver_connection(superuser) as connection:
        await connection.execute(block("login").replace("ragchat_login", name))
    database = open_engines(managed.admin.set(username=name), managed.owner, pool_size=1)
    await require_wall(database.app)
    assert await is_separate(database)
    await database.app.dispose()
    await database.owner.dispose()
    async with driver_connection(superuser) as connection:
        await connection.execute(f"DROP ROLE {name}")
    await superuser.dispose()
