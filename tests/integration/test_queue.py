"""The queue itself, on a database of its own where no worker runs: what a worker may rely on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.caller import SYSTEM
from app.db import migrate
from app.db.engine import create_engine
from app.db.notify import listening
from app.db.uow import UowFactory, uow_factory
from app.repositories.jobs import CHANNEL
from tests.conftest import Tenant, make_database

KIND = "test.nothing"


@pytest.fixture(scope="module")
async def engine(postgres: URL) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(await make_database(postgres, "test_queue"), pool_size=10)
    await migrate.upgrade(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
async def uow(engine: AsyncEngine) -> UowFactory:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM jobs"))
    return uow_factory(engine)


async def enqueue(uow: UowFactory, name: str = "", **options: Any) -> UUID | None:
    async with uow(SYSTEM) as work:
        return await work.jobs.enqueue(KIND, {"name": name}, **options)


async def claim(uow: UowFactory, worker: str = "first") -> dict[str, Any] | None:
    async with uow(SYSTEM) as work:
        return await work.jobs.claim(worker, (), long=False)


async def claimed(uow: UowFactory, worker: str = "first") -> dict[str, Any]:
    job = await claim(uow, worker)
    assert job is not None
    return job


async def state(engine: AsyncEngine, job_id: UUID) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(text("SELECT * FROM jobs WHERE id = :id"), {"id": job_id})).one()


async def lease_runs_out(engine: AsyncEngine, job_id: UUID) -> None:
    async with engine.begin() as connection:
        past = text("UPDATE jobs SET lease_until = now() - interval '1 second' WHERE id = :id")
        await connection.execute(past, {"id": job_id})


async def test_urgent_ones_first_then_those_that_wait_longest(uow: UowFactory) -> None:
    for name, priority in (("usual", 100), ("background", 200), ("urgent", 10), ("usual too", 100)):
        await enqueue(uow, name, priority=priority)
    order = [(await claimed(uow))["payload"]["name"] for _ in range(4)]
    assert order == ["urgent", "usual", "usual too", "background"]
    assert await claim(uow) is None


async def test_a_job_is_not_taken_before_it_is_due(uow: UowFactory) -> None:
    await enqueue(uow, delay_seconds=3600)
    assert await claim(uow) is None
    async with uow(SYSTEM) as work:
        due = await work.jobs.seconds_to_next((), long=False)
    assert due is not None
    assert 3500 < due <= 3600


async def test_short_jobs_do_not_wait_behind_long_ones_nor_the_reverse(uow: UowFactory) -> None:
    for name, kind in (("long", "test.long"), ("short", KIND), ("long too", "test.long")):
        async with uow(SYSTEM) as work:
            await work.jobs.enqueue(kind, {"name": name})
    taken = {}
    for long in (False, True):
        names: list[str] = []
        while True:
            async with uow(SYSTEM) as work:
                job = await work.jobs.claim("worker", ["test.long"], long=long)
            if job is None:
                break
            names.append(job["payload"]["name"])
        taken[long] = names
    assert taken == {False: ["short"], True: ["long", "long too"]}


async def test_one_live_job_for_each_dedupe_key(uow: UowFactory) -> None:
    first = await enqueue(uow, dedupe_key="a")
    assert first is not None
    assert await enqueue(uow, dedupe_key="a") is None
    assert await enqueue(uow, dedupe_key="b") is not None
    job = await claimed(uow)
    assert await enqueue(uow, dedupe_key="a") is None  # a running one counts
    async with uow(SYSTEM) as work:
        assert await work.jobs.complete(job["id"], job["lease_token"])
    assert await enqueue(uow, dedupe_key="a") is not None


async def test_a_hundred_at_once_with_one_key_are_one_job(uow: UowFactory) -> None:
    made = await asyncio.gather(*(enqueue(uow, dedupe_key="one") for _ in range(100)))
    assert sum(id_ is not None for id_ in made) == 1


async def test_many_workers_take_each_job_once(uow: UowFactory) -> None:
    for number in range(150):
        await enqueue(uow, str(number))

    async def work(name: str) -> list[str]:
        names = []
        while (job := await claim(uow, name)) is not None:
            names.append(job["payload"]["name"])
        return names

    taken = Counter(name for names in await asyncio.gather(*(work(f"w{n}") for n in range(8))) for name in names)
    assert taken == Counter(str(number) for number in range(150))


async def test_a_job_that_is_being_taken_keeps_nobody_waiting(uow: UowFactory) -> None:
    await enqueue(uow, "first")
    await enqueue(uow, "second")
    async with uow(SYSTEM) as one, asyncio.timeout(10):
        mine = await one.jobs.claim("one", (), long=False)  # not committed
        other = await claim(uow, "two")
        assert await claim(uow, "three") is None
    assert mine is not None
    assert other is not None
    assert [mine["payload"]["name"], other["payload"]["name"]] == ["first", "second"]


async def test_a_zombie_can_do_nothing_to_a_job_that_another_has_taken_over(
    uow: UowFactory, engine: AsyncEngine
) -> None:
    await enqueue(uow)
    zombie = await claimed(uow, "zombie")
    assert await claim(uow, "heir") is None
    await lease_runs_out(engine, zombie["id"])
    heir = await claimed(uow, "heir")
    assert (heir["id"], heir["attempts"]) == (zombie["id"], 2)
    before = await state(engine, heir["id"])
    async with uow(SYSTEM) as work:
        held = zombie["id"], zombie["lease_token"]
        assert not await work.jobs.holds_lease(*held)
        assert not await work.jobs.renew(*held)
        assert not await work.jobs.complete(*held)
        assert not await work.jobs.complete(*held, error_code="internal", dead=True)
        await work.jobs.retry_later(*held, error_code="internal")
        await work.jobs.release(*held)
    assert await state(engine, heir["id"]) == before
    async with uow(SYSTEM) as work:
        assert await work.jobs.complete(heir["id"], heir["lease_token"])


async def test_whoever_holds_the_lease_keeps_it_until_the_transaction_ends(
    uow: UowFactory, engine: AsyncEngine
) -> None:
    """Else a worker whose lease runs out in the middle of a write could be overtaken by its heir."""
    await enqueue(uow)
    job = await claimed(uow)
    async with uow(SYSTEM) as work:
        assert await work.jobs.holds_lease(job["id"], job["lease_token"])
        lapse = asyncio.create_task(lease_runs_out(engine, job["id"]))
        async with uow(SYSTEM) as second:  # the holder's own transactions do not wait for each other
            assert await second.jobs.holds_lease(job["id"], job["lease_token"])
        await asyncio.sleep(0.2)
        assert not lapse.done()
    await lapse


async def test_a_renewed_lease_is_not_taken_over(uow: UowFactory, engine: AsyncEngine) -> None:
    await enqueue(uow)
    job = await claimed(uow)
    await lease_runs_out(engine, job["id"])
    async with uow(SYSTEM) as work:
        assert await work.jobs.renew(job["id"], job["lease_token"])
    assert await claim(uow, "second") is None


async def test_attempts_are_counted_before_the_work_and_end(uow: UowFactory, engine: AsyncEngine) -> None:
    job_id = await enqueue(uow, max_attempts=3)
    assert job_id is not None
    for attempt in (1, 2, 3):
        assert (await claimed(uow))["attempts"] == attempt
        async with uow(SYSTEM) as work:
            assert await work.jobs.exhausted() == []
        await lease_runs_out(engine, job_id)
    assert await claim(uow) is None
    async with uow(SYSTEM) as work:
        assert [row["id"] for row in await work.jobs.exhausted()] == [job_id]
        await work.jobs.bury(job_id, error_code="worker_died")
    row = await state(engine, job_id)
    assert (row.state, row.error_code, row.attempts, row.lease_token) == ("dead", "worker_died", 3, None)


async def test_a_worker_that_stops_gives_the_attempt_back(uow: UowFactory, engine: AsyncEngine) -> None:
    await enqueue(uow)
    job = await claimed(uow)
    async with uow(SYSTEM) as work:
        await work.jobs.release(job["id"], job["lease_token"])
    row = await state(engine, job["id"])
    assert (row.state, row.attempts) == ("queued", 0)
    assert (await claimed(uow))["id"] == job["id"]


async def test_the_pause_grows_with_the_attempts_and_has_a_limit(uow: UowFactory, engine: AsyncEngine) -> None:
    longest = []
    for attempts in (1, 3, 20):
        pauses = []
        for _ in range(30):
            job_id = await enqueue(uow, max_attempts=99)
            job = await claimed(uow)
            async with engine.begin() as connection:
                counted = text("UPDATE jobs SET attempts = :attempts WHERE id = :id")
                await connection.execute(counted, {"attempts": attempts, "id": job_id})
            async with uow(SYSTEM) as work:
                await work.jobs.retry_later(job["id"], job["lease_token"], error_code="internal")
                row = await state(engine, job["id"])
            async with engine.connect() as connection:
                waits = text("SELECT extract(epoch FROM run_at - now())::float8, error_code FROM jobs WHERE id = :id")
                seconds, code = (await connection.execute(waits, {"id": job_id})).one()
            assert code == "internal"
            assert row.state == "running"  # seen from outside before the commit
            pauses.append(seconds)
            async with engine.begin() as connection:
                await connection.execute(text("DELETE FROM jobs"))
        longest.append(max(pauses))
        assert len({round(seconds, 3) for seconds in pauses}) > 20  # jitter
    assert longest[0] <= 2 < longest[1] <= 8 < longest[2] <= 300


async def test_ended_by_hand_means_fenced_off(uow: UowFactory, engine: AsyncEngine) -> None:
    await enqueue(uow)
    job = await claimed(uow)
    async with uow(SYSTEM) as work:
        await work.jobs.end_now(job["id"], error_code="buried")
    async with uow(SYSTEM) as work:
        assert not await work.jobs.holds_lease(job["id"], job["lease_token"])
        assert not await work.jobs.complete(job["id"], job["lease_token"])
    row = await state(engine, job["id"])
    assert (row.state, row.error_code) == ("dead", "buried")
    assert await claim(uow) is None


async def test_run_again_by_hand_but_not_beside_a_twin(uow: UowFactory, engine: AsyncEngine) -> None:
    job_id = await enqueue(uow, dedupe_key="a")
    assert job_id is not None
    job = await claimed(uow)
    async with uow(SYSTEM) as work:
        await work.jobs.complete(job_id, job["lease_token"], error_code="internal", dead=True)
    twin = await enqueue(uow, dedupe_key="a")
    assert twin is not None
    async with uow(SYSTEM) as work:
        assert not await work.jobs.run_now(job_id)
        await work.jobs.end_now(twin, error_code="buried")
        assert await work.jobs.run_now(job_id)
    again = await claimed(uow)
    assert (again["id"], again["attempts"]) == (job_id, 1)
    assert (await state(engine, job_id)).error_code is None


async def test_what_is_committed_is_told_and_nothing_else(uow: UowFactory, engine: AsyncEngine) -> None:
    told: asyncio.Queue[None] = asyncio.Queue()
    async with listening(engine, CHANNEL, lambda: told.put_nowait(None)), asyncio.timeout(20):
        await told.get()  # it listens
        await enqueue(uow)
        await told.get()
        job = await claimed(uow)
        async with uow(SYSTEM) as work:
            await work.jobs.release(job["id"], job["lease_token"])
        await told.get()
        with pytest.raises(ZeroDivisionError):
            async with uow(SYSTEM) as work:
                await work.jobs.enqueue(KIND, {})
                raise ZeroDivisionError
        await enqueue(uow)  # notifications come in the order of the commits
        await told.get()
        assert told.empty()


FINISHED = """
UPDATE jobs SET state = :state, finished_at = now() - make_interval(days => :days), error_code = 'internal'
WHERE id = :id
"""


async def test_workers_forget_what_was_done_long_ago(tenant: Tenant) -> None:
    """What a worker does every hour; dead jobs wait for somebody who looks at them."""
    kept: list[UUID | None] = []
    gone: list[UUID | None] = []
    for state_, days, is_kept in (("done", 31, False), ("done", 29, True), ("dead", 400, True)):
        async with tenant.runtime.uow(tenant.caller) as work:
            job_id = await work.jobs.enqueue(KIND, {}, delay_seconds=3600)
        async with tenant.runtime.owner.begin() as connection:
            await connection.execute(text(FINISHED), {"id": job_id, "state": state_, "days": days})
        (kept if is_kept else gone).append(job_id)
    select = text("SELECT id FROM jobs WHERE id = ANY(:ids)")
    async with asyncio.timeout(30):
        while True:
            async with tenant.runtime.owner.connect() as connection:
                left = {row.id for row in await connection.execute(select, {"ids": kept + gone})}
            if left == {*kept}:
                break
            await tenant.runtime.personal_data.retention.purge()
