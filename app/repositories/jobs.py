"""The queue: rows in PostgreSQL, taken with SKIP LOCKED, leased by the database's clock, fenced by a token.

An attempt is counted when a job is taken, before the work: a job that kills its worker runs out of attempts too.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Text, cast, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from app.core.ids import new_id
from app.models import Job
from app.repositories.base import Repository, rowcount

CHANNEL = "ragchat_jobs"
LEASE_SECONDS = 15
MAX_ATTEMPTS = 5
USUAL = 100
"""Priority; small numbers go first."""
LATER = 180
"""Of what has failed once: whoever has not been tried goes before it."""
BACKGROUND = 200
"""Of what nobody waits for."""
BACKOFF_BASE_SECONDS = 1.0
BACKOFF_LIMIT_SECONDS = 300.0

CLAIM = text("""
UPDATE jobs SET state = 'running', attempts = attempts + 1, locked_by = :worker, lease_token = :token,
       lease_until = now() + make_interval(secs => :lease)
WHERE id = (
    SELECT id FROM jobs
    WHERE ((state = 'queued' AND run_at <= now())
           OR (state = 'running' AND lease_until < now() AND attempts < max_attempts))
      AND (kind = ANY(CAST(:long_kinds AS text[]))) = :long
    ORDER BY priority, run_at
    FOR UPDATE SKIP LOCKED
    LIMIT 1
)
RETURNING id, tenant_id, kind, payload, attempts, max_attempts, lease_token
""")

NEXT_DUE = text("""
SELECT extract(epoch FROM min(due) - now())::float8 FROM (
    SELECT min(run_at) AS due FROM jobs
    WHERE state = 'queued' AND (kind = ANY(CAST(:long_kinds AS text[]))) = :long
    UNION ALL
    SELECT min(lease_until) FROM jobs
    WHERE state = 'running' AND (kind = ANY(CAST(:long_kinds AS text[]))) = :long
) AS times
""")

EXHAUSTED = text("""
SELECT id, tenant_id, kind, payload, attempts, max_attempts FROM jobs
WHERE state = 'running' AND lease_until < now() AND attempts >= max_attempts
""")

BURY = text("""
UPDATE jobs SET state = 'dead', error_code = :error, finished_at = now(), lease_token = NULL, lease_until = NULL
WHERE id = :id AND state = 'running' AND lease_until < now() AND attempts >= max_attempts
RETURNING id
""")

END_NOW = text("""
UPDATE jobs SET state = 'dead', error_code = :error, finished_at = now(), lease_token = NULL, lease_until = NULL
WHERE id = :id AND state IN ('queued', 'running')
""")

RUN_NOW = text("""
UPDATE jobs SET state = 'queued', attempts = 0, run_at = now(), error_code = NULL, finished_at = NULL,
       locked_by = NULL, lease_token = NULL, lease_until = NULL
WHERE id = :id AND state IN ('queued', 'dead')
""")

ENQUEUE_MANY = text("""
INSERT INTO jobs (id, tenant_id, kind, payload, dedupe_key, priority, max_attempts)
SELECT r.id, :tenant, :kind, CAST(r.payload AS jsonb), r.dedupe_key, :priority, :max_attempts
FROM unnest(CAST(:ids AS uuid[]), CAST(:payloads AS text[]), CAST(:dedupe_keys AS text[]))
     AS r(id, payload, dedupe_key)
ON CONFLICT DO NOTHING
""")

PURGE = text("""
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs
    WHERE (state = 'done' OR state = 'dead' AND kind = ANY(CAST(:also_dead AS text[])))
      AND (CAST(:only AS text[]) IS NULL OR kind = ANY(CAST(:only AS text[])))
      AND NOT kind = ANY(CAST(:but AS text[]))
      AND finished_at < now() - make_interval(days => :days)
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


class JobRepository(Repository):
    async def enqueue(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        dedupe_key: str | None = None,
        priority: int = USUAL,
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
        await self._notify()
        return job_id

    async def enqueue_many(self, kind: str, jobs: Sequence[tuple[dict[str, Any], str]], *, priority: int) -> None:
        """As `enqueue`, for many (payload, dedupe key) at once."""
        values = {
            "tenant": self._caller.tenant_id,
            "kind": kind,
            "ids": [new_id() for _ in jobs],
            "payloads": [json.dumps(payload) for payload, _ in jobs],
            "dedupe_keys": [key for _, key in jobs],
            "priority": priority,
            "max_attempts": MAX_ATTEMPTS,
        }
        await self._session.execute(ENQUEUE_MANY, values)
        await self._notify()

    async def _notify(self) -> None:
        await self._session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})

    async def claim(self, worker: str, long_kinds: Collection[str], *, long: bool) -> dict[str, Any] | None:
        """The next job that is due, of any tenant: one of `long_kinds`, or of any other kind. Its lease is ours for
        LEASE_SECONDS."""
        values = {"worker": worker, "token": uuid4(), "lease": LEASE_SECONDS}
        found = await self._session.execute(CLAIM, values | {"long_kinds": [*long_kinds], "long": long})
        row = found.mappings().one_or_none()
        return dict(row) if row else None

    async def seconds_to_next(self, long_kinds: Collection[str], *, long: bool) -> float | None:
        """Until `claim` may find something, as far as it is known now."""
        values = {"long_kinds": [*long_kinds], "long": long}
        return (await self._session.execute(NEXT_DUE, values)).scalar_one_or_none()

    async def exhausted(self) -> Sequence[dict[str, Any]]:
        """Jobs whose worker died at the last attempt."""
        return [dict(row) for row in (await self._session.execute(EXHAUSTED)).mappings()]

    async def bury(self, job_id: UUID, *, error_code: str) -> bool:
        """False when somebody else has, or its worker lives after all."""
        found = await self._session.execute(BURY, {"id": job_id, "error": error_code})
        return found.scalar_one_or_none() is not None

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

    async def retry_later(self, job_id: UUID, token: UUID, *, error_code: str, patience: float = 1) -> None:
        """Exponential backoff with full jitter, from the attempts counted so far."""
        statement = text("""
            UPDATE jobs SET state = 'queued', error_code = :error, lease_token = NULL, lease_until = NULL,
                   priority = CASE WHEN priority >= :usual THEN greatest(priority, :later) ELSE priority END,
                   run_at = now() + make_interval(
                       secs => random() * :patience * least(:limit, :base * 2 ^ least(attempts, 30)))
            WHERE id = :id AND lease_token = :token AND state = 'running'
        """)
        values = {
            "id": job_id,
            "token": token,
            "error": error_code,
            "patience": patience,
            "usual": USUAL,
            "later": LATER,
        }
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
        await self._notify()

    # --- by hand: jobs of every tenant, but `get` ---

    async def list_newest(self, *, state: str | None, kind: str | None, limit: int) -> tuple[list[Job], int]:
        """(rows, how many there are in all). Without a state everything that is not done."""
        statement = select(Job).where(Job.state == state if state else Job.state != "done")
        if kind is not None:
            statement = statement.where(Job.kind == kind)
        total = await self._count(statement)
        found = await self._session.execute(statement.order_by(Job.id.desc()).limit(limit))
        return [*found.scalars()], total

    async def named(self, part: str, *, limit: int) -> list[tuple[UUID, UUID]]:
        """(id, tenant) of jobs whose id begins or ends with `part`: hexadecimal digits and hyphens."""
        id_ = cast(Job.id, Text)
        statement = select(Job.id, Job.tenant_id).where(or_(id_.startswith(part), id_.endswith(part)))
        return [(row.id, row.tenant_id) for row in await self._session.execute(statement.limit(limit))]

    async def dead(self, *, after: UUID, limit: int) -> list[tuple[UUID, UUID]]:
        """(id, tenant) in the order of ids."""
        statement = select(Job.id, Job.tenant_id).where(Job.state == "dead", Job.id > after)
        return [(row.id, row.tenant_id) for row in await self._session.execute(statement.order_by(Job.id).limit(limit))]

    async def get(self, job_id: UUID) -> Job | None:
        """One of the caller's tenant. Nobody else changes it before this transaction ends."""
        statement = select(Job).where(Job.id == job_id, self._mine(Job))
        return (await self._session.execute(statement.with_for_update())).scalar_one_or_none()

    async def run_now(self, job_id: UUID) -> bool:
        """A queued or dead job is due now, with all its attempts. False when a live one has the same dedupe key."""
        try:
            async with self._session.begin_nested():
                await self._session.execute(RUN_NOW, {"id": job_id})
        except IntegrityError:
            return False
        await self._notify()
        return True

    async def end_now(self, job_id: UUID, *, error_code: str) -> None:
        """A queued or running job is dead now; whoever runs it may write no more."""
        await self._session.execute(END_NOW, {"id": job_id, "error": error_code})

    async def purge(self, *, days: int, limit: int, but: Collection[str] = ()) -> int:
        """Deletes jobs that were done so long ago, of any kind `but` those. Dead ones stay until somebody has looked
        at them."""
        values = {"days": days, "limit": limit, "only": None, "but": [*but], "also_dead": []}
        return rowcount(await self._session.execute(PURGE, values))

    async def purge_kinds(self, kinds: Collection[str], *, days: int, limit: int) -> int:
        """Those of the kinds, done or dead."""
        values = {"days": days, "limit": limit, "only": [*kinds], "but": [], "also_dead": [*kinds]}
        return rowcount(await self._session.execute(PURGE, values))
