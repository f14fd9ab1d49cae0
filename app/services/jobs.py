"""Jobs by hand: looked at, run again, ended. Whoever does this has the machine: jobs of every tenant."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from app.core.caller import SYSTEM, tenant_caller
from app.core.errors import RagchatError
from app.db.uow import UnitOfWork, UowFactory
from app.models import Document, Job
from app.schemas.jobs import JobOut, State
from app.services.documents import INGEST
from app.services.ingestion import mark_failed

PART_OF_ID = re.compile(r"[0-9a-f-]{4,36}", re.ASCII)
DEAD_AT_ONCE = 500
FIRST_ID = UUID(int=0)
Result = Literal["retried", "buried", "unknown", "ambiguous", "queued", "running", "done", "dead", "twin", "superseded"]
"""`retried` and `buried` say that it was done. A state: nothing to do in it. `twin`: a live job does the same.
`superseded`: what it is about is gone, replaced, or ready."""


class Buried(RagchatError):
    default_code = "buried"
    default_detail = "Indexing was ended by hand; upload the document again or reindex it to retry."


@dataclass(frozen=True, slots=True)
class Outcome:
    """`job` is the id, or what was given when it names no single job."""

    job: str
    result: Result


@dataclass(frozen=True, slots=True)
class JobList:
    """`total` is how many there are beyond the limit, too; `now` is the database's clock."""

    items: list[JobOut]
    total: int
    now: datetime


class JobService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def list_newest(self, *, state: State | None, kind: str | None, limit: int) -> JobList:
        """Newest first; without a state everything that is not done."""
        async with self._uow(SYSTEM) as uow:
            rows, total = await uow.jobs.list_newest(state=state, kind=kind, limit=limit)
            return JobList([JobOut.model_validate(row) for row in rows], total, await uow.jobs.now())

    async def retry(self, given: Sequence[str]) -> AsyncIterator[Outcome]:
        """Dead jobs, and those that wait for their next attempt, run now with all their attempts."""
        async for part, found in self._found(given):
            yield await self._retry(*found) if isinstance(found, tuple) else Outcome(part, found)

    async def retry_dead(self) -> AsyncIterator[Outcome]:
        after = FIRST_ID
        while True:
            async with self._uow(SYSTEM) as uow:
                rows = await uow.jobs.dead(after=after, limit=DEAD_AT_ONCE)
            for job_id, tenant_id in rows:
                after = job_id
                yield await self._retry(job_id, tenant_id)
            if not rows:
                return

    async def bury(self, given: Sequence[str]) -> AsyncIterator[Outcome]:
        """Queued and running jobs are dead now, and their worker may write no more."""
        async for part, found in self._found(given):
            yield await self._bury(*found) if isinstance(found, tuple) else Outcome(part, found)

    async def _found(
        self, given: Sequence[str]
    ) -> AsyncIterator[tuple[str, tuple[UUID, UUID] | Literal["unknown", "ambiguous"]]]:
        """Each with the (id, tenant) that it names."""
        for part in given:
            rows = []
            if PART_OF_ID.fullmatch(part.lower()):
                async with self._uow(SYSTEM) as uow:
                    rows = await uow.jobs.named(part.lower(), limit=2)
            if len(rows) == 1:
                yield part, rows[0]
            else:
                yield part, "ambiguous" if rows else "unknown"

    async def _retry(self, job_id: UUID, tenant_id: UUID) -> Outcome:
        async with self._uow(tenant_caller(tenant_id)) as uow:
            job = await uow.jobs.get(job_id)
            return Outcome(str(job_id), await _run_again(uow, job) if job is not None else "unknown")

    async def _bury(self, job_id: UUID, tenant_id: UUID) -> Outcome:
        async with self._uow(tenant_caller(tenant_id)) as uow:
            job = await uow.jobs.get(job_id)
            return Outcome(str(job_id), await _end(uow, job) if job is not None else "unknown")


async def _run_again(uow: UnitOfWork, job: Job) -> Result:
    """The job's row is locked before its document's, as workers do it."""
    waits = job.state == "queued" and job.attempts > 0 and job.run_at > await uow.jobs.now()
    if job.state != "dead" and not waits:
        return _state(job)
    document = None
    if job.state == "dead" and job.kind == INGEST:
        document = await _unfinished(uow, job.payload)
        if document is None:
            return "superseded"
    if not await uow.jobs.run_now(job.id):
        return "twin"
    if document is not None:
        back = {"status": "queued", "error_code": None, "error_detail": None}
        await uow.documents.update(document.id, document.version, back)
    return "retried"


async def _end(uow: UnitOfWork, job: Job) -> Result:
    if job.state not in ("queued", "running"):
        return _state(job)
    reason = Buried()
    await uow.jobs.end_now(job.id, error_code=reason.code)
    if job.kind == INGEST:
        document = await _unfinished(uow, job.payload)
        if document is not None and document.status != "failed":
            await mark_failed(uow, document.id, document.version, code=reason.code, detail=reason.detail)
    return "buried"


async def _unfinished(uow: UnitOfWork, payload: dict[str, Any]) -> Document | None:
    """The document of the job, while its work is still to be done."""
    document = await uow.documents.get(UUID(payload["document_id"]), for_update=True)
    if document is None or document.version != payload["version"] or document.status == "ready":
        return None
    return document


def _state(job: Job) -> Result:
    state: Result = job.state  # type: ignore[assignment]
    return state
