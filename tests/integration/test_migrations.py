"""Up, down, up again; models and database the same; names and comments for people who look with pgAdmin."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.errors import Unavailable
from app.db import migrate
from app.db.engine import create_engine
from tests.conftest import make_database


@pytest.fixture
async def engine(postgres: URL) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(await make_database(postgres, "test_migrations"), pool_size=2)
    yield engine
    await engine.dispose()


async def rows(engine: AsyncEngine, sql: str) -> list[tuple[str, ...]]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(sql))]


TABLES = """
SELECT c.relname, obj_description(c.oid) FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'alembic_version'
ORDER BY 1
"""
FOREIGN_KEYS_WITHOUT_INDEX = """
SELECT conrelid::regclass::text, conname FROM pg_constraint k
WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND NOT EXISTS (
    SELECT 1 FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indkey[0] = k.conkey[1]
)
"""


async def test_up_down_up_and_no_difference_to_the_models(engine: AsyncEngine) -> None:
    await migrate.upgrade(engine)
    await migrate.check(engine)
    tables = await rows(engine, TABLES)
    await migrate.downgrade(engine, "base")
    assert await rows(engine, TABLES) == []
    await migrate.upgrade(engine)
    assert await rows(engine, TABLES) == tables
    assert await migrate.current_revision(engine) == migrate.head_revision()


async def test_every_table_has_a_comment_and_every_tenant_column_a_key(engine: AsyncEngine) -> None:
    await migrate.upgrade(engine)
    tables: dict[str, str] = dict(await rows(engine, TABLES))  # type: ignore[arg-type]
    assert len(tables) == 28
    assert all(tables.values())
    without_tenant = {
        name
        for name in tables
        if not await rows(
            engine, f"SELECT 1 FROM pg_attribute WHERE attrelid = '{name}'::regclass AND attname = 'tenant_id'"
        )
    }
    assert without_tenant == {"tenants", "embedding_spaces", "model_prices"}


async def test_foreign_keys_are_indexed(engine: AsyncEngine) -> None:
    """A delete of the parent must not scan the child."""
    await migrate.upgrade(engine)
    missing = {name for _, name in await rows(engine, FOREIGN_KEYS_WITHOUT_INDEX)}
    rare = {"fk_turns_user_message_id_messages", "fk_turns_assistant_message_id_messages"}
    assert missing <= rare


async def test_two_at_once(engine: AsyncEngine) -> None:
    await asyncio.gather(migrate.upgrade(engine), migrate.upgrade(engine))
    assert await migrate.current_revision(engine) == migrate.head_revision()


async def test_a_program_does_not_start_on_another_revision(engine: AsyncEngine) -> None:
    await migrate.upgrade(engine)
    await migrate.wait_for_head(engine, 0)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'newer'"))
    with pytest.raises(Unavailable) as refused:
        await migrate.wait_for_head(engine, 0)
    assert refused.value.code == "migrations_pending"
