"""Embedding spaces on a real database: filled, indexed, switched, dropped, and every guard in between."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from sqlalchemy import URL, event

from app.core.errors import Conflict, Invalid, NotFound, RagchatError, Unavailable
from app.core.ids import new_id
from app.providers.embedding import SHIPPED
from app.rag.indexed_text import embedded_text
from app.runtime import open_runtime
from app.services import filling, spaces
from app.services.comparison import ComparisonService, Question
from app.services.embedders import Embedders
from app.services.leases import Lease, LeaseLost
from app.services.spaces import SpaceService
from app.services.statistics import REFRESH
from app.worker.runner import running_worker
from tests.conftest import make_database, make_settings, make_tenant
from tests.integration.spaces import (
    BUILDER,
    CALLER,
    INDEX,
    NOT_FOUND_IN_THE_ACTIVE_SPACE,
    SENTENCE,
    VALID,
    World,
    add_passages,
    elsewhere,
    locked,
    slow_down,
)

SPACES_LOCK = "hashtext('embedding_spaces')"
BUILD_LOCK = "hashtext('ragchat_hnsw')"
NOWHERE = "/nowhere/model"
VECTORS = "SELECT count(*) FROM chunk_embeddings WHERE space_id = $1"
WAITING = """
SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()
"""
STORED = """
SELECT e.embedding::text FROM chunk_embeddings e JOIN chunks c ON c.id = e.chunk_id
WHERE e.space_id = $1 AND c.content = $2
"""
ROUNDS = 15


@pytest.fixture
async def url(postgres: URL) -> str:
    return await make_database(postgres, "test_spaces")


@contextlib.asynccontextmanager
async def opened(url: str, folder: Path, **settings: Any) -> AsyncIterator[World]:
    async with open_runtime(make_settings(database_url=url, data_dir=folder, **settings)) as runtime:
        yield World(runtime, url)


@pytest.fixture
async def world(url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(url, tmp_path) as world:
        yield world


async def refused(work: Any) -> str:
    with pytest.raises(RagchatError) as error:
        await work
    return error.value.code


class TestFilling:
    async def test_spaces_of_three_widths_live_side_by_side(self, world: World) -> None:
        await add_passages(world.runtime, 300)
        ids = [await world.make(64), await world.make(128)]
        widths = await world.sql("SELECT array_agg(DISTINCT vector_dims(embedding)) FROM chunk_embeddings")
        assert sorted(widths) == [64, 128, 384]
        for id_ in ids:
            state = await world.state(id_)
            assert (state.vectors, state.chunks, state.indexed, state.job) == (300, 300, True, "done")
            space, content = await world.space(id_), SENTENCE.format(n=77)
            stored = await world.sql(STORED, id_, content)
            expected = await space.embedder.embed_documents([embedded_text("offices", None, content)])
            assert np.array(json.loads(stored)) @ expected[0] == pytest.approx(1, abs=1e-3)
            found = await world.runtime.retrieval.retrieve(CALLER, "office 77", top_k=300, mode="vector", space=space)
            assert len(found.sources) == 300
        assert len(await world.found("office 77")) == 5

    async def test_creating_again_fills_on_and_doubles_nothing(self, world: World) -> None:
        await add_passages(world.runtime, 20)
        id_ = await world.make(64)
        await world.sql(f"DELETE FROM chunk_embeddings WHERE space_id = {id_} AND chunk_id::text > '8'")
        assert await world.make(64) == id_
        assert await world.sql(VECTORS, id_) == 20
        assert await world.sql("SELECT count(*) FROM embedding_spaces") == 2

    async def test_a_document_does_not_wait_for_a_long_fill(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(filling, "WINDOW", 16)
        monkeypatch.setattr(filling, "WINDOWS_A_RUN", 2)
        await add_passages(world.runtime, 600, sentences=4)
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        async with running_worker(world.runtime, concurrency=1):

            async def begun() -> bool:
                return bool(await world.sql(VECTORS, space.id))

            await world.until(begun)
            document = await world.upload("Parcels are insured up to a thousand rupees.")

            async def ready() -> bool:
                return await world.status(document) == "ready"

            await world.until(ready)
            assert (await world.state(space.id)).vectors < 600
            await world.until_idle()
        state = await world.state(space.id)
        assert (state.vectors, state.chunks, state.indexed) == (601, 601, True)
        assert await world.sql("SELECT max(attempts) FROM jobs") == 1

    async def test_what_comes_in_while_the_index_is_built_is_filled_by_the_same_job(self, world: World) -> None:
        await add_passages(world.runtime, 10)
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        async with running_worker(world.runtime, concurrency=2):
            async with locked(world.url, BUILD_LOCK):

                async def embedded() -> bool:
                    return (await world.state(space.id)).vectors == 10

                await world.until(embedded)
                document = await world.upload("Parcels are insured up to a thousand rupees.")

                async def ready() -> bool:
                    return await world.status(document) == "ready"

                await world.until(ready)
                assert (await world.state(space.id)).vectors == 10
            await world.until_idle()
        state = await world.state(space.id)
        assert (state.vectors, state.indexed) == (11, True)
        assert await world.sql("SELECT count(*) FROM jobs WHERE kind = 'space.fill'") == 1

    async def test_a_document_that_becomes_ready_as_the_job_ends_is_embedded_for_it_first(self, world: World) -> None:
        """It waits for the lock under which the job ends, and then finds that the space is complete, and must stay so,
        however long that takes."""
        await add_passages(world.runtime, 3)
        await slow_down(world, "jobs", "NEW.state = 'done' AND NEW.kind = 'space.fill'", seconds=0.5)
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        async with running_worker(world.runtime, concurrency=2):
            async with locked(world.url, SPACES_LOCK):
                await world.until(lambda: _waiting_for_a_lock(world))
                await world.upload("Parcels are insured up to a thousand rupees.")
                await world.until(lambda: _waiting_for_a_lock(world, 2))
            await world.until_idle()
        assert await world.sql(VECTORS, space.id) == 4
        assert await world.sql("SELECT count(*) FROM jobs WHERE kind = 'space.fill'") == 1

    async def test_one_that_became_ready_before_the_job_ends_is_filled_by_it(self, world: World) -> None:
        """The job's end waits for documents that are becoming visible. Until then a chunk is not its business."""
        await add_passages(world.runtime, 3)
        hidden = await add_passages(world.runtime, 1)
        await world.sql("UPDATE documents SET indexed_version = NULL WHERE id = $1", hidden)
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        async with elsewhere(world.url) as document, running_worker(world.runtime, concurrency=1):
            await document.execute("BEGIN")
            await document.execute(f"SELECT pg_advisory_xact_lock_shared({SPACES_LOCK})")
            await world.until(lambda: _waiting_for_a_lock(world))
            assert await world.sql(VECTORS, space.id) == 3
            await document.execute("UPDATE documents SET indexed_version = 1 WHERE id = $1", hidden)
            await document.execute("COMMIT")
            await world.until_idle()
        assert await world.sql(VECTORS, space.id) == 4

    async def test_the_same_vectors_from_two_sides_at_once(self, world: World) -> None:
        """A document's own run and the job that fills may meet; in different orders they would wait for each other."""
        await add_passages(world.runtime, 400)
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        async with world.runtime.uow(CALLER) as uow:
            ids = [row["id"] for row in await uow.spaces.unfilled(space.id, after=UUID(int=0), limit=400)]
        vectors = np.ones((400, 64), np.float32)

        async def add(order: list[UUID]) -> None:
            async with world.runtime.uow(CALLER) as uow:
                await uow.spaces.add_vectors(space.id, order, vectors)

        for _ in range(20):
            await asyncio.gather(add(ids), add(ids[::-1]))
            assert await world.sql(VECTORS, space.id) == 400
            await world.sql("DELETE FROM chunk_embeddings WHERE space_id = $1", space.id)

    async def test_two_spaces_at_once_do_not_stop_each_other(self, world: World) -> None:
        """Two concurrent index builds on one table are a deadlock for PostgreSQL when both are under way."""
        await add_passages(world.runtime, 5)
        made = [await world.runtime.spaces.create(f"{SHIPPED}@{width}") for width in (64, 128)]
        async with elsewhere(world.url) as writer, running_worker(world.runtime, concurrency=2):
            await writer.execute("BEGIN")
            await writer.execute("DELETE FROM chunk_embeddings WHERE false")

            async def filled() -> bool:
                return {(await world.state(space.id)).vectors for space in made} == {5}

            await world.until(filled)
            await asyncio.sleep(1)
            await writer.execute("COMMIT")
            await world.until_idle()
        assert [(await world.state(space.id)).indexed for space in made] == [True, True]
        jobs = await world.sql("SELECT array_agg((attempts, error_code)::text) FROM jobs")
        assert jobs == ["(1,)", "(1,)"]

    async def test_a_broken_index_is_built_anew(self, url: str, tmp_path: Path) -> None:
        async with opened(url, tmp_path, exact_search_limit=0) as world:
            await add_passages(world.runtime, 20)
            id_ = await world.make(64)
            before = await world.sql(VALID, f"{INDEX}{id_}")
            broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass($1)"
            await world.sql(broken, f"{INDEX}{id_}")
            assert not (await world.state(id_)).indexed
            assert await refused(world.runtime.spaces.switch(id_)) == "space_not_indexed"
            await world.work()
            assert (await world.state(id_)).indexed
            assert await world.sql(VALID, f"{INDEX}{id_}") != before
            assert await world.sql(VECTORS, id_) == 20
            assert (await world.runtime.spaces.switch(id_)).id == id_

    async def test_a_build_that_a_dead_worker_left_running_is_waited_for(self, world: World) -> None:
        await add_passages(world.runtime, 20)
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        async with elsewhere(world.url) as left, running_worker(world.runtime, concurrency=1):
            await left.execute(f"SELECT pg_advisory_lock({BUILD_LOCK})")

            async def embedded() -> bool:
                return (await world.state(space.id)).vectors == 20

            await world.until(embedded)
            await left.execute(
                f"CREATE INDEX CONCURRENTLY {INDEX}{space.id} ON chunk_embeddings USING hnsw "
                f"((embedding::halfvec(64)) halfvec_cosine_ops) WHERE space_id = {space.id}"
            )
            built = await world.sql(VALID, f"{INDEX}{space.id}")
            await left.close()
            await world.until_idle()
        assert await world.sql(VALID, f"{INDEX}{space.id}") == built

    async def test_a_worker_that_lost_its_lease_writes_nothing(self, world: World) -> None:
        await add_passages(world.runtime, 3)
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        with pytest.raises(LeaseLost):
            await world.runtime.spaces.fill(space.id, Lease(await world.sql("SELECT id FROM jobs"), new_id()))
        assert await world.sql(VECTORS, space.id) == 0

    async def test_a_model_that_no_worker_can_load_ends_as_a_dead_job_that_says_so(self, world: World) -> None:
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        await world.sql("UPDATE embedding_spaces SET model = $1 WHERE id = $2", NOWHERE, space.id)
        await world.sql("UPDATE jobs SET max_attempts = 1")
        await world.work()
        state = await world.state(space.id)
        assert (state.job, state.error) == ("dead", "embedder_not_loaded")


async def _waiting_for_a_lock(world: World, count: int = 1) -> bool:
    return bool(await world.sql(WAITING) == count)


class TestSwitching:
    async def test_one_statement_switches(self, world: World) -> None:
        await add_passages(world.runtime, 5)
        id_ = await world.make(64)
        updates: list[str] = []

        def note(*told: Any) -> None:
            if "UPDATE embedding_spaces" in told[2]:
                updates.append(told[2])

        event.listen(world.runtime.engine.sync_engine, "before_cursor_execute", note)
        await world.runtime.spaces.switch(id_)
        assert len(updates) == 1
        assert await world.sql("SELECT array_agg(id) FROM embedding_spaces WHERE is_active") == [id_]
        again = await world.sql("SELECT activated_at FROM embedding_spaces WHERE is_active")
        await world.runtime.spaces.switch(id_)
        assert await world.sql("SELECT activated_at FROM embedding_spaces WHERE is_active") == again

    async def test_the_database_refuses_two_active_ones(self, world: World) -> None:
        id_ = await world.make(64)
        with pytest.raises(asyncpg.ExclusionViolationError):
            await world.sql("UPDATE embedding_spaces SET is_active = true WHERE id = $1", id_)

    async def test_the_database_refuses_an_active_one_that_was_never_filled(self, world: World) -> None:
        with pytest.raises(asyncpg.CheckViolationError, match="active_is_filled"):
            await world.sql("UPDATE embedding_spaces SET filled_at = NULL WHERE is_active")

    async def test_an_incomplete_space_is_refused_and_filled_on(self, world: World) -> None:
        await add_passages(world.runtime, 20)
        id_ = await world.make(64)
        await world.sql(
            "DELETE FROM chunk_embeddings WHERE (space_id, chunk_id) IN "
            "(SELECT space_id, chunk_id FROM chunk_embeddings WHERE space_id = $1 LIMIT 1)",
            id_,
        )
        assert await refused(world.runtime.spaces.switch(id_)) == "space_incomplete"
        assert (await world.runtime.spaces.named(str(id_))).is_active is False
        assert await refused(world.space(id_)) == "space_incomplete"
        await world.work()
        await world.runtime.spaces.switch(id_)
        assert (await world.state(id_)).active

    async def test_there_and_back_and_there_again(self, world: World) -> None:
        await add_passages(world.runtime, 5)
        first = world.runtime.spaces.current.id
        assert await refused(world.runtime.spaces.rollback()) == "no_earlier_space"
        second, third = await world.make(64), await world.make(128)
        assert await refused(world.runtime.spaces.rollback()) == "no_earlier_space"
        await world.runtime.spaces.switch(second)
        assert (await world.runtime.spaces.rollback()).id == first
        assert (await world.runtime.spaces.rollback()).id == second
        await world.runtime.spaces.switch(third)
        assert (await world.runtime.spaces.rollback()).id == second

    async def test_spaces_that_are_complete_are_kept_so_by_new_documents(self, world: World) -> None:
        first = world.runtime.spaces.current.id
        await world.upload("Managers approve annual leave.")
        second, third = await world.make(64), await world.make(128)
        await world.runtime.spaces.switch(second)
        fourth = (await world.runtime.spaces.create(f"{SHIPPED}@32")).id
        await world.sql("UPDATE jobs SET state = 'dead' WHERE kind = 'space.fill'")
        async with locked(world.url, BUILD_LOCK):  # a job that fills gets no further than this
            document = await world.upload("Parcels are insured up to a thousand rupees.")
            async with running_worker(world.runtime, concurrency=2):

                async def ready() -> bool:
                    return await world.status(document) == "ready"

                await world.until(ready)
                assert [await world.sql(VECTORS, id_) for id_ in (first, second, third)] == [2, 2, 2]
        assert await world.sql("SELECT count(*) FROM jobs WHERE kind = 'space.fill' AND state = 'queued'") == 1
        await world.runtime.spaces.switch(third)
        await world.runtime.spaces.rollback()
        await world.work()
        assert await world.sql(VECTORS, fourth) == 2
        assert document in await world.found("insured parcels")
        await world.runtime.spaces.rollback()
        await world.runtime.spaces.refresh()
        assert document in await world.found("insured parcels")

    @pytest.mark.parametrize("complete", ["before", "meanwhile"])
    async def test_a_document_does_not_wait_for_a_space_that_cannot_be_loaded(
        self, world: World, complete: str
    ) -> None:
        id_ = await world.make(64)
        become = "UPDATE embedding_spaces SET model = $1, filled_at = now() WHERE id = $2"
        if complete == "before":
            await world.sql(become, NOWHERE, id_)
        else:
            await world.sql("UPDATE embedding_spaces SET filled_at = NULL WHERE id = $1", id_)
        document = await world.upload("Parcels are insured up to a thousand rupees.")
        async with running_worker(world.runtime, concurrency=1):
            if complete == "meanwhile":
                async with locked(world.url, SPACES_LOCK):
                    await world.until(lambda: _waiting_for_a_lock(world))
                    await world.sql(become, NOWHERE, id_)

            async def ready() -> bool:
                return await world.status(document) == "ready"

            await world.until(ready)
        assert await world.sql(VECTORS, id_) == 0
        assert await world.sql("SELECT count(*) FROM jobs WHERE kind = 'space.fill' AND state <> 'done'") == 1

    @pytest.mark.timeout(300)
    async def test_documents_that_become_ready_meanwhile_are_never_missing(self, world: World) -> None:
        """Both sides are slowed down between their check and their commit, where one could overtake the other."""
        await slow_down(world, "documents", "NEW.indexed_version IS DISTINCT FROM OLD.indexed_version", seconds=0.03)
        await slow_down(world, "embedding_spaces", "NEW.is_active AND NOT OLD.is_active", seconds=0.03)
        async with running_worker(world.runtime, concurrency=2), elsewhere(world.url) as watcher:
            for number in range(ROUNDS):
                space = await world.runtime.spaces.create(f"{SHIPPED}@{10 + number}")
                await world.until_idle()
                documents = [await world.upload(f"Rule {number}. Office {n} closes at six.") for n in range(2)]
                await _switched(world, space.id)
                while await watcher.fetchval(
                    "SELECT count(*) FROM documents WHERE id = ANY($1) AND indexed_version IS NULL", documents
                ):
                    assert await watcher.fetchval(NOT_FOUND_IN_THE_ACTIVE_SPACE) == 0
                assert await watcher.fetchval(NOT_FOUND_IN_THE_ACTIVE_SPACE) == 0
        assert await world.sql("SELECT count(*) FROM documents WHERE status = 'ready'") == 2 * ROUNDS


async def _switched(world: World, space_id: int) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Conflict):
                await world.runtime.spaces.switch(space_id)
                return


class TestDropping:
    async def test_vectors_index_and_row_go(self, world: World) -> None:
        await add_passages(world.runtime, 20)
        first, id_ = world.runtime.spaces.current.id, await world.make(64)
        assert await refused(world.runtime.spaces.drop(first)) == "space_active"
        await world.runtime.spaces.drop(id_)
        assert await refused(world.runtime.spaces.switch(id_)) == "space_not_found"
        assert await refused(world.runtime.spaces.create(f"{SHIPPED}@64")) == "space_dropping"
        await world.work()
        assert await _nothing_left(world, id_)
        assert (await world.state(first)).vectors == 20
        assert await refused(world.runtime.spaces.drop(id_)) == "space_not_found"
        assert await world.make(64) > id_

    async def test_one_that_served_is_given_a_minute(self, world: World) -> None:
        """Another process may still be loading the model that it should search by."""
        await add_passages(world.runtime, 3)
        first = world.runtime.spaces.current.id
        await world.runtime.spaces.switch(await world.make(64))
        await world.runtime.spaces.drop(first)
        wait = await world.sql("SELECT extract(epoch FROM run_at - now())::float8 FROM jobs WHERE kind = 'space.drop'")
        assert 50 < wait < 61
        async with running_worker(world.runtime, concurrency=1):
            await asyncio.sleep(0.5)
            assert await world.sql(VECTORS, first) == 3
            await world.sql("UPDATE jobs SET run_at = now() WHERE state = 'queued'")
            await world.sql("SELECT pg_notify('ragchat_jobs', '')")
            await world.until_idle()
        assert await _nothing_left(world, first)
        assert await refused(world.runtime.spaces.rollback()) == "no_earlier_space"

    async def test_a_worker_that_died_in_between_is_no_matter(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await add_passages(world.runtime, 20)
        id_ = await world.make(64)
        await world.runtime.spaces.drop(id_)
        monkeypatch.setattr(spaces, "DELETED_AT_ONCE", 7)
        async with world.engine.begin() as connection:  # what its first steps had done
            await connection.exec_driver_sql(f"DROP INDEX {INDEX}{id_}")
        async with world.runtime.uow(CALLER) as uow:
            assert await uow.spaces.delete_some(id_, limit=7) == 7
        assert await world.sql(VECTORS, id_) == 13
        await world.work()
        assert await _nothing_left(world, id_)
        assert await world.sql("SELECT count(*) FROM chunk_embeddings") == 20

    async def test_dropped_while_it_is_filled_and_indexed(self, world: World) -> None:
        await add_passages(world.runtime, 20)
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        async with running_worker(world.runtime, concurrency=2):
            async with locked(world.url, BUILD_LOCK):

                async def embedded() -> bool:
                    return (await world.state(space.id)).vectors == 20

                await world.until(embedded)  # its index is built next; first it is dropped, by another worker
                await world.runtime.spaces.drop(space.id)
            await world.until_idle()
        assert await _nothing_left(world, space.id)

    @pytest.mark.parametrize(
        "dropped",
        ["DELETE FROM embedding_spaces WHERE id = $1", "UPDATE embedding_spaces SET is_dropping = true WHERE id = $1"],
        ids=["gone", "going"],
    )
    async def test_an_index_that_was_built_too_late_goes_again(self, world: World, dropped: str) -> None:
        """The job that drops has been at work between this one's look at the space and its build."""
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        async with running_worker(world.runtime, concurrency=1):
            async with locked(world.url, BUILD_LOCK):
                await world.until(lambda: _waiting_to_build(world))
                await world.sql(dropped, space.id)
            await world.until_idle()
        assert await world.sql("SELECT to_regclass($1)::text", f"{INDEX}{space.id}") is None

    async def test_nothing_is_added_any_more(self, world: World) -> None:
        space = await world.runtime.spaces.create(f"{SHIPPED}@64")
        await world.runtime.spaces.drop(space.id)
        await add_passages(world.runtime, 3)
        async with world.runtime.uow(CALLER) as uow:
            ids = [row["id"] for row in await uow.spaces.unfilled(space.id, after=UUID(int=0), limit=9)]
            vectors = await world.runtime.spaces.current.embedder.embed_documents(["x"] * len(ids))
            await uow.spaces.add_vectors(space.id, ids, vectors[:, :64])
        assert len(ids) == 3
        assert await world.sql(VECTORS, space.id) == 0


async def _waiting_to_build(world: World) -> bool:
    return bool(await world.sql("SELECT count(*) FROM pg_stat_activity WHERE " + BUILDER))


async def _nothing_left(world: World, id_: int) -> bool:
    return not (
        await world.sql(VECTORS, id_)
        or await world.sql("SELECT count(*) FROM embedding_spaces WHERE id = $1", id_)
        or await world.sql("SELECT to_regclass($1)::text", f"{INDEX}{id_}")
    )


class TestIndexing:
    async def test_when_a_tenant_has_half_of_what_is_searched_without(self, url: str, tmp_path: Path) -> None:
        async with opened(url, tmp_path, exact_search_limit=2000) as world:
            await add_passages(world.runtime, 999)
            await _statistics_refreshed(world)
            assert not (await world.state(world.runtime.spaces.current.id)).indexed
            await add_passages(world.runtime, 1)
            await _statistics_refreshed(world)
            assert (await world.state(world.runtime.spaces.current.id)).indexed

    async def test_not_for_many_small_tenants(self, url: str, tmp_path: Path) -> None:
        async with opened(url, tmp_path, exact_search_limit=4000) as world:
            await add_passages(world.runtime, 1500)
            other = new_id()
            await make_tenant(world.runtime, other, "other")
            for table in ("documents", "chunks", "chunk_embeddings"):
                await world.sql(f"UPDATE {table} SET tenant_id = $1", other)
            await add_passages(world.runtime, 1500)
            await _statistics_refreshed(world)
        async with opened(url, tmp_path, exact_search_limit=4000) as world:
            assert not (await world.state(world.runtime.spaces.current.id)).indexed
        async with opened(url, tmp_path, exact_search_limit=3000) as world:  # an operator has lowered it
            await world.work()
            assert (await world.state(world.runtime.spaces.current.id)).indexed

    @pytest.mark.parametrize("limit", [0, 1, 1999])
    async def test_from_the_start_where_little_is_searched_without(self, url: str, tmp_path: Path, limit: int) -> None:
        async with opened(url, tmp_path, exact_search_limit=limit) as world:
            assert (await world.state(world.runtime.spaces.current.id)).indexed

    async def test_there_and_back_without_one(self, world: World) -> None:
        first = world.runtime.spaces.current.id
        await add_passages(world.runtime, 20)
        await world.runtime.spaces.switch(await world.make(64))
        assert not (await world.state(first)).indexed
        assert (await world.runtime.spaces.rollback()).id == first


async def _statistics_refreshed(world: World) -> None:
    async with world.runtime.uow(CALLER) as uow:
        await uow.jobs.enqueue(REFRESH, {}, dedupe_key=str(new_id()))
    await world.work()


class TestOpening:
    async def test_the_setting_is_the_model_of_a_new_installation(self, url: str, tmp_path: Path) -> None:
        async with opened(url, tmp_path, sentence_transformer_model=f"sentence-transformers/{SHIPPED}@64") as world:
            assert world.runtime.spaces.current.model == f"{SHIPPED}@64"
            assert world.runtime.spaces.degraded() == []

    @pytest.mark.parametrize("setting", [f"{SHIPPED}@64", NOWHERE])
    async def test_on_an_existing_one_the_database_decides(self, url: str, tmp_path: Path, setting: str) -> None:
        async with opened(url, tmp_path) as world:
            first = world.runtime.spaces.current.id
        async with opened(url, tmp_path, sentence_transformer_model=setting) as world:
            assert (world.runtime.spaces.current.id, world.runtime.spaces.current.model) == (first, SHIPPED)
            assert world.runtime.spaces.degraded() == ["embedding_space"]
            assert (await world.runtime.health.report()).degraded == ["embedding_space"]
            assert (await world.runtime.health.report()).ready
            await world.runtime.spaces.refresh()
            assert world.runtime.spaces.degraded() == ["embedding_space"]
            assert await world.sql("SELECT count(*) FROM embedding_spaces") == 1

    async def test_two_with_different_settings_on_a_new_database_agree(self, url: str, tmp_path: Path) -> None:
        async def open_one(width: int) -> tuple[int, int]:
            folder = tmp_path / str(width)
            async with opened(url, folder, sentence_transformer_model=f"{SHIPPED}@{width}") as world:
                return world.runtime.spaces.current.id, await world.sql("SELECT count(*) FROM embedding_spaces")

        found = await asyncio.gather(*(open_one(width) for width in (64, 96, 128)))
        assert len(set(found)) == 1
        assert found[0][1] == 1

    async def test_one_that_cannot_follow_stays_until_it_can(self, world: World) -> None:
        """Another process switched to a model that this one cannot load."""
        await add_passages(world.runtime, 10)
        service, first = world.runtime.spaces, world.runtime.spaces.current.id
        id_ = await world.make(64)
        await world.sql("UPDATE embedding_spaces SET model = $1 WHERE id = $2", NOWHERE, id_)
        await service.switch(id_)
        await service.refresh()
        assert (service.current.id, service.degraded()) == (first, ["embedding_space"])
        assert len(await world.found("annual leave")) == 5
        await service.rollback()
        await service.refresh()
        assert (service.current.id, service.degraded()) == (first, [])
        await service.switch(id_)
        await service.refresh()
        await world.sql("UPDATE embedding_spaces SET model = $1 WHERE id = $2", f"{SHIPPED}@64", id_)
        await service.refresh()
        assert (service.current.id, service.degraded()) == (id_, ["embedding_space"])  # the setting names the other

    async def test_one_that_starts_and_cannot_load_it_takes_one_that_is_kept_and_complete(
        self, world: World, tmp_path: Path
    ) -> None:
        await add_passages(world.runtime, 10)
        first, second, third = world.runtime.spaces.current.id, await world.make(64), await world.make(128)
        for id_ in (second, third):
            await world.runtime.spaces.switch(id_)
        await world.sql("UPDATE embedding_spaces SET model = $1 WHERE id = $2", NOWHERE, third)
        for expected in (second, first):
            async with opened(world.url, tmp_path) as another:
                assert another.runtime.spaces.current.id == expected
                assert another.runtime.spaces.degraded() == ["embedding_space"]
                await another.runtime.spaces.refresh()
                assert another.runtime.spaces.current.id == expected
                assert len(await another.found("annual leave")) == 5
            await world.sql("DELETE FROM chunk_embeddings WHERE space_id = $1", expected)
        with pytest.raises(Unavailable) as error:
            async with opened(world.url, tmp_path):
                pass
        assert error.value.code == "embedder_not_loaded"

    async def test_one_that_can_neither_follow_nor_stay_says_so(self, world: World) -> None:
        await add_passages(world.runtime, 10)
        service, first = world.runtime.spaces, world.runtime.spaces.current.id
        id_ = await world.make(64)
        await world.sql("UPDATE embedding_spaces SET model = $1 WHERE id = $2", NOWHERE, id_)
        await service.switch(id_)
        await service.drop(first)
        await service.refresh()
        for question in ("annual leave", "वार्षिक अवकाश"):
            with pytest.raises(Unavailable) as error:
                await world.found(question)
            assert error.value.code == "space_dropped"
        await world.sql("UPDATE embedding_spaces SET model = $1 WHERE id = $2", f"{SHIPPED}@64", id_)
        await service.refresh()
        assert len(await world.found("annual leave")) == 5

    async def test_a_model_that_has_changed_its_width_is_not_used(self, world: World) -> None:
        id_ = await world.make(64)
        await world.sql("UPDATE embedding_spaces SET dimensions = 65 WHERE id = $1", id_)
        assert await refused(world.space(id_)) == "embedder_changed"

    async def test_more_dimensions_than_can_be_indexed(self, world: World) -> None:
        class Wide:
            name, dimensions, languages = "wide", 4096, frozenset({"*"})

        service = SpaceService(world.runtime.uow, Embedders(lambda _: Wide()), None, exact_limit=0)  # type: ignore[arg-type,return-value]
        with pytest.raises(Invalid) as error:
            await service.create("wide")
        assert error.value.code == "invalid_dimensions"

    @pytest.mark.parametrize("name", ["7", "99999", "no-such-model", "-1", ""])
    async def test_unknown_names(self, world: World, name: str) -> None:
        with pytest.raises(NotFound):
            await world.runtime.spaces.named(name)


class TestComparing:
    async def test_measures(self, world: World) -> None:
        """Told anew from what search finds, one question at a time."""
        offices = await add_passages(world.runtime, 60)
        parcels = await world.upload("Parcels are insured up to a thousand rupees. " * 30)
        both = (await world.space(world.runtime.spaces.current.id), await world.space(await world.make(16)))
        name = (await world.runtime.documents.get(CALLER, parcels)).filename
        questions = [
            *(Question(f"Who approves leave in office {n}?", "offices.txt") for n in range(0, 60, 3)),
            *(Question(f"Is a parcel to office {n} insured?", name) for n in range(5)),
            *(Question(f"Is a parcel insured, and who approves leave in office {n}?", "offices.txt") for n in range(9)),
            *(Question(f"Who approves leave in office {n}?", name) for n in range(2)),
            Question("Who approves leave in office 5?", "offices"),
            Question("How are you?"),
        ]
        found = await ComparisonService(world.runtime.uow, world.runtime.retrieval).run(
            CALLER, both, questions, top_k=4
        )
        ranks: list[list[int]] = [[], []]
        same = 0.0
        for question in questions:
            passages = []
            for side, space in enumerate(both):
                result = await world.runtime.retrieval.retrieve(CALLER, question.query, top_k=4, space=space)
                passages.append({source.chunk_id for source in result.sources})
                wanted = parcels if question.document == name else offices
                places = [place for place, source in enumerate(result.sources, 1) if source.document_id == wanted]
                if question.document:
                    ranks[side].append(places[0] if places else 0)
            same += len(passages[0] & passages[1]) / 4 / len(questions)
        assert (found.questions, found.judged) == (len(questions), len(questions) - 1)
        assert found.overlap == pytest.approx(same)
        assert found.overlap < 1
        for measures, judged in zip(found.measures, ranks, strict=True):
            count = len(judged)
            assert measures.hit_at_1 == pytest.approx(judged.count(1) / count)
            assert measures.hit_at_k == pytest.approx(sum(rank > 0 for rank in judged) / count)
            assert measures.mrr == pytest.approx(sum(1 / rank for rank in judged if rank) / count)
        assert {0, 1} < {rank for judged in ranks for rank in judged}

    async def test_without_judgements_there_are_no_shares(self, world: World) -> None:
        """An empty index has the same nothing in both."""
        space = await world.space(world.runtime.spaces.current.id)
        found = await ComparisonService(world.runtime.uow, world.runtime.retrieval).run(
            CALLER, (space, space), [Question("How are you?")], top_k=4
        )
        assert (found.judged, found.overlap) == (0, 1)
        assert {(m.hit_at_1, m.hit_at_k, m.mrr) for m in found.measures} == {(None, None, None)}
