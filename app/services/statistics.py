"""Keeps what search knows of a tenant's passages as a whole in step with them."""

from app.core.caller import Caller
from app.core.logging import get_logger
from app.db.uow import UnitOfWork, UowFactory

REFRESH = "statistics.refresh"
LARGE = 1_000
"""Passages. With fewer, everything is counted for each question."""
DELAY_SECONDS = 5.0
"""Many documents that come at once are counted once."""
log = get_logger(__name__)


class StatisticsService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def refresh(self, caller: Caller) -> None:
        async with self._uow(caller) as uow:
            active = await uow.spaces.active()
            refreshed = active is not None and await uow.statistics.refresh(active.id)
        if refreshed:
            log.info("statistics.refreshed", tenant_id=str(caller.tenant_id))

    async def forget(self, caller: Caller) -> None:
        """For passages that must leave no word behind: what is known is made anew, if it is still worth it."""
        async with self._uow(caller) as uow:
            await uow.statistics.forget()
            await refresh_later(uow)


async def refresh_later(uow: UnitOfWork) -> None:
    """In the transaction that changes what search sees."""
    if await uow.statistics.is_large(LARGE):
        key = f"{REFRESH}:{uow.caller.tenant_id}"
        await uow.jobs.enqueue(REFRESH, {}, dedupe_key=key, delay_seconds=DELAY_SECONDS)
