"""How long each kind of thing is kept. Every hour each worker removes what is older, in small transactions that one
process at a time may make; what one leaves, the next finds. The table is in docs/privacy-operations.md.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from app.core.caller import SYSTEM, tenant_caller
from app.core.errors import RagchatError
from app.core.logging import get_logger
from app.core.settings import Settings
from app.db.uow import UnitOfWork, UowFactory
from app.services.erasing import delete_sessions
from app.services.webhooks import DELIVER

HOUR_SECONDS = 3600.0
FIRST_SECONDS = (20.0, 80.0)
"""After the start; processes that start together do not purge together."""
AT_ONCE = 500
MOST_BATCHES = 200
"""Of a kind in one run; the next one goes on."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """Days; 0 keeps for good."""

    sessions: int = 0
    jobs: int = 30
    deliveries: int = 30
    usage: int = 0
    keys: int = 90
    receipts: int = 365
    audit: int = 365


def terms_of(settings: Settings) -> Terms:
    return Terms(
        sessions=settings.retention_days,
        jobs=settings.job_history_days,
        deliveries=settings.webhook_history_days,
        usage=settings.usage_days,
        keys=settings.revoked_key_days,
        receipts=settings.receipt_days,
        audit=settings.audit_days,
    )


Remove = Callable[[UnitOfWork], Awaitable[int]]


class RetentionService:
    """`compact` removes the deltas of old turns; it has its own pace, and is here for whoever wants it now."""

    def __init__(self, uow: UowFactory, terms: Terms, *, compact: Callable[[], Awaitable[int]]) -> None:
        self._uow = uow
        self._terms = terms
        self._compact = compact

    async def run(self) -> None:
        """The top of a task: until cancelled, whatever happens to the database."""
        await asyncio.sleep(random.uniform(*FIRST_SECONDS))  # noqa: S311  no secret
        while True:
            try:
                removed = await self.purge()
                if any(removed.values()):
                    log.info("retention.purged", removed=removed)
            except RagchatError as exc:
                log.warning("retention.not_purged", code=exc.code)
            except Exception:
                log.exception("retention.fault")
            await asyncio.sleep(HOUR_SECONDS)

    async def purge(self) -> dict[str, int]:
        """How many were removed of each kind. Nothing of what another process is at."""
        removed = {"sessions": await self._purge_sessions()}
        for kind, (days, remove) in self._removals().items():
            removed[kind] = await self._purge(remove) if days else 0
        removed["turn_deltas"] = await self._compact()
        return removed

    def _removals(self) -> dict[str, tuple[int, Remove]]:
        """What is off has no days."""
        terms, fixed = self._terms, 1
        return {
            "idempotency_keys": (fixed, lambda uow: uow.idempotency.purge(limit=AT_ONCE)),
            "refresh_tokens": (fixed, lambda uow: uow.refresh_tokens.purge(limit=AT_ONCE)),
            "budgets": (fixed, lambda uow: uow.budgets.purge(limit=AT_ONCE)),
            "jobs": (terms.jobs, lambda uow: uow.jobs.purge(days=terms.jobs, limit=AT_ONCE, but=[DELIVER])),
            "deliveries": (
                terms.deliveries,
                lambda uow: uow.jobs.purge_kinds([DELIVER], days=terms.deliveries, limit=AT_ONCE),
            ),
            "usage_records": (terms.usage, lambda uow: uow.usage.purge(days=terms.usage, limit=AT_ONCE)),
            "api_keys": (terms.keys, lambda uow: uow.api_keys.purge(days=terms.keys, limit=AT_ONCE)),
            "receipts": (terms.receipts, lambda uow: uow.erasures.purge(days=terms.receipts, limit=AT_ONCE)),
            "audit_log": (terms.audit, lambda uow: uow.audit.purge(days=terms.audit, limit=AT_ONCE)),
        }

    async def _purge(self, remove: Remove) -> int:
        total = 0
        for _ in range(MOST_BATCHES):
            async with self._uow(SYSTEM) as uow:
                count = await remove(uow) if await uow.retention.lock() else 0
            total += count
            if count == 0:
                break
        return total

    async def _purge_sessions(self) -> int:
        total = 0
        for _ in range(MOST_BATCHES if self._terms.sessions else 0):
            count = await self._some_sessions(self._terms.sessions)
            total += count
            if count == 0:
                break
        return total

    async def _some_sessions(self, days: int) -> int:
        async with self._uow(SYSTEM) as uow:
            found = await uow.retention.idle_sessions(days=days, limit=AT_ONCE)
        by_tenant: dict[UUID, list[UUID]] = defaultdict(list)
        for tenant_id, session_id in found:
            by_tenant[tenant_id].append(session_id)
        count = 0
        for tenant_id, ids in by_tenant.items():
            async with self._uow(tenant_caller(tenant_id)) as uow:
                locked = await uow.retention.lock_idle(ids, days=days) if await uow.retention.lock() else []
                count += (await delete_sessions(uow, locked))["sessions"] if locked else 0
        return count
