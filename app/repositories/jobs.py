"""The queue: rows in PostgreSQL, taken with SKIP LOCKED, leased by the database's clock, fenced by a token.

An attempt is counted when a job is taken, before the work: a job that kills its worker runs out of attempts too.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.core.ids import new_id
from app.models import Job
from app.repositories.base import Repository

CHANNEL = "ragchat_jobs"
LEASE_SECONDS = 15
MAX_ATTEMPTS = 5
BACKOFF_BASE_SECONDS = 1.0
BACKOFF_LIMIT_SECONDS = 300.0

CLAIM = text("""
UPDATE jobs SET state = 'running', attempts = attempts + 1, locked_by = :worker, lease_token = :token,
       lease_until = now() + make_interval(secs => :lease)
WHERE id = (
    SELECT id FROM jobs
    WHERE (state = 'queued' AND run_at <= now())
       OR (state = 'running' AND lease_until < now() AND attempts < max_attempts)
    ORDER BY priority, run_at
    FOR UPDATE SKIP LOCKED
    LIMIT 1
)
RETURNING id, tenant_id, kind, payload, attempts, max_attempts, lease_token
""")

NEXT_DUE = text("""
SELECT extract(epoch FROM min(due) - now())::float8 FROM (
    SELECT min(run_at) AS due FROM jobs WHERE state = 'queued'
    UNION ALL
    SELECT min(lease_until) FROM jobs WHERE state = 'running'
) AS times
""")

EXHAUSTED = text("""
SELECT id, tenant_id, kind, payload, attempts, max_attempts FROM jobs
WHERE state = 'running' AND lease_until < now() AND attempts >= max_attempts
""")

BURY = text("""
UPDATE jobs SET state = 'dead', error_code = :error, finished_at = now(), lease_token = NULL, lease_until = NULL
WHERE id = :id AND state = 'running' AND lease_until < now() AND attempts >= max_attempts
""")


class JobRepository(Repository):
    async def enqueue(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        dedupe_key: str | None = None,
        priority: int = 100,
        max_attempts: int = MAX_ATTEMPTS,
        delay_seconds: float = 0.0,
    ) -> UUID | None:
        """In the caller's transaction. None when a live job has the same dedupe key."""
        statement = (
            insert(Job)
            .values(
                id=new_id(),
                tenant_id=self._caller.tenant_id,
                kind=kind,
                payload=payload,
                dedupe_key=dedupe_key,
                priority=priority,
                max_attempts=max_attempts,
                run_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, delay_seconds),
            )
            .on_conflict_do_nothing()
            .returning(Job.id)
        )
        job_id = (await self._session.execute(statement)).scalar_one_or_none()
        await self._session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
        return job_id

    async def claim(self, worker: str) -> dict[str, Any] | None:
        """The next job that is due, of any tenant; its lease is ours for LEASE_SECONDS."""
        found = await self._session.execute(CLAIM, {"worker": worker, "token": uuid4(), "lease": LEASE_SECONDS})
        row = found.mappings().one_or_none()
        return dict(row) if row else None

    async def seconds_to_next(self) -> float | None:
        return (await self._session.execute(NEXT_DUE)).scalar_one_or_none()

    async def exhausted(self) -> Sequence[dict[str, Any]]:
        """Jobs whose worker died at the last attempt."""
        return [dict(row) for row in (await self._session.execute(EXHAUSTED)).mappings()]

    async def bury(self, job_id: UUID, *, error_code: str) -> None:
        await self._session.execute(BURY, {"id": job_id, "error": error_code})

    async def renew(self, job_id: UUID, token: UUID) -> bool:
        statement = text("""
            UPDATE jobs SET lease_until = now() + make_interval(secs => :lease)
            WHERE id = :id AND lease_token = :token AND state = 'running' RETURNING id
        """)
        found = await self._session.execute(statement, {"id": job_id, "token": token, "lease": LEASE_SECONDS})
        return found.scalar_one_or_none() is not None

    async def holds_lease(self, job_id: UUID, token: UUID) -> bool:
        """Locks the job's row, so that nobody takes it before this transaction's writes are in. A shared lock: the
        holder's own transactions may overlap."""
        statement = select(Job.id).where(Job.id == job_id, Job.lease_token == token, Job.state == "running")
        return (await self._session.execute(statement.with_for_update(read=True))).scalar_one_or_none() is not None

    async def complete(self, job_id: UUID, token: UUID, *, error_code: str | None = None, dead: bool = False) -> bool:
        statement = text("""
            UPDATE jobs SET state = :state, error_code = :error, finished_at = now(), lease_until = NULL
            WHERE id = :id AND lease_token = :token AND state = 'running' RETURNING id
        """)
        values = {"id": job_id, "token": token, "error": error_code, "state": "dead" if dead else "done"}
        return (await self._session.execute(statement, values)).scalar_one_or_none() is not None

    async def retry_later(self, job_id: UUID, token: UUID, *, error_code: str) -> None:
        """Exponential backoff with full jitter, from the attempts counted so far."""
        statement = text("""
            UPDATE jobs SET state = 'queued', error_code = :error, lease_token = NULL, lease_until = NULL,
                   run_at = now() + make_interval(secs => random() * least(:limit, :base * 2 ^ attempts))
            WHERE id = :id AND lease_token = :token AND state = 'running'
        """)
        values = {"id": job_id, "token": token, "error": error_code}
        values |= {"base": BACKOFF_BASE_SECONDS, "limit": BACKOFF_LIMIT_SECONDS}
        await self._session.execute(statement, values)

    async def now(self) -> datetime:
        return (await self._session.execute(select(func.now()))).scalar_one()

    async def release(self, job_id: UUID, token: UUID) -> None:
        """A worker that stops gives its job back at once, and the attempt with it."""
        await self._session.execute(
            text("""
                UPDATE jobs SET state = 'queued', attempts = attempts - 1, lease_token = NULL, lease_until = NULL
                WHERE id = :id AND lease_token = :token AND state = 'running'
            """),
            {"id": job_id, "token": token},
        )
        await self._session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
