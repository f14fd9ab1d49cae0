"""The work of an erasure: small transactions, each under the job's lease and with its counts, until a pass over
everything finds nothing more. A worker that dies in between leaves nothing half done: the next one goes on.

Running turns are asked to stop and waited for, so that what they used is in the ledger before the name leaves it.
Documents lose their rows first, so that no ingestion writes any more; files and what other answers quoted follow, by
jobs that the erasure sees done before it ends.
"""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

from app.core.caller import Caller
from app.core.logging import get_logger
from app.db.uow import UnitOfWork, UowFactory
from app.providers.ports import Storage
from app.services.documents import DELETE_FILE, INGEST, PRUNE, delete_document
from app.services.forgetting import forget_document
from app.services.interruption import end_dead
from app.services.leases import Lease
from app.services.statistics import StatisticsService
from app.services.webhooks import DELIVER

ERASE = "user.erase"
FIRST_ID = UUID(int=0)
SESSIONS_AT_ONCE = 50
DOCUMENTS_AT_ONCE = 10
ROWS_AT_ONCE = 1000
JOBS_AT_ONCE = 100
STOP_SECONDS = 30.0
"""A turn that has not ended by then loses its session under it."""
LOOK_SECONDS = 0.25
log = get_logger(__name__)


async def end_credentials(uow: UnitOfWork, user_id: str) -> tuple[dict[str, int], list[UUID]]:
    """The account with its tokens, and the keys that it made: from this commit on none of them opens anything.
    (counts, the ids of what has ended)"""
    try:
        id_ = UUID(user_id)
    except ValueError:
        return {}, []
    keys = [key.id for key in await uow.api_keys.made_by(id_)]
    counts = {"api_keys": await uow.api_keys.delete(keys), "idempotency_keys": await uow.idempotency.remove(keys)}
    return counts | await uow.users.delete(id_), [id_, *keys]


async def ask_to_stop(uow: UnitOfWork, user_id: str) -> None:
    """The user's running turns, wherever they run."""
    turns = await uow.turns.running_of(user_id)
    for turn_id in turns:
        await uow.turns.request_cancel(turn_id)
    await uow.turn_events.notify("cancel", turns)


@dataclass(frozen=True, slots=True)
class Order:
    """What an attempt at the job works for."""

    caller: Caller
    erasure_id: UUID
    user_id: str
    lease: Lease


class Eraser:
    def __init__(self, uow: UowFactory, storage: Storage, statistics: StatisticsService) -> None:
        self._uow = uow
        self._storage = storage
        self._statistics = statistics

    async def run(self, caller: Caller, erasure_id: UUID, lease: Lease) -> None:
        """LeaseLost when another worker has it now. Done, or nothing: once more is of no effect."""
        async with self._uow(caller) as uow:
            erasure = await uow.erasures.get(erasure_id)
        if erasure is None or erasure.user_id is None:
            return
        order = Order(caller, erasure_id, erasure.user_id, lease)
        while not await self._finish(order):
            await self._sessions(order)
            await self._documents(order)
            await self._ledger(order)
            await self._left_over(order)
            await self._credentials(order)
        log.info("erasure.done", erasure_id=str(erasure_id))

    async def _finish(self, order: Order) -> bool:
        """False while there is anything left; nothing new comes, see `admit`."""
        async with self._uow(order.caller) as uow:
            await order.lease.hold(uow)
            await uow.erasures.lock(order.user_id)
            left = await uow.erasures.left_in_queue(order.erasure_id, but=ERASE, limit=1)
            if left or await uow.erasures.is_known(order.user_id):
                return False
            await uow.audit.record("user.erased", "user", order.user_id)
            return await uow.erasures.finish(order.erasure_id)

    async def _sessions(self, order: Order) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            async with self._uow(order.caller) as uow:
                await order.lease.hold(uow)
                ids = await uow.sessions.lock_of(order.user_id, limit=SESSIONS_AT_ONCE)
                if not ids:
                    return
                waiting = await self._running(uow, ids) and time.monotonic() < deadline
                if waiting:
                    await ask_to_stop(uow, order.user_id)
                else:
                    await self._count(uow, order, await delete_sessions(uow, ids))
            if waiting:
                await asyncio.sleep(LOOK_SECONDS)

    async def _running(self, uow: UnitOfWork, session_ids: list[UUID]) -> bool:
        """Ends what dead processes left running."""
        alive = False
        for _, session_id, renewed in await uow.turns.running_in(session_ids):
            alive = alive or renewed
            if not renewed:
                await end_dead(uow, session_id)
        return alive

    async def _documents(self, order: Order) -> None:
        removed = False
        while ids := await self._some_documents(order):
            removed = True
            for document_id in ids:
                await self._forget_rest(order, document_id)
        if removed:
            await self._statistics.forget(order.caller)

    async def _some_documents(self, order: Order) -> list[UUID]:
        async with self._uow(order.caller) as uow:
            await order.lease.hold(uow)
            documents = await uow.documents.owned_by(order.user_id, after=FIRST_ID, limit=DOCUMENTS_AT_ONCE)
            ids = [document.id for document in documents]
            counts = {"documents": 0, "files": 0, "chunks": await uow.chunks.count_of(ids)}
            for document_id in ids:
                files = await delete_document(uow, document_id, erasure_id=order.erasure_id)
                if files is not None:
                    counts["documents"] += 1
                    counts["files"] += files
            counts["jobs"] = await uow.erasures.remove_jobs(ids, [INGEST, PRUNE, DELIVER])
            counts["idempotency_keys"] = await uow.idempotency.remove(ids)
            await self._count(uow, order, counts)
        return ids

    async def _forget_rest(self, order: Order, document_id: UUID) -> None:
        """Of a document that more answers of others quoted than its own transaction has seen to."""
        more = True
        while more:
            async with self._uow(order.caller) as uow:
                await order.lease.hold(uow)
                more = await forget_document(uow, document_id)

    async def _credentials(self, order: Order) -> None:
        """They ended when the erasure was asked for; a key may have been made in that moment."""
        async with self._uow(order.caller) as uow:
            await order.lease.hold(uow)
            counts, _ = await end_credentials(uow, order.user_id)
            await self._count(uow, order, counts)

    async def _ledger(self, order: Order) -> None:
        """What was used stays in the tenant's sums, without the name."""
        more = True
        while more:
            async with self._uow(order.caller) as uow:
                await order.lease.hold(uow)
                count = await uow.usage.anonymise(order.user_id, limit=ROWS_AT_ONCE)
                await uow.budgets.forget_user(order.user_id)
                principal = f"user:{order.caller.tenant_id}:{order.user_id}"
                keys = await uow.idempotency.remove_of(principal)
                await self._count(uow, order, {"usage_records": count, "idempotency_keys": keys})
                more = count == ROWS_AT_ONCE

    async def _left_over(self, order: Order) -> None:
        """What an earlier attempt, or this one, has put into the queue: seen to here, whoever else is at it."""
        while True:
            async with self._uow(order.caller) as uow:
                left = await uow.erasures.left_in_queue(order.erasure_id, but=ERASE, limit=JOBS_AT_ONCE)
            if not left:
                return
            for job_id, kind, payload in left:
                if kind == DELETE_FILE:
                    await self._storage.delete(payload["key"])
                else:
                    await self._forget_rest(order, UUID(payload["document_id"]))
                async with self._uow(order.caller) as uow:
                    await uow.erasures.end_job(job_id)

    async def _count(self, uow: UnitOfWork, order: Order, counts: dict[str, int]) -> None:
        await uow.erasures.add_counts(order.erasure_id, counts)


async def delete_sessions(uow: UnitOfWork, session_ids: list[UUID]) -> dict[str, int]:
    """With all that is said in them, and the answers that idempotency keys hold. They must be locked."""
    keys = await uow.idempotency.remove_sessions(session_ids)
    counts = await uow.sessions.delete_many(session_ids)
    return counts | {"idempotency_keys": keys}
