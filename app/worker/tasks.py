"""What each kind of job does. A new kind is one function and one line in TASKS."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.caller import tenant_caller
from app.core.errors import RagchatError
from app.db.uow import UnitOfWork
from app.readers.errors import UnreadableDocument
from app.runtime import Runtime
from app.services.documents import DELETE_FILE, INGEST, PRUNE
from app.services.erasing import ERASE
from app.services.forgetting import FORGET, forget_document
from app.services.indexing import Work
from app.services.ingestion import mark_failed
from app.services.leases import Lease
from app.services.spaces import DROP, FILL
from app.services.statistics import REFRESH
from app.services.webhooks import DELIVER

WORKER_DIED = "worker_died"
RETRIED = frozenset({"parser_crashed", "parser_timeout"})
"""May be the machine's fault: worth a second attempt, not more."""


@dataclass(frozen=True, slots=True)
class Job:
    id: UUID
    tenant_id: UUID
    kind: str
    payload: dict[str, Any]
    attempts: int
    max_attempts: int
    lease_token: UUID

    @property
    def last_attempt(self) -> bool:
        return self.attempts >= self.max_attempts


class Rejected(RagchatError):
    """The work has ended for good, with a reason that is on the row; no retry will change it."""


class Again(RagchatError):
    """A part of the work is done; the job goes back to the queue for the rest, behind what is more urgent."""


@dataclass(frozen=True, slots=True)
class Task:
    run: Callable[[Runtime, Job], Awaitable[None]]
    give_up: Callable[[UnitOfWork, Job, str], Awaitable[None]]
    """Called when no attempt is left, with the error's code, in the transaction that ends the job."""
    patience: float = 1
    """Multiplies the pauses between attempts."""


async def ingest_document(runtime: Runtime, job: Job) -> None:
    work = Work(
        caller=tenant_caller(job.tenant_id),
        document_id=UUID(job.payload["document_id"]),
        version=job.payload["version"],
        lease=Lease(job.id, job.lease_token),
    )
    try:
        await runtime.ingestion.run(work)
    except UnreadableDocument as exc:
        if exc.code in RETRIED and job.attempts < 2:
            raise
        await runtime.ingestion.fail(work, exc)
        raise Rejected(exc.code) from exc


async def give_up_ingest(uow: UnitOfWork, job: Job, code: str) -> None:
    detail = "Indexing was tried several times and did not finish; upload the document again to retry."
    await mark_failed(uow, UUID(job.payload["document_id"]), job.payload["version"], code=code, detail=detail)


async def delete_file(runtime: Runtime, job: Job) -> None:
    await runtime.storage.delete(job.payload["key"])


async def prune_document(runtime: Runtime, job: Job) -> None:
    await runtime.documents.prune(tenant_caller(job.tenant_id), UUID(job.payload["document_id"]))


async def forget_rest(runtime: Runtime, job: Job) -> None:
    """Of a document that more answers cited than the deleting request could see to."""
    async with runtime.uow(tenant_caller(job.tenant_id)) as uow:
        more = await forget_document(uow, UUID(job.payload["document_id"]))
    if more:
        raise Again


async def fill_space(runtime: Runtime, job: Job) -> None:
    if not await runtime.spaces.fill(job.payload["space_id"], Lease(job.id, job.lease_token)):
        raise Again


async def drop_space(runtime: Runtime, job: Job) -> None:
    await runtime.spaces.delete(job.payload["space_id"])


async def refresh_statistics(runtime: Runtime, job: Job) -> None:
    caller = tenant_caller(job.tenant_id)
    await runtime.statistics.refresh(caller)
    await runtime.spaces.index_later(caller)


async def deliver_webhook(runtime: Runtime, job: Job) -> None:
    await runtime.webhooks.deliver(tenant_caller(job.tenant_id), job.payload)


async def erase_user(runtime: Runtime, job: Job) -> None:
    caller, lease = tenant_caller(job.tenant_id), Lease(job.id, job.lease_token)
    await runtime.personal_data.eraser.run(caller, UUID(job.payload["erasure_id"]), lease)


async def leave(_uow: UnitOfWork, _job: Job, _code: str) -> None:
    """The dead job itself says what is left to do."""


TASKS = {
    INGEST: Task(ingest_document, give_up_ingest),
    DELETE_FILE: Task(delete_file, leave),
    PRUNE: Task(prune_document, leave),
    FORGET: Task(forget_rest, leave),
    FILL: Task(fill_space, leave),
    DROP: Task(drop_space, leave),
    REFRESH: Task(refresh_statistics, leave),
    DELIVER: Task(deliver_webhook, leave, patience=60),
    ERASE: Task(erase_user, leave),
}

LONG = frozenset({INGEST, FILL})
"""What takes the processor, and WORKER_CONCURRENCY bounds; the others mostly wait."""


async def _unknown(_runtime: Runtime, _job: Job) -> None:
    raise RagchatError("unknown_job", "This program does not know this kind of job; a newer one may.")


def task_of(job: Job) -> Task:
    return TASKS.get(job.kind, Task(_unknown, leave))
