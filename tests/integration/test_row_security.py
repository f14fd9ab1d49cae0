"""What PostgreSQL itself shows: nothing without a tenant, a tenant's rows to a tenant, a user's to a user."""

import contextlib
import hashlib
import re
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
from app.core.pseudonyms import user_digest
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
from tests.api import people
from tests.api.people import Join, Person
from tests.conftest import ROOT, MakeTenant, Tenant, make_database

join = people.join

SHARED_TEXT = "The canteen of the harbour opens at seven and serves lentil soup."
PRIVATE_TEXT = "The harbour master keeps the spare key under the third mooring post."
INSTALLATION = {"embedding_spaces", "model_prices", "alembic_version"}
FILLED = {
    "chat_sessions", "messages", "message_sources", "turns", "turn_events", "feedback", "documents", "chunks",
    "chunk_embeddings", "masking_maps", "users", "refresh_tokens", "jobs", "api_keys", "audit_log",
}  # fmt: skip
"""Tables in which `filled` leaves rows."""


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
    assert not [name for name in FILLED if not there[name]]
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
OF_ITS_SUBJECT = (
    "coalesce((SELECT s.user_id FROM chat_sessions s WHERE s.id = subject_id), "
    "(SELECT d.owner_id FROM documents d WHERE d.id = subject_id), '-')"
)
DIGEST = "user_digest = sha256(convert_to(concat_ws(chr(10), 'user', u.tenant_id, u.id), 'UTF8'))"
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
    "idempotency_keys": f"CASE WHEN principal ~ '^user:' THEN split_part(principal, ':', 3) ELSE {OF_ITS_SUBJECT} END",
    "webhooks": "'-'",
    "api_keys": "coalesce(created_by::text, '-')",
    "audit_log": "coalesce(CASE object_type WHEN 'user' THEN object_id ELSE substring(actor, 'user:(.*)') END, '-')",
    "erasures": f"coalesce((SELECT u.id::text FROM users u WHERE u.tenant_id = erasures.tenant_id AND {DIGEST}), '-')",
    "budgets": "CASE WHEN scope = 'user' THEN scope_id ELSE '-' END",
    "budget_reservations": "user_id",
    "jobs": "CASE WHEN kind = 'webhook.deliver' THEN '-' END",
}
"""For a row, the user who sees it; `-` is none, null everybody of the tenant."""
EVERYBODYS = {"jobs", "corpus_statistics", "term_statistics"}
"""Of which a user sees what is others'. docs/tenancy.md lists them."""


def test_what_a_user_sees_of_others_is_listed() -> None:
    page = (ROOT / "docs" / "tenancy.md").read_text()
    section = page.partition("### What a user sees of others")[2].partition("## ")[0]
    assert set(re.findall(r"`(\w+)`(?=[^|]*\|.*\|\n)", section)) == EVERYBODYS


async def acted(tenant: Tenant, person: Person) -> str:
    """Their id, when they have left a row in each table where users leave any."""
    made = {"Idempotency-Key": "mine"}
    session = await person.http.post("/api/v1/sessions", json={}, headers=made)
    note = await person.http.post("/api/v1/documents", json={"title": "n", "text": f"{PRIVATE_TEXT} {person.id}"})
    await tenant.ended(note.json()["id"])
    named = {"user_id": person.id}
    for path, body in (("sessions", named), ("webhooks", {"url": "https://1.1.1.1/hook"})):
        other = await tenant.http.post(f"/api/v1/{path}", json=body, headers={"Idempotency-Key": person.id})
        assert other.status_code == 201, other.text
    asked = await person.http.post(f"/api/v1/sessions/{session.json()['id']}/chat", json={"message": "Which keys?"})
    assert asked.status_code == 200, asked.text
    digest = user_digest(tenant.caller.tenant_id, person.id)
    async with driver_connection(tenant.runtime.owner) as owner:
        for statement, *values in (
            ("api_keys (id, tenant_id, name, prefix, key_hash, scopes, created_by) "
             "VALUES ($1, $2, 'k', 'k', $3, $4, $5)",
             new_id(), tenant.caller.tenant_id, digest, ["chat"], UUID(person.id)),
            ("erasures (id, tenant_id, user_digest, requested_by, receipt_hash, finished_at) "
             "VALUES ($1, $2, $3, 'self', $3, now())", new_id(), tenant.caller.tenant_id, digest),
            ("budgets (tenant_id, scope, scope_id, period, starts_on) VALUES ($1, 'user', $2, 'day', current_date)",
             tenant.caller.tenant_id, person.id),
            ("budget_reservations (id, tenant_id, user_id, model, input_tokens, tokens, cost, expires_at) "
             "VALUES ($1, $2, $3, 'm', 1, 1, 0, now() + interval '1 hour')",
             new_id(), tenant.caller.tenant_id, person.id),
        ):  # fmt: skip
            await owner.execute(f"INSERT INTO {statement}", *values)
    return person.id


async def test_a_user_sees_their_own_rows_alone(new_tenant: MakeTenant, join: Join) -> None:
    tenant = await new_tenant()
    await filled(tenant)
    one, other = [await acted(tenant, await join(tenant)) for _ in range(2)]
    names = await tables(tenant.runtime)
    assert {*names} == WHOSE.keys() | EVERYBODYS, "a new table: whose are its rows, or why are they everybody's?"
    async with driver_connection(tenant.runtime.owner) as owner:
        ravis, ones, all_ = [await counts_for(owner, tenant, user) for user in ("ravi", one, None)]
    for user, theirs in (("ravi", ravis), (one, ones)):
        async with acting(tenant.runtime, Caller(tenant.caller.tenant_id, user)) as connection:
            assert await counts(connection, [*WHOSE]) == theirs
            told = " ".join(row["content"] for row in await connection.fetch("SELECT content FROM chunks"))
            assert user in told
            assert not [name for name in ("ravi", "meera", one, other) if name != user and name in told]
    admin = Caller(tenant.caller.tenant_id, one, scopes=frozenset({"admin"}))
    async with acting(tenant.runtime, admin) as connection:
        for name in ("webhooks", "api_keys", "audit_log", "erasures", "users", "jobs"):
            assert (await counts(connection, [name]))[name] == all_[name]
    mine = {"webhooks"}  # nothing is a user's own there
    assert not [n for n in WHOSE if all_[n] and not (ravis[n] or ones[n]) and n not in mine]
    assert not [n for n in WHOSE if n not in {"document_versions", "completion_heads", "usage_records"} and not all_[n]]
    assert not [n for n in WHOSE if ones[n] == all_[n] != 0]


async def counts_for(owner: asyncpg.Connection, tenant: Tenant, user: str | None) -> dict[str, int]:
    """What they should see; without a name, everything of the tenant."""
    return {
        name: await owner.fetchval(
            f"SELECT count(*) FROM {name} WHERE tenant_id = $1 AND ($2::text IS NULL OR coalesce({whose}, $2) = $2)",
            tenant.caller.tenant_id,
            user,
        )
        for name, whose in WHOSE.items()
    }


async def test_who_deletes_something_empties_what_a_key_was_answered(new_tenant: MakeTenant, join: Join) -> None:
    """A transaction of the user sees the answer to the key that made their session."""
    tenant = await new_tenant()
    person = await join(tenant)
    body, key = {"user_id": person.id}, {"Idempotency-Key": "k"}
    made = await tenant.http.post("/api/v1/sessions", json=body, headers=key)
    assert (await person.http.delete(f"/api/v1/sessions/{made.json()['id']}")).status_code == 204
    async with driver_connection(tenant.runtime.owner) as owner:
        rows = await owner.fetch("SELECT body FROM idempotency_keys WHERE tenant_id = $1", tenant.caller.tenant_id)
    assert [row["body"] for row in rows] == [None]
    assert (await tenant.http.post("/api/v1/sessions", json=body, headers=key)).json()["code"] == "gone"


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
        "ragchat_count_passages", "ragchat_find_passages", "ragchat_sessions_saying",
        "ragchat_settle_words",  # shows nothing
    }  # fmt: skip
    saying = "SELECT ragchat_sessions_saying('canteen | harbour')"
    for large in ("true", "false"):  # which index is used, never what is seen
        find = f"SELECT id FROM ragchat_find_passages('canteen | harbour', {large}, $1, NULL, $2)"
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
