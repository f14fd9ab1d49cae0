from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from app.core.idempotency import Claim, Reply
from app.models import IdempotencyKey
from app.repositories.base import Repository, rowcount

_STORED = (
    IdempotencyKey.fingerprint,
    IdempotencyKey.subject_id,
    IdempotencyKey.status,
    IdempotencyKey.headers,
    IdempotencyKey.body,
)
_EXPIRES = func.now() + text("interval '24 hours'")

REMOVE_SESSIONS = text("""
DELETE FROM idempotency_keys WHERE tenant_id = :tenant AND subject_id IN (
    SELECT unnest(CAST(:ids AS uuid[]))
    UNION ALL SELECT id FROM turns WHERE session_id = ANY(CAST(:ids AS uuid[]))
    UNION ALL SELECT id FROM messages WHERE session_id = ANY(CAST(:ids AS uuid[]))
)
""")


@dataclass(frozen=True, slots=True)
class Stored:
    """A request that was carried out. Without a reply, the answer is read from the subject, or was deleted with it."""

    fingerprint: bytes
    subject_id: UUID | None
    reply: Reply | None


class IdempotencyRepository(Repository):
    def _is(self, claim: Claim) -> ColumnElement[bool]:
        return and_(
            self._mine(IdempotencyKey),
            IdempotencyKey.principal == self._caller.principal,
            IdempotencyKey.route == claim.route,
            IdempotencyKey.key == claim.key,
        )

    async def lock(self, claim: Claim) -> bool:
        """Until this transaction ends; False when another one has it. Look with `find` only afterwards."""
        name = "\n".join(("idempotency", str(self._caller.tenant_id), self._caller.principal, claim.route, claim.key))
        number = int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)
        locked: bool = (await self._session.execute(select(func.pg_try_advisory_xact_lock(number)))).scalar_one()
        return locked

    async def find(self, claim: Claim) -> Stored | None:
        statement = select(*_STORED).where(self._is(claim), IdempotencyKey.expires_at > func.now())
        row = (await self._session.execute(statement)).one_or_none()
        if row is None:
            return None
        reply = None
        if row.status is not None and row.body is not None:
            reply = Reply(row.status, row.headers or {}, row.body)
        return Stored(row.fingerprint, row.subject_id, reply)

    async def add(self, claim: Claim, subject_id: UUID | None, reply: Reply | None) -> bool:
        """Takes the place of one that has expired. False when there is one in force: the effect must not be kept."""
        values = {
            "fingerprint": claim.fingerprint,
            "subject_id": subject_id,
            "status": reply.status if reply else None,
            "headers": dict(reply.headers) if reply else None,
            "body": reply.body if reply else None,
            "created_at": func.now(),
            "expires_at": _EXPIRES,
        }
        whose = {"tenant_id": self._caller.tenant_id, "principal": self._caller.principal}
        statement = insert(IdempotencyKey).values(**whose, route=claim.route, key=claim.key, **values)
        statement = statement.on_conflict_do_update(
            index_elements=["tenant_id", "principal", "route", "key"],
            set_=values,
            where=IdempotencyKey.expires_at <= func.now(),
        )
        added = await self._session.execute(statement.returning(IdempotencyKey.key))
        return added.scalar_one_or_none() is not None

    async def forget(self, subject_id: UUID) -> None:
        """In the transaction that deletes it: the key stays used, what was answered goes."""
        statement = (
            update(IdempotencyKey)
            .where(
                self._mine(IdempotencyKey), IdempotencyKey.subject_id == subject_id, IdempotencyKey.body.is_not(None)
            )
            .values(headers=None, body=None)
            .execution_options(synchronize_session=False)
        )
        await self._session.execute(statement)

    async def remove_sessions(self, session_ids: list[UUID]) -> int:
        """Before they are deleted: keys, fingerprints and answers of what made them, their turns and messages."""
        values = {"tenant": self._caller.tenant_id, "ids": session_ids}
        return rowcount(await self._session.execute(REMOVE_SESSIONS, values))

    async def remove(self, subject_ids: list[UUID]) -> int:
        statement = delete(IdempotencyKey).where(self._mine(IdempotencyKey), IdempotencyKey.subject_id.in_(subject_ids))
        return rowcount(await self._session.execute(statement))

    async def remove_of(self, principal: str) -> int:
        statement = delete(IdempotencyKey).where(self._mine(IdempotencyKey), IdempotencyKey.principal == principal)
        return rowcount(await self._session.execute(statement))

    async def purge(self, *, limit: int) -> int:
        """Deletes what has expired, of every tenant; how many."""
        primary_key = tuple_(
            IdempotencyKey.tenant_id, IdempotencyKey.principal, IdempotencyKey.route, IdempotencyKey.key
        )
        expired = (
            select(*primary_key.clauses)
            .where(IdempotencyKey.expires_at <= func.now())
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = delete(IdempotencyKey).where(primary_key.in_(expired))
        return rowcount(await self._session.execute(statement.execution_options(synchronize_session=False)))
