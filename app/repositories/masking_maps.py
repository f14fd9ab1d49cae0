from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from app.repositories.base import Repository

GET = text("""
SELECT m.sealed, m.version FROM chat_sessions s
LEFT JOIN masking_maps m ON m.session_id = s.id AND m.tenant_id = s.tenant_id
WHERE s.id = :session AND s.tenant_id = :tenant AND s.user_id = coalesce(CAST(:owner AS text), s.user_id)
""")

PUT = text("""
INSERT INTO masking_maps (session_id, tenant_id, sealed, key_id, version)
SELECT id, tenant_id, :sealed, :key, 1 FROM chat_sessions
WHERE id = :session AND tenant_id = :tenant AND user_id = coalesce(CAST(:owner AS text), user_id)
  AND (:seen = 0 OR EXISTS (SELECT 1 FROM masking_maps WHERE session_id = :session))
FOR KEY SHARE
ON CONFLICT (session_id) DO UPDATE
SET sealed = excluded.sealed, key_id = excluded.key_id, version = masking_maps.version + 1, updated_at = now()
WHERE masking_maps.version = :seen
RETURNING version
""")

DROP_OF = text("""
DELETE FROM masking_maps m USING messages asked
WHERE asked.id = ANY(:messages) AND asked.tenant_id = :tenant
  AND m.session_id = asked.session_id AND m.tenant_id = :tenant
""")


@dataclass(frozen=True, slots=True)
class StoredMap:
    """`sealed` is empty and `version` 0 where nothing is stored yet."""

    sealed: bytes = b""
    version: int = 0


class MaskingMapRepository(Repository):
    async def get(self, session_id: UUID) -> StoredMap | None:
        """None when there is no such session, or it is not the caller's."""
        row = (await self._session.execute(GET, self._of(session_id))).one_or_none()
        return None if row is None else StoredMap(row.sealed or b"", row.version or 0)

    async def put(self, session_id: UUID, sealed: bytes, *, key: str, seen: int) -> int | None:
        """The new version; None when another one than `seen` is stored by now, or the session is gone."""
        values = self._of(session_id) | {"sealed": sealed, "key": key, "seen": seen}
        version: int | None = (await self._session.execute(PUT, values)).scalar_one_or_none()
        return version

    async def drop_of(self, message_ids: list[UUID]) -> None:
        """The maps of the conversations that these messages belong to."""
        values = {"messages": message_ids, "tenant": self._caller.tenant_id}
        await self._session.execute(DROP_OF, values)

    def _of(self, session_id: UUID) -> dict[str, object]:
        return {"session": session_id, "tenant": self._caller.tenant_id, "owner": self._caller.user_id}
