"""A worker that is stopped at a bad moment, on a database of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, event
from sqlalchemy.orm import Session

from app.core.caller import DEFAULT_TENANT, tenant_caller
from app.runtime import Runtime, open_runtime
from app.worker.runner import Worker
from app.worker.tasks import TASKS, Again, Job, Task, leave
from tests.conftest import make_database, make_settings
from tests.integration.processes import rows

KIND = "test.nothing"
JOB = "SELECT state, attempts FROM jobs WHERE kind = $1"


@pytest.fixture
async def url(postgres: URL) -> str:
    return await make_database(postgres, "test_worker")


@pytest.fixture
async def runtime(url: str, tmp_path: Path) -> AsyncIterator[Runtime]:
    async with open_runtime(make_settings(database_url=url, data_dir=tmp_path)) as runtime:
        async with runtime.uow(tenant_caller(DEFAULT_TENANT)) as uow:
            await uow.jobs.enqueue(KIND, {})
        yield runtime


def when_executed(runtime: Runtime, part: str, call: Callable[[], object]) -> None:
    """After each statement that has this in it."""

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if part in statement:
            call()

    event.listen(runtime.engine.sync_engine, "after_cursor_execute", executed)


async def test_between_the_commit_of_a_claim_and_the_answer_to_it(runtime: Runtime, url: str) -> None:
    claimed = asyncio.Event()
    when_executed(runtime, "SKIP LOCKED", claimed.set)
    taking = asyncio.create_task(Worker(runtime, concurrency=1)._claim(long=False))

    def stop(_session: Session) -> None:
        if claimed.is_set():
            claimed.clear()
            taking.cancel()

    event.listen(Session, "after_commit", stop)
    try:
        with pytest.raises(asyncio.CancelledError):
            await taking
    finally:
        event.remove(Session, "after_commit", stop)
    assert [*map(tuple, await rows(url, JOB, KIND))] == [("queued", 0)]


async def test_a_claim_that_fails_keeps_no_stopped_slot_alive(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def take(_worker: Worker, *, long: bool) -> Job | float:
        begun.set()
        await asyncio.sleep(0.1)
        raise ZeroDivisionError

    monkeypatch.setattr(Worker, "_take", take)
    slot = asyncio.create_task(Worker(runtime, concurrency=1)._loop(long=False))
    await begun.wait()
    slot.cancel()
    async with asyncio.timeout(3):
        with pytest.raises(asyncio.CancelledError):
            await slot


async def test_while_an_outcome_is_being_stored(runtime: Runtime, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that wants to run again is given back, whatever came between."""

    async def again(_runtime: Runtime, _job: Job) -> None:
        raise Again

    monkeypatch.setitem(TASKS, KIND, Task(again, leave))
    worker = Worker(runtime, concurrency=1)
    job = await worker._claim(long=False)
    assert isinstance(job, Job)
    working = asyncio.create_task(worker._work(job))
    when_executed(runtime, "attempts - 1", lambda: working.cancelling() or working.cancel())
    with pytest.raises(asyncio.CancelledError):
        await working
    assert [*map(tuple, await rows(url, JOB, KIND))] == [("queued", 0)]
