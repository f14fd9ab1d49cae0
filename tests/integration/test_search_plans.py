"""Every statement of a search over 100,000 chunks, explained: with the values of a question, and as the plan for all
values that PostgreSQL prefers from the sixth execution on."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import URL, TextClause, text

from app.core.caller import Caller, tenant_caller
from app.core.ids import new_id
from app.db.connection import announcement
from app.db.engine import driver_connection
from app.db.searching import searching
from app.db.uow import UnitOfWork
from app.repositories import halfvec, search_scope, search_sql
from app.repositories.hnsw import create_index, drop_index, index_name
from app.repositories.search import SearchQuery
from app.runtime import Runtime, open_runtime
from app.services.statistics import StatisticsService
from tests.conftest import make_database, make_settings, make_tenant

pytestmark = [pytest.mark.xdist_group("plans"), pytest.mark.timeout(300)]
CHUNKS = 100_000
DOCUMENTS = 5_000
WIDTH = 8
"""Narrow: the graph is built in seconds, and the plans are the same."""
TERMS_INDEX = "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_chunks_terms'"
DOCUMENT_ROWS = """
INSERT INTO documents (id, tenant_id, owner_id, title, filename, kind, sha256, size_bytes, storage_key, collection,
                       indexed_version, status, chunk_count, term_count)
SELECT gen_random_uuid(), $1, CASE WHEN n % 10 = 0 THEN 'ravi' END, 'Text ' || n, 'made.txt', 'txt',
       decode(lpad(to_hex(n), 64, '0'), 'hex'), 1, 'none/' || n, CASE WHEN n % 100 = 0 THEN 'few' ELSE 'many' END,
       1, 'ready', $3::integer, 8 * $3::integer
FROM generate_series(1, $2::integer) AS n
"""
CHUNK_ROWS = """
INSERT INTO chunks (id, tenant_id, document_id, document_version, chunk_index, char_start, char_end, content,
                    content_hash, token_count, lang, terms, term_count)
SELECT gen_random_uuid(), d.tenant_id, d.id, 1, i, 0, 1, words, '\\x00', 8,
       CASE WHEN i % 50 = 0 THEN 'hi' ELSE 'en' END, to_tsvector('simple', words), 8
FROM documents d, generate_series(1, $2::integer) AS i, LATERAL (
    SELECT string_agg('w' || exp(ln(20000) * random())::integer, ' ') AS words
    FROM generate_series(1, 8) AS place WHERE d.id IS NOT NULL AND i > 0
) AS made WHERE d.tenant_id = $1
"""
SCANS = text("""
SELECT pg_stat_get_xact_numscans('ix_chunks_terms'::regclass) AS words,
       pg_stat_get_xact_numscans('chunks'::regclass) AS whole,
       pg_stat_get_xact_numscans('ix_chunks_tenant_id_lang'::regclass) AS tenant,
       pg_stat_get_xact_numscans('ix_documents_searched'::regclass) AS documents
""")
WHOLE = text("SELECT pg_stat_get_xact_numscans('chunks'::regclass)")
VECTOR_ROWS = """
INSERT INTO chunk_embeddings (space_id, chunk_id, tenant_id, embedding)
SELECT $2, c.id, c.tenant_id, l2_normalize((
    SELECT array_agg(random() - 0.5) FROM generate_series(1, $3::integer) AS place WHERE c.id IS NOT NULL
)::vector::halfvec)
FROM chunks c WHERE c.tenant_id = $1
"""


@dataclass(frozen=True)
class Corpus:
    runtime: Runtime
    caller: Caller
    space_id: int
    document_id: Any

    def query(self, **given: Any) -> SearchQuery:
        known: dict[str, Any] = {
            "question": "w17 w4021 w12000",
            "config": "simple",
            "fetched": 50,
            "embedding": [0.5, *[0.1] * 7],
        }
        return SearchQuery(space_id=self.space_id, width=WIDTH, **(known | given))


async def fill(runtime: Runtime, caller: Caller, space_id: int) -> Any:
    """The id of one of the documents. Indexes are built when the rows are there; foreign keys are not asked."""
    async with driver_connection(runtime.owner) as connection:
        terms = await connection.fetchval(TERMS_INDEX)
        await connection.execute("DROP INDEX ix_chunks_terms; SET session_replication_role = replica")
        await connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '512MB'")
        await connection.execute(DOCUMENT_ROWS, caller.tenant_id, DOCUMENTS, CHUNKS // DOCUMENTS)
        await connection.execute(CHUNK_ROWS, caller.tenant_id, CHUNKS // DOCUMENTS)
        await connection.execute(VECTOR_ROWS, caller.tenant_id, space_id, WIDTH)
        await connection.execute(terms)
        await connection.execute(create_index(space_id, WIDTH))
        await connection.execute("VACUUM (ANALYZE) documents, chunks, chunk_embeddings")
        return await connection.fetchval("SELECT id FROM documents LIMIT 1")


@pytest.fixture(scope="module")
async def corpus(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Corpus]:
    url, folder = await make_database(postgres, "test_plans"), tmp_path_factory.mktemp("plans")
    async with open_runtime(make_settings(database_url=url, data_dir=folder)) as runtime:
        caller = tenant_caller(new_id())
        await make_tenant(runtime, caller.tenant_id, str(caller.tenant_id))
        async with runtime.uow(caller) as uow:
            space = await uow.spaces.create("narrow", dimensions=WIDTH, languages=["en"])
        document_id = await fill(runtime, caller, space.id)
        await StatisticsService(runtime.uow).refresh(caller)
        yield Corpus(runtime, caller, space.id, document_id)


async def explain(corpus: Corpus, statement: TextClause, values: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The nodes of both plans, as the application's role gets them."""
    numbered = str(statement.compile(dialect=corpus.runtime.engine.dialect))
    given = ", ".join(["NULL"] * max(int(n) for n in re.findall(r"\$(\d+)", numbered)))
    caller = Caller(values["tenant"], values.get("user_id"))
    async with corpus.runtime.uow(caller) as uow:
        custom = await uow._session.execute(text("EXPLAIN (FORMAT JSON) " + statement.text), values)
    async with driver_connection(corpus.runtime.owner) as plain, plain.transaction():
        await plain.execute(announcement(caller) + "SET LOCAL ROLE ragchat_app")
        await plain.execute("SET jit = off; SET random_page_cost = 1.1; SET plan_cache_mode = force_generic_plan")
        await plain.execute(f"PREPARE asked AS {numbered}")
        generic = await plain.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked ({given})")
    plans = [custom.scalar_one(), generic]
    return [[*_nodes(json.loads(plan) if isinstance(plan, str) else plan)] for plan in plans]


async def scans(uow: UnitOfWork, statement: TextClause, values: dict[str, Any], *, mode: str) -> dict[str, int]:
    """Of the index of words, of the whole table of passages, and of a tenant's passages, in one execution. The
    functions that look for words have plans of their own, which EXPLAIN does not show."""
    await uow._session.execute(text(f"SET LOCAL plan_cache_mode = {mode}"))
    before = (await uow._session.execute(SCANS)).one()
    await uow._session.execute(statement, values)
    after = (await uow._session.execute(SCANS)).one()
    return {name: after[place] - before[place] for place, name in enumerate(after._fields)}


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plan, list):
        for part in plan:
            yield from _nodes(part)
    elif isinstance(plan, dict):
        if "Node Type" in plan:
            yield plan
        for part in plan.values():
            yield from _nodes(part)


FILTERS: dict[str, dict[str, Any]] = {
    "everything": {},
    "few-documents": {"document_ids": "one"},
    "collection": {"collection": "few"},
    "large-collection": {"collection": "many"},
    "language": {"lang": "hi"},
}
SMALL = {"few-documents", "collection", "language"}
"""Searched exactly."""
LEGS: dict[str, dict[str, Any]] = {"vector": {"by_text": False}, "text": {"embedding": None}, "hybrid": {}}
USERS = {"tenant": None, "user": "ravi"}


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("legs", LEGS)
@pytest.mark.parametrize("user", USERS)
async def test_every_statement_uses_the_indexes(corpus: Corpus, filters: str, legs: str, user: str) -> None:
    given = LEGS[legs] | FILTERS[filters]
    if "document_ids" in given:
        given = given | {"document_ids": [corpus.document_id]}
    query = corpus.query(**given)
    caller = Caller(corpus.caller.tenant_id, USERS[user], scopes=corpus.caller.scopes)
    small = filters in SMALL
    async with searching(corpus.runtime.engine)(caller) as passages:
        sizes, _ = await passages._prepare(query, 20_000)
        assert await passages._is_small(query, sizes.chunks, 20_000) == small
        statement, values = passages.statement(query, exact=small)
    custom, generic = await explain(corpus, statement, values)
    if (
        small
    ):  # the plan for all values expects a usual filter to keep half of the chunks; that of a small one is chosen
        assert "chunks" not in scanned(custom)
    else:
        assert not (scanned(custom) | scanned(generic)) & {"chunks", "chunk_embeddings"}
    for nodes in (custom, generic):
        used = {node.get("Index Name") for node in nodes}
        if query.embedding is not None:
            assert (index_name(corpus.space_id) in used) == (not small)
    if query.by_text:
        for mode in ("force_custom_plan", "force_generic_plan"):
            async with corpus.runtime.uow(caller) as uow:
                used_by = await scans(uow, statement, values, mode=mode)
            assert used_by["words"] > 0
            assert used_by["documents"] > 0
            assert used_by["whole"] == 0 or (small and mode == "force_generic_plan")


def scanned(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}


@pytest.fixture(params=LEGS)
async def beside_many(request: pytest.FixtureRequest, corpus: Corpus) -> AsyncIterator[SearchQuery]:
    """The planner takes the tenant for one of ten thousand."""
    tables = ("documents", "chunks", "chunk_embeddings")
    spellings = (
        "ALTER TABLE {} ALTER tenant_id SET (n_distinct = 10000)",
        "ALTER TABLE {} ALTER tenant_id RESET (n_distinct)",
    )
    async with driver_connection(corpus.runtime.owner) as connection:
        await connection.execute("SET app.maintenance = 'on'")
        for table in tables:
            await connection.execute(spellings[0].format(table) + f"; ANALYZE {table}")
        yield corpus.query(**LEGS[request.param])
        for table in tables:
            await connection.execute(spellings[1].format(table) + f"; ANALYZE {table}")


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_a_large_tenant_beside_many_small_ones(
    corpus: Corpus, beside_many: SearchQuery, user: str, mode: str
) -> None:
    """Nothing collects all that the tenant has."""
    caller = Caller(corpus.caller.tenant_id, USERS[user], scopes=corpus.caller.scopes)
    async with searching(corpus.runtime.engine)(caller) as passages:
        statement, values = passages.statement(beside_many, exact=False)
    async with corpus.runtime.uow(caller) as uow:
        used = await scans(uow, statement, values, mode=mode)
    assert (used["tenant"], used["whole"]) == (0, 0)
    if beside_many.embedding is not None:
        for nodes in await explain(corpus, statement, values):
            assert index_name(corpus.space_id) in {node.get("Index Name") for node in nodes}


async def test_small_statements_use_indexes(corpus: Corpus) -> None:
    tenant = {"tenant": corpus.caller.tenant_id}
    near = tenant | {"embedding": halfvec.encoded([0.5, *[0.1] * 7])}
    asked: list[tuple[TextClause, dict[str, Any]]] = [
        (search_scope.SIZES, tenant | {"index": index_name(corpus.space_id)}),
        (search_sql.background_statement(corpus.space_id, WIDTH), near),
        (search_scope.scope_statement(frozenset({"collection"}), 20_001), tenant | {"collection": "few"}),
        (search_scope.scope_statement(frozenset({"lang"}), 20_001), tenant | {"lang": "hi"}),
    ]
    for statement, values in asked:
        for nodes in await explain(corpus, statement, values):
            assert "chunks" not in scanned(nodes)


async def test_an_index_that_is_missing_is_seen(corpus: Corpus) -> None:
    """The other tests can fail."""
    async with corpus.runtime.owner.connect() as connection:
        for dropped in (drop_index(corpus.space_id).replace(" CONCURRENTLY", ""), "DROP INDEX ix_chunks_terms"):
            await connection.execute(text(dropped))
        async with searching(corpus.runtime.engine)(corpus.caller) as passages:
            statement, values = passages.statement(corpus.query(), exact=False)
        plan = (await connection.execute(text("EXPLAIN (FORMAT JSON) " + statement.text), values)).scalar_one()
        await connection.execute(
            text("SELECT set_config('app.tenant_id', :tenant, true)"), {"tenant": str(corpus.caller.tenant_id)}
        )
        before = await connection.scalar(WHOLE)
        await connection.execute(text("SELECT ragchat_find_passages('w17 & w4021', true, NULL, NULL, NULL)"))
        assert await connection.scalar(WHOLE) > before
        await connection.rollback()
    assert "chunk_embeddings" in scanned([*_nodes(json.loads(plan) if isinstance(plan, str) else plan)])
