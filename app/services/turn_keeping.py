"""What keeps turns true: this process's leases renewed, turns of dead processes ended, old deltas removed."""

import asyncio
import time
from uuid import UUID

from app.core.caller import SYSTEM, tenant_caller
from app.core.errors import RagchatError
from app.core.logging import get_logger
from app.db.uow import UowFactory
from app.services.event_log import turn_lost
from app.services.interruption import end_dead
from app.services.live_turns import LiveTurn, LiveTurns

LOOK_SECONDS = 1.0
"""How soon a turn hears that another process wants it to stop, should the notification be lost."""
RENEW_SECONDS = 3.0
SWEEP_SECONDS = 5.0
COMPACT_SECONDS = 60.0
COMPACTED_AT_ONCE = 200
log = get_logger(__name__)


class LeaseKeeper:
    """Renews the leases of all turns of this process while there are any."""

    def __init__(self, uow: UowFactory, live: LiveTurns) -> None:
        self._uow = uow
        self._live = live
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        """The top of a task. It ends in the step in which it sees no turn, so that none can begin unseen."""
        renew_at = time.monotonic() + RENEW_SECONDS
        while self._live.all():
            await asyncio.sleep(LOOK_SECONDS)
            renew = time.monotonic() >= renew_at
            if renew:
                renew_at = time.monotonic() + RENEW_SECONDS
            for tenant_id, turns in self._live.by_tenant().items():
                try:
                    await self._look(tenant_id, turns, renew=renew)
                except RagchatError as exc:
                    log.warning("turns.leases_not_renewed", turns=len(turns), code=exc.code)
                except Exception:
                    log.exception("turns.leases_fault")

    async def _look(self, tenant_id: UUID, turns: list[LiveTurn], *, renew: bool) -> None:
        async with self._uow(tenant_caller(tenant_id)) as uow:
            held = await uow.turns.held(self._live.holder, [turn.turn_id for turn in turns], renew=renew)
        for turn in turns:
            asked_to_stop = held.get(turn.turn_id)
            if asked_to_stop:
                turn.cancelled.set()
            elif asked_to_stop is None:  # or it has just ended here, and nobody asks any more
                turn.fail(turn_lost())


class TurnHousekeeping:
    """Runs in every API and worker process."""

    def __init__(self, uow: UowFactory, *, events_hours: int) -> None:
        self._uow = uow
        self._events_hours = events_hours

    async def run(self) -> None:
        """The top of a task: until cancelled, whatever happens to the database."""
        compact_at = time.monotonic() + SWEEP_SECONDS
        while True:
            try:
                await self.interrupt_expired()
                if time.monotonic() >= compact_at:
                    compact_at = time.monotonic() + COMPACT_SECONDS
                    await self.compact()
            except RagchatError as exc:
                log.warning("turns.not_looked_after", code=exc.code)
            except Exception:
                log.exception("turns.housekeeping_fault")
            await asyncio.sleep(SWEEP_SECONDS)

    async def interrupt_expired(self) -> int:
        """Ends every tenant's turns whose process is gone; how many there were."""
        async with self._uow(SYSTEM) as uow:
            found = await uow.turns.sessions_with_expired()
        count = 0
        for tenant_id, session_id in found:
            async with self._uow(tenant_caller(tenant_id)) as uow:
                if await uow.sessions.lock(session_id, skip_locked=True) is not None:
                    count += await end_dead(uow, session_id)
        if count:
            log.warning("turns.interrupted", count=count)
        return count

    async def compact(self) -> int:
        """Removes deltas that have been kept long enough; of how many turns."""
        async with self._uow(SYSTEM) as uow:
            tenants = await uow.turn_events.tenants_with_old(self._events_hours)
        count = 0
        for tenant_id in tenants:
            while True:
                async with self._uow(tenant_caller(tenant_id)) as uow:
                    done = await uow.turn_events.compact(self._events_hours, limit=COMPACTED_AT_ONCE)
                count += done
                if done < COMPACTED_AT_ONCE:
                    break
        if count:
            log.info("turns.deltas_removed", turns=count)
        return count
