from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.models import Feedback
from app.repositories.base import Repository

RATED = text("""
SELECT f.message_id, f.rating, f.reason, f.comment, q.content AS question, a.content AS answer, a.finish_reason,
       coalesce((
           SELECT jsonb_agg(DISTINCT jsonb_build_object('document_id', s.document_id, 'title', s.title, 'page', s.page))
           FROM message_sources s
           WHERE s.message_id = a.id AND s.document_id IS NOT NULL AND s.text IS NOT NULL
             AND EXISTS (SELECT 1 FROM jsonb_array_elements(coalesce(a.citations, '[]')) c WHERE (c->>'n')::int = s.n)
       ), '[]') AS cited
FROM feedback f
JOIN messages a ON a.id = f.message_id
JOIN turns t ON t.id = a.turn_id
JOIN messages q ON q.id = t.user_message_id
WHERE f.tenant_id = :tenant AND (CAST(:rating AS text) IS NULL OR f.rating = :rating)
ORDER BY f.message_id
""")


class FeedbackRepository(Repository):
    async def put(self, message_id: UUID, values: dict[str, Any]) -> Feedback:
        """The caller must have loaded the message as theirs."""
        row = insert(Feedback).values(**values, message_id=message_id, tenant_id=self._caller.tenant_id)
        statement = row.on_conflict_do_update(
            index_elements=[Feedback.message_id], set_=values | {"updated_at": func.now()}
        )
        returning = statement.returning(Feedback).execution_options(populate_existing=True)
        return (await self._session.execute(returning)).scalar_one()

    async def of(self, message_ids: list[UUID]) -> list[Feedback]:
        """The caller must have loaded the messages as theirs."""
        statement = select(Feedback).where(Feedback.message_id.in_(message_ids), self._mine(Feedback))
        return [*(await self._session.execute(statement)).scalars()]

    async def rated(self, rating: str | None) -> list[dict[str, Any]]:
        """Rated answers of turns, oldest first: question, answer, and the places that its citations name."""
        values = {"tenant": self._caller.tenant_id, "rating": rating}
        return [dict(row) for row in (await self._session.execute(RATED, values)).mappings()]
