"""What works. Answers are kept for a moment, so that probes cost nothing."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.errors import RagchatError
from app.db.engine import database_errors, ping
from app.db.migrate import current_revision, head_revision
from app.providers.ports import Storage
from app.services.draining import Draining

KEPT_SECONDS = 2.0
CHECK_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Report:
    checks: dict[str, str]
    degraded: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return all(state == "ok" for state in self.checks.values())


class HealthService:
    def __init__(
        self, engine: AsyncEngine, storage: Storage, *, degraded: Callable[[], list[str]], draining: Draining
    ) -> None:
        self._engine = engine
        self._storage = storage
        self._degraded = degraded
        self._draining = draining
        self._kept: tuple[float, Report] | None = None
        self._lock = asyncio.Lock()

    @property
    def draining(self) -> bool:
        """Everything may work, and yet no new client should come."""
        return self._draining.begun

    async def report(self) -> Report:
        async with self._lock:
            if self._kept is None or self._kept[0] < time.monotonic():
                self._kept = (time.monotonic() + KEPT_SECONDS, await self._check())
            return self._kept[1]

    async def _check(self) -> Report:
        checks: dict[str, str] = {}
        for name, check in (
            ("database", self._database),
            ("pgvector", self._pgvector),
            ("migrations", self._migrations),
            ("storage", self._storage.check),
        ):
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await check()
                checks[name] = "ok"
            except RagchatError as exc:
                checks[name] = exc.code
            except TimeoutError:
                checks[name] = "timeout"
        checks["embedder"] = "ok"  # loaded before the service started to listen
        return Report(checks, self._degraded())

    async def _database(self) -> None:
        await ping(self._engine)

    async def _pgvector(self) -> None:
        with database_errors():
            async with self._engine.connect() as connection:
                found = await connection.execute(text("SELECT 1 FROM pg_extension WHERE extname = 'vector'"))
                if found.scalar() is None:
                    raise RagchatError("pgvector_missing")

    async def _migrations(self) -> None:
        if await current_revision(self._engine) != head_revision():
            raise RagchatError("migrations_pending")
