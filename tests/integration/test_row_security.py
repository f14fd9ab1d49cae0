"""What PostgreSQL itself shows: nothing without a tenant, a tenant's rows to a tenant, a user's to a user."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError

from app.core.caller import SYSTEM, Caller
from app.core.errors import Unavailable
from app.core.ids import new_id
from app.db import migrate
from app.db.connection import announcement
from app.db.engine import create_engine, driver_connection, open_engines
from app.db.row_security import TABLES_OF_TENANTS, is_separate, require_wall, unprotected
from app.db.uow import uow_factory
from app.repositories import search_sql
from app.runtime import Runtime
from app.schemas.documents import DocumentFields
from app.schemas.users import UserCreate
from app.services.documents import Upload
from tests.conftest import MakeTenant, Tenant, make_database

SHARED_TEXT = "The canteen of the harbour opens at seven and serves lentil soup."
PRIVATE_TEXT = "The harbour master keeps the spare key under the third mooring post."
INSTALLATION = {"embedding_spaces", "model_prices", "alembic_version"}
OWNED = {
    "chat_sessions", "messages", "message_sources", "turns", "turn_events", "feedback", "documents", "chunks",
    "chunk_embeddings", "usage_records", "completion_heads", "document_versions", "masking_maps", "users",
    "refresh_tokens",
}  # fmt: skip
"""Tables of which a user sees their own rows alone."""


async def filled(tenant: Tenant) -> None:
    """Rows in most tables: of ravi, of meera, and of everybody; and an account that is neither's."""
    await tenant.add_text(SHARED_TEXT)
    account = UserCreate(email=f"{new_id()}@shop.example", password="a rather long one")
    await tenant.runtime.accounts.users.create(tenant.caller, account)
    await tenant.runtime.accounts.logins.login(account.email, account.password)
    for user in ("ravi", "meera"):
        await private_text(tenant, user)
        session = await tenant.session(user_id=user)
        await tenant.runtime.masking.mask(tenant.caller, UUID(session), "Call 98480 22338.")
        asked = {"message": "When does the canteen open?"}
        answered = await tenant.http.post(f"/api/v1/sessions/{session}/chat", json=asked)
        assert answered.status_code == 200, answered.text
        rated = f"/api/v1/messages/{answered.json()['id']}/feedback"
        assert (await tenant.http.put(rated, json={"rating": "up"})).status_code < 300


async def private_text(tenant: Tenant, user: str) -> str:
    """A document of that user's own, ready."""

    async def blocks() -> AsyncIterator[bytes]:
        yield f"{PRIVATE_TEXT} {user}".encode()

    caller = replace(tenant.caller, user_id=user)
    made, _ = await tenant.runtime.documents.create(caller, Upload(DocumentFields(), "note.txt", blocks(), {}))
    return str((await tenant.ended(str(made.id)))["id"])


@contextlib.asynccontextmanager
async def acting(runtime: Runtime, caller: Caller | None) -> AsyncIterator[asyncpg.Connection]:
    """A transaction of the application's role on a connection of its own; what it did is undone."""
    async with driver_connection(runtime.owner) as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("SET LOCAL ROLE ragchat_app")
            if caller is not None:
                await connection.execute(announcement(caller))
            yield connection
        finally:
            await transaction.rollback()


async def tables(runtime: Runtime) -> list[str]:
    async with driver_connection(runtime.owner) as connection:
        return [row["relname"] for row in await connection.fetch(f"{TABLES_OF_TENANTS} ORDER BY 1")]


async def counts(connection: asyncpg.Connection, names: list[str]) -> dict[str, int]:
    return {name: await connection.fetchval(f"SELECT count(*) FROM {name}") for name in names}


@pytest.fixture
async def pair(new_tenant: MakeTenant) -> tuple[Tenant, Tenant]:
    """Two tenants with the same things."""
    one, other = await new_tenant(), await new_tenant()
    for tenant in (one, other):
        await filled(tenant)
    return one, other


async def test_every_table_of_tenants_stands_before_the_wall(tenant: Tenant) -> None:
    """A table that a migration adds without `row_security.protect` fails here."""
    runtime = tenant.runtime
    assert await unprotected(runtime.owner) == []
    assert len(await tables(runtime)) >= 20
    async with driver_connection(runtime.owner) as connection:
        rows = await connection.fetch("""
            SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced,
                   has_table_privilege('ragchat_app', c.oid, 'SELECT') AS granted
            FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
        """)
    assert {row["relname"] for row in rows if not row["forced"]} == INSTALLATION
    assert all(row["granted"] for row in rows)


async def test_without_a_tenant_nothing_is_seen_and_nothing_added(pair: tuple[Tenant, Tenant]) -> None:
    runtime = pair[0].runtime
    names = [*await tables(runtime), "tenants"]
    async with driver_connection(runtime.owner) as owner:
        there = await counts(owner, names)
    assert {name for name in OWNED if there[name]} >= OWNED - {"usage_records", "completion_heads", "document_versions"}
    async with acting(runtime, None) as connection:
        assert await counts(connection, names) == dict.fromkeys(names, 0)
        for name in names:
            await refused_copy(connection, name, tenant_id=pair[0].caller.tenant_id)


async def refused_copy(connection: asyncpg.Connection, table: str, *, tenant_id: UUID) -> None:
    """A row that says it is the tenant's is refused before its other columns are looked at."""
    column = "id" if table == "tenants" else "tenant_id"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with connection.transaction():
            await connection.execute(f"INSERT INTO {table} ({column}) VALUES ($1)", tenant_id)


async def test_a_tenant_sees_its_own_rows_alone(pair: tuple[Tenant, Tenant]) -> None:
    one, other = pair
    names = await tables(one.runtime)
    async with driver_connection(one.runtime.owner) as owner:
        own = {
            name: await owner.fetchval(f"SELECT count(*) FROM {name} WHERE tenant_id = $1", one.caller.tenant_id)
            for name in names
        }
    async with acting(one.runtime, one.caller) as connection:
        assert await counts(connection, names) == own
        assert await connection.fetchval("SELECT array_agg(id) FROM tenants") == [one.caller.tenant_id]
        for name in names:
            await refused_copy(connection, name, tenant_id=other.caller.tenant_id)
            for change in (f"UPDATE {name} SET tenant_id = tenant_id", f"DELETE FROM {name}"):
                assert await changed(connection, f"{change} WHERE tenant_id = $1", other.caller.tenant_id) == 0


async def changed(connection: asyncpg.Connection, statement: str, *values: object) -> int:
    """How many rows; none where the application may change no row at all."""
    try:
        async with connection.transaction():
            return int((await connection.execute(statement, *values)).rpartition(" ")[2])
    except asyncpg.InsufficientPrivilegeError:
        assert "audit_log" in statement
        return 0


OF_A_MESSAGE = "(SELECT s.user_id FROM chat_sessions s JOIN messages m ON m.session_id = s.id WHERE m.id = message_id)"
WHOSE = {
    "chat_sessions": "user_id",
    "usage_records": "user_id",
    "documents": "owner_id",
    "chunks": "owner_id",
    "chunk_embeddings": "owner_id",
    "messages": "(SELECT s.user_id FROM chat_sessions s WHERE s.id = session_id)",
    "turns": "(SELECT s.user_id FROM chat_sessions s WHERE s.id = session_id)",
    "completion_heads": "(SELECT s.user_id FROM chat_sessions s WHERE s.id = session_id)",
    "masking_maps": "(SELECT s.user_id FROM chat_sessions s WHERE s.id = session_id)",
    "users": "id::text",
    "refresh_tokens": "user_id::text",
    "message_sources": OF_A_MESSAGE,
    "feedback": OF_A_MESSAGE,
    "turn_events": "(SELECT s.user_id FROM chat_sessions s JOIN turns t ON t.session_id = s.id WHERE t.id = turn_id)",
    "document_versions": "(SELECT d.owner_id FROM documents d WHERE d.id = document_id)",
}


async def test_a_user_sees_their_own_rows_alone(tenant: Tenant) -> None:
    await filled(tenant)
    assert WHOSE.keys() == OWNED
    ravi = Caller(tenant.caller.tenant_id, "ravi", scopes=frozenset({"chat", "ingest"}))
    async with driver_connection(tenant.runtime.owner) as owner:
        theirs = {
            name: await owner.fetchval(
                f"SELECT count(*) FROM {name} WHERE tenant_id = $1 AND coalesce({whose}, 'ravi') = 'ravi'",
                tenant.caller.tenant_id,
            )
            for name, whose in WHOSE.items()
        }
        everybodys = await counts_of(owner, tenant.caller.tenant_id)
    async with acting(tenant.runtime, ravi) as connection:
        assert await counts(connection, [*WHOSE]) == theirs
        told = await connection.fetch("SELECT content FROM chunks")
        assert not any("meera" in row["content"] for row in told)
        assert any("ravi" in row["content"] for row in told)
    assert all(theirs[name] < everybodys[name] for name in ("chat_sessions", "messages", "turn_events", "chunks"))


async def counts_of(owner: asyncpg.Connection, tenant_id: UUID) -> dict[str, int]:
    return {
        name: await owner.fetchval(f"SELECT count(*) FROM {name} WHERE tenant_id = $1", tenant_id) for name in WHOSE
    }


async def test_a_user_changes_no_document_of_everybody_and_an_administrator_may(tenant: Tenant) -> None:
    await tenant.add_text(SHARED_TEXT)
    user = Caller(tenant.caller.tenant_id, "ravi", scopes=frozenset({"chat", "ingest"}))
    async with acting(tenant.runtime, user) as connection:
        lock = "SELECT id FROM documents FOR KEY SHARE"
        assert len(await connection.fetch(lock)) == 1
        assert await connection.execute("DELETE FROM documents") == "DELETE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute("UPDATE documents SET title = 'mine'")
    admin = replace(user, scopes=user.scopes | {"admin"})
    async with acting(tenant.runtime, admin) as connection:
        assert await connection.execute("UPDATE documents SET title = 'ours'") == "UPDATE 1"
        assert await connection.execute("DELETE FROM documents") == "DELETE 1"


async def test_the_system_reaches_few_tables_and_no_conversation(tenant: Tenant) -> None:
    await filled(tenant)
    reached: dict[str, bool] = {}
    for name in await tables(tenant.runtime):
        async with acting(tenant.runtime, SYSTEM) as connection:
            try:
                reached[name] = bool(await connection.fetch(f"SELECT * FROM {name} LIMIT 1"))
            except asyncpg.InsufficientPrivilegeError:
                continue
    assert {name for name, seen in reached.items() if seen} <= {
        "jobs", "api_keys", "documents", "document_versions", "chunks", "chunk_embeddings", "budgets",
        "budget_reservations", "idempotency_keys", "users", "refresh_tokens", "erasures",
    }  # fmt: skip
    assert reached["jobs"]
    assert reached["documents"]
    async with acting(tenant.runtime, SYSTEM) as connection:
        assert await connection.fetch("SELECT tenant_id, session_id FROM turns") is not None
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT trace FROM turns")


async def test_functions_that_see_everything_show_a_transaction_its_own(pair: tuple[Tenant, Tenant]) -> None:
    one, other = pair
    foreign = [UUID(row["id"]) for row in (await other.http.get("/api/v1/documents")).json()["items"]]
    async with driver_connection(one.runtime.owner) as owner:
        names = {row["proname"] for row in await owner.fetch("SELECT proname FROM pg_proc WHERE prosecdef")}
        own = {row["id"] for row in await owner.fetch(OWN_CHUNKS, one.caller.tenant_id)}
        sessions = {row["id"] for row in await owner.fetch(OWN_SESSIONS, one.caller.tenant_id)}
    assert names - {"audit_log_purge"} == {
        "ragchat_count_passages", "ragchat_find_passages", "ragchat_sessions_saying"
    }  # fmt: skip
    saying = "SELECT ragchat_sessions_saying('canteen | harbour')"
    for large in ("true", "false"):  # which index is used, never what is seen
        find = f"SELECT ragchat_find_passages('canteen | harbour', {large}, $1, NULL, $2)"
        count = f"SELECT ragchat_count_passages('canteen', {large})"
        async with acting(one.runtime, one.caller) as connection:
            assert {row[0] for row in await connection.fetch(find, None, None)} == own
            assert {row[0] for row in await connection.fetch(find, None, "en")} == own
            assert await connection.fetch(find, foreign, None) == []
            assert await connection.fetchval(count) == 1
            assert {row[0] for row in await connection.fetch(saying)} == sessions
        async with acting(one.runtime, replace(one.caller, user_id="ravi")) as connection:
            assert len(await connection.fetch(find, None, None)) == 2
            assert len(await connection.fetch(saying)) == 1
        async with acting(one.runtime, None) as connection:
            assert await connection.fetch(find, None, None) == []
            assert await connection.fetchval(count) == 0
            assert await connection.fetch(saying) == []
            definition = await connection.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'ragchat_find_passages'")
    assert definition.count(f"LIMIT {search_sql.CANDIDATES};") == 32


OWN_CHUNKS = "SELECT id FROM chunks WHERE tenant_id = $1"
OWN_SESSIONS = "SELECT id FROM chat_sessions WHERE tenant_id = $1"


class TestTheUnitOfWork:
    async def test_a_forgotten_filter_shows_nobody_elses_rows(self, pair: tuple[Tenant, Tenant]) -> None:
        one, _ = pair
        async with one.runtime.uow(one.caller) as uow:
            seen = {row[0] for row in await uow._session.execute(text("SELECT DISTINCT tenant_id FROM documents"))}
            role = (await uow._session.execute(text("SELECT current_user"))).scalar_one()
        assert (seen, role) == ({one.caller.tenant_id}, "ragchat_app")

    async def test_the_next_transaction_of_a_connection_knows_nothing_of_the_last(self, tenant: Tenant) -> None:
        await tenant.session()
        engine = create_engine(tenant.runtime.engine.url, pool_size=1, role="ragchat_app")
        try:
            async with uow_factory(engine)(tenant.caller) as uow:
                count = text("SELECT count(*) FROM chat_sessions")
                assert (await uow._session.execute(count)).scalar_one() == 1
            async with engine.connect() as connection:
                assert (await connection.execute(count)).scalar_one() == 0
        finally:
            await engine.dispose()

    async def test_it_costs_no_round_trip(self, tenant: Tenant) -> None:
        asked: list[str] = []
        async with tenant.runtime.uow(tenant.caller) as uow:
            connection = await uow._session.connection()
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            driver.add_query_logger(lambda record: asked.append(record.query))
            await uow._session.execute(text("SELECT 1"))
        assert len(asked) == 2
        assert asked[0].startswith("BEGIN;SET LOCAL app.tenant_id=")
        assert asked[1] == "COMMIT;"

    @pytest.mark.parametrize("name", ["o'brien", "a\\'; SET ROLE postgres; --", "రవి", "'''", "x" * 200])
    async def test_whatever_a_user_is_called(self, tenant: Tenant, name: str) -> None:
        async with tenant.runtime.uow(replace(tenant.caller, user_id=name)) as uow:
            found = await uow._session.execute(text("SELECT ragchat_user(), ragchat_tenant(), current_user"))
            assert found.one() == (name, tenant.caller.tenant_id, "ragchat_app")

    async def test_a_user_without_a_name_is_not_the_whole_tenant(self, tenant: Tenant) -> None:
        with pytest.raises(ValueError, match="without a name"):
            async with tenant.runtime.uow(replace(tenant.caller, user_id="")) as uow:
                await uow.sessions.get(new_id())


WARRANTY = "The warranty of the grain dryer model {} covers the burner for three years."


async def dryers(tenant: Tenant, count: int) -> list[str]:
    """Documents of a sentence each, with their real vectors: ids."""
    runtime, said = tenant.runtime, [WARRANTY.format(1000 + n) for n in range(count)]
    space = runtime.spaces.current
    vectors = await space.embedder.embed_documents(said)
    ids, chunks = [new_id() for _ in said], [new_id() for _ in said]
    fixed = {"document_version": 1, "chunk_index": 0, "page": None, "char_start": 0, "char_end": 1, "heading": None,
             "lang": "en", "content_hash": bytes(32), "token_count": 12, "config": "english"}  # fmt: skip
    async with runtime.uow(tenant.caller) as uow:
        for id_, words in zip(ids, said, strict=True):
            digest = hashlib.sha256(words.encode()).digest()
            await uow.documents.insert(
                {"id": id_, "title": "dryer", "filename": "d.txt", "kind": "txt", "size_bytes": 1, "storage_key": "k",
                 "sha256": digest, "status": "ready", "indexed_version": 1, "chunk_count": 1, "term_count": 9,
                 "collection": "dryers"}
            )  # fmt: skip
        rows = zip(chunks, ids, said, strict=True)
        await uow.chunks.add([fixed | {"id": c, "document_id": d, "content": w, "indexed": w} for c, d, w in rows])
        await uow.spaces.add_vectors(space.id, chunks, vectors)
    return [str(id_) for id_ in ids]


class TestOverTheApi:
    async def test_one_document_beside_two_hundred_that_are_nearly_the_same(self, new_tenant: MakeTenant) -> None:
        small, large = await new_tenant(), await new_tenant()
        mine = await small.add_text(WARRANTY.format(999), title="dryer", collection="dryers")
        theirs = await dryers(large, 200)
        question = "How long does the warranty of the grain dryer cover the burner?"
        asked: dict[str, Any] = {"query": question, "top_k": 10}
        for filters in ({}, {"collection": "dryers"}, {"document_ids": [mine["id"]]}):
            hits = (await small.http.post("/api/v1/search", json=asked | {"filters": filters})).json()["items"]
            assert [hit["document_id"] for hit in hits] == [mine["id"]]
        refused = await small.http.post("/api/v1/search", json=asked | {"filters": {"document_ids": theirs[:5]}})
        assert refused.status_code in (400, 404), refused.text
        for filters in ({}, {"collection": "dryers"}, {"lang": "en"}):
            hits = (await large.http.post("/api/v1/search", json=asked | {"filters": filters})).json()["items"]
            assert hits
            assert {hit["document_id"] for hit in hits} <= {*theirs}
        for address in (f"/api/v1/documents/{mine['id']}", f"/api/v1/documents/{mine['id']}/chunks"):
            assert (await large.http.get(address)).status_code == 404

    async def test_no_request_names_another_tenant(self, pair: tuple[Tenant, Tenant]) -> None:
        """Whatever a client sends, the transaction's tenant is that of its key."""
        one, other = pair
        foreign = str(other.caller.tenant_id)
        headers = {"X-Tenant-ID": foreign, "app.tenant_id": foreign}
        named = await one.http.get("/api/v1/sessions", params={"tenant_id": foreign}, headers=headers)
        sessions = {row["id"] for row in named.json().get("items", [])}
        theirs = {row["id"] for row in (await other.http.get("/api/v1/sessions")).json()["items"]}
        assert theirs
        assert not sessions & theirs
        for value in ("'; SET LOCAL app.tenant_id='" + foreign, "\\'; SET LOCAL ROLE ragchat_system; --"):
            answer = await one.http.get("/api/v1/sessions", params={"user_id": value, "q": value})
            assert not {row["id"] for row in answer.json().get("items", [])} & theirs


ATTEMPTS = (
    "ALTER TABLE documents DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE documents NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY tenant ON chunks",
    "ALTER TABLE chunks DISABLE TRIGGER own",
    "SET session_replication_role = replica",
    "CREATE TABLE public.copied AS SELECT * FROM documents",
    "TRUNCATE documents",
    "ALTER ROLE ragchat_app BYPASSRLS",
    "ALTER FUNCTION ragchat_tenant() RENAME TO gone",
    "SET SESSION AUTHORIZATION postgres",
    "SET ROLE postgres",
    "SET ROLE ragchat_search",
)


class TestALoginOfItsOwn:
    """Where the application logs in as somebody who owns nothing, it cannot get at the wall."""

    @pytest.fixture
    async def url(self, postgres: URL) -> AsyncIterator[URL]:
        url = make_url(await make_database(postgres, "test_separate"))
        owner = create_engine(url, pool_size=1)
        await migrate.upgrade(owner)
        name = f"login_{new_id().hex[-12:]}"
        async with driver_connection(owner) as connection:
            await connection.execute(f"CREATE ROLE {name} LOGIN")
            await connection.execute(f"GRANT ragchat_app TO {name}")
        yield url.set(username=name)
        async with driver_connection(owner) as connection:
            await connection.execute(f"DROP ROLE {name}")
        await owner.dispose()

    async def test_it_can_not_undo_the_wall(self, url: URL) -> None:
        database = open_engines(url, "", pool_size=1)
        try:
            await require_wall(database.app)
            assert await is_separate(database)
            for statement in ATTEMPTS:
                with pytest.raises(DBAPIError, match=r"permission denied|must be owner|cannot set|bypass"):
                    async with database.app.begin() as connection:
                        await connection.execute(text(statement))
            async with database.app.begin() as connection:
                await connection.execute(text("SET row_security = off"))
                with pytest.raises(DBAPIError, match="row-level security"):
                    await connection.execute(text("SELECT count(*) FROM documents"))
        finally:
            await database.app.dispose()
            await database.owner.dispose()

    async def test_a_login_without_the_role_is_told(self, url: URL) -> None:
        owner = create_engine(url.set(username="postgres"), pool_size=1)
        async with driver_connection(owner) as connection:
            await connection.execute(f"REVOKE ragchat_app FROM {url.username}")
        database = open_engines(url, "", pool_size=1)
        try:
            with pytest.raises(Unavailable) as refused:
                await require_wall(database.app)
            assert refused.value.code == "database_role"
        finally:
            await database.app.dispose()
            await database.owner.dispose()
            await owner.dispose()


class TestAnOwnerWhoIsNoSuperuser:
    """As on a managed PostgreSQL."""

    async def test_it_migrates_and_sees_rows_when_it_says_that_this_is_maintenance(self, postgres: URL) -> None:
        url, name = make_url(await make_database(postgres, "test_owner")), f"owner_{new_id().hex[-12:]}"
        superuser = create_engine(url, pool_size=1)
        async with driver_connection(superuser) as connection:
            await connection.execute("CREATE EXTENSION vector")
            await connection.execute(f"CREATE ROLE {name} LOGIN CREATEROLE")
            await connection.execute(f'ALTER DATABASE "{url.database}" OWNER TO {name}')
            if await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = 'ragchat_app'"):
                await connection.execute(f"GRANT ragchat_app, ragchat_search TO {name}")
        owner = create_engine(url.set(username=name), pool_size=1)
        try:
            await migrate.upgrade(owner)
            await migrate.downgrade(owner, "0009")
            await migrate.upgrade(owner)
            database = open_engines(owner.url, "", pool_size=1)
            await require_wall(database.app)
            await database.app.dispose()
            await database.owner.dispose()
            async with driver_connection(owner) as connection:
                count = "SELECT count(*) FROM tenants"
                assert await connection.fetchval(count) == 0
                await connection.execute("SET app.maintenance = 'on'")
                await connection.execute("INSERT INTO tenants (id, name) VALUES ($1, 'one')", new_id())
                assert await connection.fetchval(count) >= 1
        finally:
            await owner.dispose()
            async with driver_connection(superuser) as connection:
                await connection.execute(
                    f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}"
                )
            await superuser.dispose()


async def test_a_row_cannot_say_that_it_is_somebody_elses(tenant: Tenant) -> None:
    """Whose a passage is comes from its document, whatever is written."""
    await private_text(tenant, "ravi")
    async with driver_connection(tenant.runtime.owner) as owner, owner.transaction():
        await owner.execute("UPDATE chunks SET owner_id = 'meera' WHERE tenant_id = $1", tenant.caller.tenant_id)
        owners = await owner.fetch("SELECT DISTINCT owner_id FROM chunks WHERE tenant_id = $1", tenant.caller.tenant_id)
    assert [row["owner_id"] for row in owners] == ["ravi"]
