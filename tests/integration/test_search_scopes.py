"""Search in small and large scopes: exact and through HNSW, never fewer hits than exist, the right plan."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import URL, TextClause, text

from app.core.caller import Caller, tenant_caller
from app.core.ids import new_id
from app.db.searching import searching
from app.repositories import search_sql, statistics
from app.repositories.search import SearchQuery
from app.runtime import Runtime, open_runtime
from tests.conftest import make_database, make_settings, make_tenant

pytestmark = pytest.mark.xdist_group("search_scopes")
WIDTH = 384
CHUNKS = 3000
RARE = 30
"""One in a hundred belongs to the small document."""


def vectors(count: int) -> Any:
    """Unit rows; the same at every call."""
    found = np.random.default_rng(7).normal(size=(count, WIDTH)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


async def add_document(runtime: Runtime, caller: Caller, rows: list[tuple[int, np.ndarray[Any, Any]]]) -> UUID:
    document_id = new_id()
    values = {
        "id": document_id, "title": "d", "filename": "d.txt", "kind": "txt", "size_bytes": 1, "storage_key": "k",
        "sha256": hashlib.sha256(document_id.bytes).digest(), "status": "ready", "indexed_version": 1,
        "chunk_count": len(rows), "term_count": 3 * len(rows),
    }  # fmt: skip
    ids = [new_id() for _ in rows]
    chunks = [
        {
            "id": ids[i], "document_id": document_id, "document_version": 1, "chunk_index": i, "page": None,
            "char_start": 0, "char_end": 1, "heading": None, "content": f"word{n % 50} common", "lang": "en",
            "content_hash": bytes(32), "token_count": 2, "config": "english", "indexed": f"word{n % 50} common",
        }
        for i, (n, _) in enumerate(rows)
    ]  # fmt: skip
    async with runtime.uow(caller) as uow:
        await uow.documents.insert(values)
        space = await uow.spaces.active()
        assert space is not None
        await uow.chunks.add(chunks)
        await uow.spaces.add_vectors(space.id, ids, np.stack([v for _, v in rows]))
    return document_id


class Corpus:
    def __init__(self, runtime: Runtime, caller: Caller, small: UUID, large: UUID, space_id: int) -> None:
        self.runtime, self.caller, self.small, self.large, self.space_id = runtime, caller, small, large, space_id
        self.vectors = vectors(CHUNKS)

    def query(self, **values: Any) -> SearchQuery:
        given = {"question": "word7 common", "config": "english", "fetched": 10, "embedding": self.vectors[5].tolist()}
        return SearchQuery(space_id=self.space_id, width=WIDTH, **(given | values))

    async def search(self, exact_limit: int, **values: Any) -> tuple[list[dict[str, Any]], bool]:
        async with searching(self.runtime.engine)(self.caller) as passages:
            return await passages.search(self.query(**values), exact_limit=exact_limit)


@pytest.fixture(scope="module")
async def corpus(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Corpus]:
    """In a database of its own: what the planner chooses depends on everything in a table."""
    url, folder = await make_database(postgres, "test_search"), tmp_path_factory.mktemp("search")
    async with open_runtime(make_settings(database_url=url, data_dir=folder, exact_search_limit=0)) as runtime:
        caller = tenant_caller(new_id())
        await make_tenant(runtime, caller.tenant_id, str(caller.tenant_id))
        numbered = [*enumerate(vectors(CHUNKS))]
        small = await add_document(runtime, caller, numbered[:RARE])
        large = await add_document(runtime, caller, numbered[RARE:])
        async with runtime.uow(caller) as uow:
            space = await uow.spaces.active()
        async with runtime.owner.begin() as connection:
            await connection.execute(text("ANALYZE chunks, chunk_embeddings, documents"))
        assert space is not None
        yield Corpus(runtime, caller, small, large, space.id)


async def test_index_and_exact_scan_agree(corpus: Corpus) -> None:
    exact, was_exact = await corpus.search(CHUNKS, by_text=False)
    near, was_near = await corpus.search(100, by_text=False)
    assert (was_exact, was_near) == (True, False)
    assert exact[0]["cosine"] == pytest.approx(1, abs=1e-3)
    assert len({row["id"] for row in exact} & {row["id"] for row in near}) >= 9


async def test_a_filter_that_keeps_one_percent_loses_nothing(corpus: Corpus) -> None:
    """HNSW alone finds next to nothing here; see docs/decisions."""
    best = corpus.vectors[:RARE] @ corpus.vectors[2000]
    expected = {int(i) for i in np.argsort(-best)[:10]}
    asked = {"by_text": False, "embedding": corpus.vectors[2000].tolist(), "document_ids": [corpus.small]}
    for exact_limit in (0, 10, CHUNKS):
        rows, _ = await corpus.search(exact_limit, **asked)
        assert len(rows) == 10
        assert len({row["chunk_index"] for row in rows} & expected) >= 9


async def test_never_fewer_hits_than_exist(corpus: Corpus) -> None:
    for exact_limit in (0, CHUNKS):
        rows, _ = await corpus.search(exact_limit, document_ids=[corpus.small], fetched=50, question="word7")
        assert len(rows) == RARE


async def test_lexical_leg_alone(corpus: Corpus) -> None:
    rows, exact = await corpus.search(0, embedding=None, question="word7")
    assert exact
    assert {row["content"] for row in rows} == {"word7 common"}
    assert all(row["cosine"] is None and 0 < row["score"] <= 1 for row in rows)


async def test_both_scores_are_known_for_every_hit(corpus: Corpus) -> None:
    rows, _ = await corpus.search(CHUNKS)
    for row in rows:
        weight = search_sql.VECTOR_WEIGHT
        assert row["score"] == pytest.approx(weight * max(row["cosine"], 0) + (1 - weight) * row["lexical"])
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)


@pytest.mark.parametrize(("exact", "index"), [(True, False), (False, True)])
async def test_plan_uses_the_indexes(corpus: Corpus, exact: bool, index: bool) -> None:
    query = corpus.query()
    async with searching(corpus.runtime.engine)(corpus.caller) as passages:
        statement, values = passages.statement(query, exact=exact)
    async with corpus.runtime.uow(corpus.caller) as uow:
        explained = await uow.chunks._session.execute(text("EXPLAIN " + statement.text), values)
        plan = "\n".join(row[0] for row in explained)
    assert (f"ix_chunk_embeddings_hnsw_{query.space_id}" in plan) == index


async def scan_of(corpus: Corpus, caller: Caller, **values: Any) -> tuple[list[dict[str, Any]], str]:
    """What search finds through the index, and how it scanned it in the end."""
    async with searching(corpus.runtime.engine)(caller) as passages:
        rows, _ = await passages.search(corpus.query(**values), exact_limit=0)
        [shown] = await passages._fetch(text("SHOW hnsw.iterative_scan"), {})
        return rows, shown["hnsw.iterative_scan"]


async def test_who_has_most_of_the_vectors_is_searched_without_an_iterative_scan(corpus: Corpus) -> None:
    assert (await scan_of(corpus, corpus.caller))[1] == "relaxed_order"  # nothing is known of the tenant
    async with corpus.runtime.uow(corpus.caller) as uow:
        assert await uow.statistics.refresh(corpus.space_id)
    try:
        assert (await scan_of(corpus, corpus.caller))[1] == "off"
        assert (await scan_of(corpus, corpus.caller, lang="en"))[1] == "relaxed_order"
        user = Caller(corpus.caller.tenant_id, user_id="ravi")
        assert (await scan_of(corpus, user))[1] == "relaxed_order"
    finally:
        async with corpus.runtime.uow(corpus.caller) as uow:
            await uow.statistics.forget()


@pytest.mark.parametrize("by_text", [True, False])
async def test_statistics_that_mislead_lose_nothing(corpus: Corpus, by_text: bool) -> None:
    """Of 120 neighbours, or 240, a few are this tenant's; words alone could fill the list."""
    caller = tenant_caller(new_id())
    await make_tenant(corpus.runtime, caller.tenant_id, str(caller.tenant_id))
    mine = [*enumerate(np.random.default_rng(8).normal(size=(60, WIDTH)).astype(np.float32))]
    await add_document(corpus.runtime, caller, mine)
    async with corpus.runtime.owner.begin() as connection:
        known = "INSERT INTO corpus_statistics (tenant_id, chunks, mean_length) VALUES (:tenant, 9000, 2)"
        await connection.execute(text(known), {"tenant": caller.tenant_id})
    rows, scan = await scan_of(corpus, caller, fetched=30, by_text=by_text)
    assert scan == "relaxed_order"
    assert sum(row["vector_rank"] is not None for row in rows) >= (10 if by_text else 30)
    async with searching(corpus.runtime.engine)(caller) as passages:
        exact, _ = await passages.search(corpus.query(fetched=30, by_text=by_text), exact_limit=CHUNKS * 4)
    assert len({row["id"] for row in rows} & {row["id"] for row in exact}) >= 28


async def test_a_word_that_became_common_pushes_no_other_out(corpus: Corpus) -> None:
    """It is known of when sixty passages held it. The other word's only passage was stored last."""
    caller = tenant_caller(new_id())
    await make_tenant(corpus.runtime, caller.tenant_id, str(caller.tenant_id))
    some = vectors(301)
    await add_document(corpus.runtime, caller, [(7, some[n]) for n in range(300)] + [(8, some[300])])
    async with corpus.runtime.owner.begin() as connection:
        for known in (
            "INSERT INTO corpus_statistics (tenant_id, chunks, mean_length) VALUES (:tenant, 270, 2)",
            "INSERT INTO term_statistics (tenant_id, lexeme, chunks) VALUES (:tenant, 'word7', 60)",
        ):
            await connection.execute(text(known), {"tenant": caller.tenant_id})
    async with searching(corpus.runtime.engine)(caller) as passages:
        rows, _ = await passages.search(corpus.query(embedding=None, question="word8 word7"), exact_limit=0)
    assert rows[0]["content"] == "word8 common"


@pytest.mark.parametrize("tenant_is_small", [True, False])
async def test_who_sees_little_of_a_large_tenant_is_not_compared_with_all_of_it(
    corpus: Corpus, tenant_is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exact scan begins with all vectors of a small tenant, and with what one person may see of a large one."""
    caller = tenant_caller(new_id())
    await make_tenant(corpus.runtime, caller.tenant_id, str(caller.tenant_id))
    mine = await add_document(corpus.runtime, caller, [*enumerate(vectors(30))])
    async with corpus.runtime.owner.begin() as connection:
        known = "INSERT INTO corpus_statistics (tenant_id, chunks, mean_length) VALUES (:tenant, 1030, 2)"
        await connection.execute(text(known), {"tenant": caller.tenant_id})
    ravi, asked = Caller(caller.tenant_id, user_id="ravi", scopes=caller.scopes), []
    async with searching(corpus.runtime.engine)(ravi) as passages:
        fetch = passages._fetch

        async def noted(statement: TextClause, values: Mapping[str, Any]) -> list[dict[str, Any]]:
            asked.append(statement.text)
            return await fetch(statement, values)

        monkeypatch.setattr(passages, "_fetch", noted)
        rows, exact = await passages.search(corpus.query(by_text=False), exact_limit=2000 if tenant_is_small else 500)
    assert exact
    assert {row["document_id"] for row in rows} == {mine}
    assert ("AS compared" in asked[-1]) == tenant_is_small


async def test_statistics_of_a_sample(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third passage is looked at; words that too few of them hold are left to be counted."""
    monkeypatch.setattr(statistics, "SAMPLED", CHUNKS // 3)
    monkeypatch.setattr(statistics, "SURE_FROM", 20)
    held = text("SELECT lexeme, chunks FROM term_statistics WHERE tenant_id = :tenant")
    async with corpus.runtime.uow(corpus.caller) as uow:
        assert await uow.statistics.refresh(corpus.space_id)
        found = (await uow.chunks._session.execute(held, {"tenant": corpus.caller.tenant_id})).all()
        await uow.statistics.forget()
    known = {row.lexeme: row.chunks for row in found}
    assert known["common"] == pytest.approx(CHUNKS, rel=0.15)
    assert 1 < len(known) < 51
    assert all(chunks >= max(statistics.COMMON_FROM, 3 * 20) for chunks in known.values())


async def test_another_tenant_sees_nothing(corpus: Corpus) -> None:
    stranger = tenant_caller(new_id())
    async with searching(corpus.runtime.engine)(stranger) as passages:
        for exact_limit in (0, CHUNKS):
            assert await passages.search(corpus.query(), exact_limit=exact_limit) == ([], True)


@pytest.mark.parametrize(
    "question",
    [
        "-" * 40, "a & | ! ( ) : * < > ' \" \\", "the of and", "😀😀", "%_%", ":*", "<->" * 50, "שלום עולם", "x" * 5000,
        "'; DROP TABLE chunks;--", "foo-bar/baz http://x.example/?a=b&c=d",
        "अमेरिका तेलुगు", " ".join(map(str, range(3000))),
    ],
)  # fmt: skip
async def test_any_question_is_safe(corpus: Corpus, question: str) -> None:
    rows, _ = await corpus.search(CHUNKS, question=question)
    assert len(rows) == 10
