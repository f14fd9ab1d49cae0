from uuid import UUID

from sqlalchemy import text

from app.repositories.base import Repository

LOCK = 0x7261_6763_7075_72
IDLE = "last_activity_at < now() - make_interval(days => :days)"

IDLE_SESSIONS = text(f"""
SELECT tenant_id, id FROM chat_sessions s
WHERE {IDLE} AND NOT EXISTS (SELECT FROM turns t WHERE t.session_id = s.id AND t.status = 'running')
ORDER BY last_activity_at LIMIT :limit
""")  # noqa: S608  constants

LOCK_IDLE = text(f"""
SELECT id FROM chat_sessions s
WHERE tenant_id = :tenant AND id = ANY(CAST(:ids AS uuid[])) AND {IDLE}
  AND NOT EXISTS (SELECT FROM turns t WHERE t.session_id = s.id AND t.status = 'running')
ORDER BY id FOR UPDATE SKIP LOCKED
""")  # noqa: S608  constants


class RetentionRepository(Repository):
    async def lock(self) -> bool:
        """Until this transaction ends; False when another process purges."""
        return bool(
            (await self._session.execute(text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": LOCK})).scalar_one()
        )

    async def idle_sessions(self, *, days: int, limit: int) -> list[tuple[UUID, UUID]]:
        """(tenant, session) of all tenants, without those that a turn runs in."""
        values = {"days": days, "limit": limit}
        return [(row.tenant_id, row.id) for row in await self._session.execute(IDLE_SESSIONS, values)]

    async def lock_idle(self, session_ids: list[UUID], *, days: int) -> list[UUID]:
        """Those of the tenant that are still idle, locked."""
        values = {"tenant": self._caller.tenant_id, "ids": session_ids, "days": days}
        return [*(await self._session.execute(LOCK_IDLE, values)).scalars()]
