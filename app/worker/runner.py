"""Takes jobs from the queue and runs them: inside the API process, as `ragchat worker`, or in `ragchat ingest`.

Any number may run. A job belongs to whoever holds its lease; the lease is renewed while the work goes on and runs out
by the database's clock when the process dies.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

from app.core.audit import Origin, origin
from app.core.background import in_background
from app.core.caller import SYSTEM, tenant_caller
from app.core.errors import RagchatError
from app.core.ids import new_id
from app.core.logging import get_logger
from app.db.notify import listening
from app.repositories.jobs import CHANNEL, LEASE_SECONDS
from app.runtime import Runtime
from app.services.leases import LeaseLost
from app.worker.tasks import LONG, WORKER_DIED, Again, Job, Rejected, task_of

POLL_SECONDS = 5.0
"""The net under LISTEN/NOTIFY."""
PAUSE_SECONDS = 1.0
GIVE_BACK_SECONDS = 5.0
"""A worker that is to stop waits so long for the database; then the lease of its job runs out."""
SHORT_SLOTS = 2
"""Beside those for documents: a receiver that does not answer must not keep a document waiting, nor the reverse."""
log = get_logger(__name__)


class Worker:
    def __init__(self, runtime: Runtime, *, concurrency: int) -> None:
        self._runtime = runtime
        self._concurrency = concurrency
        self._wake = asyncio.Event()
        self._name = f"{socket.gethostname()}:{os.getpid()}:{new_id().hex[-6:]}"

    async def run(self) -> None:
        """Until cancelled, which gives unfinished jobs back to the queue."""
        origin.set(Origin())  # whoever started this process, what jobs do is done by the service
        async with listening(self._runtime.engine, CHANNEL, self._wake.set), asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._loop(long=True))
            for _ in range(SHORT_SLOTS):
                group.create_task(self._loop(long=False))
            group.create_task(self._sweep())
            group.create_task(self._runtime.turn_housekeeping.run())
            group.create_task(self._runtime.personal_data.retention.run())

    async def _loop(self, *, long: bool) -> None:
        """The top of one slot's task: it outlives whatever goes wrong with a job or with the database."""
        while True:
            self._wake.clear()  # before looking: what is announced from here on is either seen or wakes us
            try:
                match await self._claim(long=long):
                    case Job() as job:
                        await self._work(job)
                    case seconds:
                        await self._sleep(seconds)
            except RagchatError as exc:
                log.warning("worker.no_database", code=exc.code)
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception:
                log.exception("worker.fault")
                await asyncio.sleep(PAUSE_SECONDS)

    async def _claim(self, *, long: bool) -> Job | float:
        """The next job, or the seconds until there may be one. Not broken off in the middle: the job may be ours
        already when the database's answer is still to come."""
        taking = asyncio.create_task(self._take(long=long))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await asyncio.wait([asyncio.create_task(self._give_back(taking))])
            raise

    async def _give_back(self, taking: asyncio.Task[Job | float]) -> None:
        """The top of a task, for a slot that is being cancelled: what goes wrong must not keep the slot alive."""
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                job = await taking
                if isinstance(job, Job):
                    await self._release(job)
        except (RagchatError, TimeoutError) as exc:
            log.warning("worker.claim_left", code=getattr(exc, "code", "timeout"))
        except Exception:
            log.exception("worker.fault")

    async def _take(self, *, long: bool) -> Job | float:
        async with self._runtime.uow(SYSTEM) as uow:
            row = await uow.jobs.claim(self._name, LONG, long=long)
            due = None if row else await uow.jobs.seconds_to_next(LONG, long=long)
        if row:
            return Job(**row)
        return POLL_SECONDS if due is None else min(POLL_SECONDS, max(0.05, due))

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _work(self, job: Job) -> None:
        log.info("job.started", job_id=str(job.id), kind=job.kind, attempt=job.attempts)
        try:
            await self._run(job)
        except asyncio.CancelledError:
            await asyncio.shield(self._release(job))  # of no effect when its outcome is stored
            raise

    async def _run(self, job: Job) -> None:
        """Whatever happens to a job, its outcome is stored."""
        try:
            async with in_background(self._renew(job)):
                await task_of(job).run(self._runtime, job)
            await self._complete(job)
        except LeaseLost:
            log.warning("job.lease_lost", job_id=str(job.id))
            await self._complete(job)  # of no effect when it is somebody else's; ends it when its document is gone
        except Again:
            await self._release(job)
        except Rejected as exc:
            log.info("job.rejected", job_id=str(job.id), code=exc.code)
            await self._complete(job, error_code=exc.code)
        except RagchatError as exc:
            log.warning("job.failed", job_id=str(job.id), kind=job.kind, attempt=job.attempts, code=exc.code)
            await self._retry(job, exc.code)
        except Exception:
            log.exception("job.failed", job_id=str(job.id), kind=job.kind, attempt=job.attempts)
            await self._retry(job, "internal")

    async def _renew(self, job: Job) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                async with self._runtime.uow(tenant_caller(job.tenant_id)) as uow:
                    await uow.jobs.renew(job.id, job.lease_token)
            except RagchatError:
                log.warning("job.lease_not_renewed", job_id=str(job.id))

    async def _complete(self, job: Job, **outcome: Any) -> None:
        with _database_may_be_down(job):
            async with self._runtime.uow(tenant_caller(job.tenant_id)) as uow:
                await uow.jobs.complete(job.id, job.lease_token, **outcome)

    async def _release(self, job: Job) -> None:
        with _database_may_be_down(job):
            async with self._runtime.uow(tenant_caller(job.tenant_id)) as uow:
                await uow.jobs.release(job.id, job.lease_token)

    async def _retry(self, job: Job, code: str) -> None:
        with _database_may_be_down(job):
            task = task_of(job)
            async with self._runtime.uow(tenant_caller(job.tenant_id)) as uow:
                if not job.last_attempt:
                    await uow.jobs.retry_later(job.id, job.lease_token, error_code=code, patience=task.patience)
                elif await uow.jobs.complete(job.id, job.lease_token, error_code=code, dead=True):
                    await task.give_up(uow, job, code)

    async def _sweep(self) -> None:
        """Ends jobs that a dead process left without attempts."""
        while True:
            try:
                await self._sweep_once()
            except RagchatError as exc:
                log.warning("worker.no_database", code=exc.code)
            except Exception:
                log.exception("worker.fault")
            await asyncio.sleep(POLL_SECONDS)

    async def _sweep_once(self) -> None:
        async with self._runtime.uow(SYSTEM) as uow:
            exhausted = await uow.jobs.exhausted()
        for row in exhausted:
            job = Job(**row, lease_token=row["id"])
            async with self._runtime.uow(tenant_caller(job.tenant_id)) as uow:
                if await uow.jobs.bury(job.id, error_code=WORKER_DIED):
                    log.error("job.dead", job_id=str(job.id), kind=job.kind)
                    await task_of(job).give_up(uow, job, WORKER_DIED)


@contextlib.contextmanager
def _database_may_be_down(job: Job) -> Iterator[None]:
    """The lease runs out then, and the job is taken again."""
    try:
        yield
    except RagchatError as exc:
        log.warning("job.outcome_not_stored", job_id=str(job.id), code=exc.code)


@contextlib.asynccontextmanager
async def running_worker(runtime: Runtime, *, concurrency: int) -> AsyncIterator[Worker]:
    """A worker in the background while the block lasts."""
    worker = Worker(runtime, concurrency=concurrency)
    async with in_background(worker.run()):
        yield worker
