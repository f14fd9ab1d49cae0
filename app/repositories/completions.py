from uuid import UUID

from sqlalchemy import text

from app.repositories.base import Repository

CLAIM = text("""
DELETE FROM completion_heads WHERE session_id = (
    SELECT h.session_id FROM completion_heads h JOIN chat_sessions s ON s.id = h.session_id
    WHERE h.tenant_id = :tenant AND h.digest = :digest
      AND s.tenant_id = :tenant AND s.user_id = :user AND s.next_seq = h.next_seq
    ORDER BY h.updated_at DESC LIMIT 1 FOR UPDATE OF h SKIP LOCKED
) RETURNING session_id, next_seq
""")

KEEP = text("""
INSERT INTO completion_heads (session_id, tenant_id, digest, next_seq)
SELECT id, tenant_id, :digest, :next_seq FROM chat_sessions
WHERE id = :session AND tenant_id = :tenant AND user_id = coalesce(CAST(:owner AS text), user_id) FOR KEY SHARE
ON CONFLICT (session_id) DO UPDATE
SET digest = excluded.digest, next_seq = excluded.next_seq, updated_at = now()
""")


class CompletionRepository(Repository):
    async def claim(self, digest: bytes, user_id: str) -> tuple[UUID, int] | None:
        """(session, its next_seq) of a conversation of the user that stands exactly there; None when there is none.

        Whoever gets it goes on with it alone: of two who ask at once, the other finds nothing.
        """
        values = {"tenant": self._caller.tenant_id, "digest": digest, "user": self._caller.user_id or user_id}
        row = (await self._session.execute(CLAIM, values)).one_or_none()
        return (row.session_id, row.next_seq) if row else None

    async def keep(self, session_id: UUID, digest: bytes, next_seq: int) -> None:
        """Nothing happens when the session is gone, or not the caller's."""
        values = {"session": session_id, "digest": digest, "next_seq": next_seq}
        owner = {"tenant": self._caller.tenant_id, "owner": self._caller.user_id}
        await self._session.execute(KEEP, values | owner)
