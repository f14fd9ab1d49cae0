"""Users that are being erased. What belongs to them is removed by the repositories of each noun."""

import json
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from app.core.pseudonyms import user_digest
from app.models import Erasure
from app.repositories.base import Repository, rowcount
from app.repositories.paging import Paging

LATE_HOURS = 24
"""What began before an erasure ends within this: uploads, turns of a process that was frozen."""

FENCE = text("""
SELECT finished_at IS NULL FROM erasures
WHERE tenant_id = :tenant AND user_digest = :digest
ORDER BY finished_at IS NULL DESC LIMIT 1
""")

KNOWN = text("""
SELECT EXISTS (SELECT FROM users WHERE tenant_id = :tenant AND id::text = :user)
    OR EXISTS (SELECT FROM api_keys WHERE tenant_id = :tenant AND created_by::text = :user)
    OR EXISTS (SELECT FROM chat_sessions WHERE tenant_id = :tenant AND user_id = :user)
    OR EXISTS (SELECT FROM documents WHERE tenant_id = :tenant AND owner_id = :user)
    OR EXISTS (SELECT FROM usage_records WHERE tenant_id = :tenant AND user_id = :user)
    OR EXISTS (SELECT FROM budgets WHERE tenant_id = :tenant AND scope = 'user' AND scope_id = :user)
""")

ADD = text("""
UPDATE erasures SET counts = counts || (
    SELECT coalesce(jsonb_object_agg(key, coalesce((counts->>key)::bigint, 0) + value::bigint), '{}')
    FROM jsonb_each_text(CAST(:counts AS jsonb)))
WHERE id = :id AND tenant_id = :tenant AND finished_at IS NULL
""")

FINISH = text("""
UPDATE erasures SET user_id = NULL, finished_at = now()
WHERE id = :id AND tenant_id = :tenant AND finished_at IS NULL RETURNING id
""")

FORGET_DIGESTS = text("""
UPDATE erasures SET user_digest = NULL
WHERE user_digest IS NOT NULL AND finished_at < now() - make_interval(hours => :hours)
""")

PURGE = text("""
DELETE FROM erasures WHERE id IN (
    SELECT id FROM erasures WHERE finished_at < now() - make_interval(days => :days)
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")

REMOVE_ABOUT = text("""
DELETE FROM jobs WHERE tenant_id = :tenant AND kind = ANY(CAST(:kinds AS text[]))
  AND coalesce(payload->>'document_id', payload->'data'->>'document_id') = ANY(CAST(:ids AS text[]))
""")

LEFT_OF_ERASURE = text("""
SELECT id, kind, payload FROM jobs
WHERE tenant_id = :tenant AND state <> 'done' AND kind <> :kind AND payload->>'erasure_id' = :erasure
ORDER BY id LIMIT :limit
""")

DONE_ELSEWHERE = text("""
UPDATE jobs SET state = 'done', error_code = NULL, finished_at = now(), lease_token = NULL, lease_until = NULL
WHERE tenant_id = :tenant AND id = :id AND state <> 'done'
""")


class ErasureRepository(Repository):
    def _lock_number(self, user_id: str) -> int:
        return int.from_bytes(user_digest(self._caller.tenant_id, user_id)[:8], signed=True)

    async def lock(self, user_id: str) -> None:
        """Until this transaction ends nobody stores anything new for the user."""
        await self._session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": self._lock_number(user_id)})

    async def is_open(self, user_id: str) -> bool | None:
        """True while the user is being erased, False when they were lately, None otherwise. No erasure of theirs
        begins before this transaction ends."""
        await self._session.execute(text("SELECT pg_advisory_xact_lock_shared(:n)"), {"n": self._lock_number(user_id)})
        values = {"tenant": self._caller.tenant_id, "digest": user_digest(self._caller.tenant_id, user_id)}
        found: bool | None = (await self._session.execute(FENCE, values)).scalar_one_or_none()
        return found

    async def is_known(self, user_id: str) -> bool:
        """Whether there is anything of the user."""
        values = {"tenant": self._caller.tenant_id, "user": user_id}
        return bool((await self._session.execute(KNOWN, values)).scalar_one())

    async def find_open(self, user_id: str) -> Erasure | None:
        statement = select(Erasure).where(self._mine(Erasure), Erasure.user_id == user_id)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def create(self, values: dict[str, Any]) -> Erasure:
        digest = user_digest(self._caller.tenant_id, values["user_id"])
        row = insert(Erasure).values(**values, tenant_id=self._caller.tenant_id, user_digest=digest)
        return (await self._session.execute(row.returning(Erasure))).scalar_one()

    async def get(self, erasure_id: UUID) -> Erasure | None:
        statement = select(Erasure).where(Erasure.id == erasure_id, self._mine(Erasure))
        return (await self._session.execute(statement.execution_options(populate_existing=True))).scalar_one_or_none()

    async def find_receipt(self, receipt_hash: bytes) -> Erasure | None:
        """Of any tenant: whoever has the address was given it."""
        statement = select(Erasure).where(Erasure.receipt_hash == receipt_hash)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def list_page(self, paging: Paging) -> tuple[list[Erasure], int, str | None]:
        """Newest first: (rows, total, next cursor)."""
        return await self._newest(select(Erasure).where(self._mine(Erasure)), Erasure, paging)

    async def add_counts(self, erasure_id: UUID, counts: dict[str, int]) -> None:
        """In the transaction that removed them, so that a step that is done again counts nothing twice."""
        some = {name: count for name, count in counts.items() if count}
        if some:
            values = {"id": erasure_id, "tenant": self._caller.tenant_id, "counts": json.dumps(some)}
            await self._session.execute(ADD, values)

    async def finish(self, erasure_id: UUID) -> bool:
        """From now on nothing says whose it was, but a digest for a day."""
        found = await self._session.execute(FINISH, {"id": erasure_id, "tenant": self._caller.tenant_id})
        return found.scalar_one_or_none() is not None

    async def purge(self, *, days: int, limit: int) -> int:
        """Receipts of every tenant that are older; and digests once nothing can come late any more."""
        await self._session.execute(FORGET_DIGESTS, {"hours": LATE_HOURS})
        return rowcount(await self._session.execute(PURGE, {"days": days, "limit": limit}))

    # --- the queue ---

    async def remove_jobs(self, document_ids: Sequence[UUID], kinds: Collection[str]) -> int:
        """In whatever state: whoever runs one writes nothing any more."""
        values = {"tenant": self._caller.tenant_id, "kinds": [*kinds], "ids": [*map(str, document_ids)]}
        return rowcount(await self._session.execute(REMOVE_ABOUT, values))

    async def left_in_queue(self, erasure_id: UUID, *, but: str, limit: int) -> list[tuple[UUID, str, dict[str, Any]]]:
        """(id, kind, payload) of what an erasure has put into the queue and nobody has done yet."""
        values = {"tenant": self._caller.tenant_id, "erasure": str(erasure_id), "kind": but, "limit": limit}
        return [(row.id, row.kind, row.payload) for row in await self._session.execute(LEFT_OF_ERASURE, values)]

    async def end_job(self, job_id: UUID) -> None:
        await self._session.execute(DONE_ELSEWHERE, {"tenant": self._caller.tenant_id, "id": job_id})
