"""What search needs to know of all of a tenant's passages: kept where counting it for each question would take long.

Document frequencies of common words are estimated from a sample; those of rare words are counted exactly when asked,
which is cheap. BM25 hardly feels the difference: its weights grow with the logarithm.
"""

from sqlalchemy import text

from app.repositories.base import Repository

COMMON_FROM = 50
"""Passages that hold a word, from which on it counts as common: counting those of a rarer one reads no more of them."""
SAMPLED = 50_000
SURE_FROM = 10
"""Passages of the sample that must hold a word: with fewer the estimate would be off by more than a third."""
GROWTH = 1.2
"""Statistics are made anew when there are so many times more passages, or fewer."""

IS_LARGE = text("SELECT count(*) = :least FROM (SELECT FROM chunks WHERE tenant_id = :tenant LIMIT :least) AS few")

COUNT = text("""
SELECT coalesce(sum(d.chunk_count), 0)::bigint AS chunks,
       coalesce(sum(d.term_count)::float8 / nullif(sum(d.chunk_count), 0), 1) AS mean_length,
       (SELECT s.chunks FROM corpus_statistics s WHERE s.tenant_id = :tenant AND s.space_id = :space) AS known
FROM documents d WHERE d.tenant_id = :tenant AND d.indexed_version IS NOT NULL
""")

FORGET_TERMS = text("DELETE FROM term_statistics WHERE tenant_id = :tenant")

FORGET_CORPUS = text("DELETE FROM corpus_statistics WHERE tenant_id = :tenant")

ADD_TERMS = text("""
INSERT INTO term_statistics (tenant_id, lexeme, chunks)
SELECT :tenant, u.lexeme, round(count(*) * :every)
FROM chunks c
JOIN documents d ON d.id = c.document_id AND d.indexed_version = c.document_version,
     unnest(tsvector_to_array(c.terms)) AS u(lexeme)
WHERE c.tenant_id = :tenant AND abs(uuid_hash(c.id)::bigint) % :every = 0
GROUP BY u.lexeme HAVING count(*) * :every >= :common_from AND count(*) >= :sure_from
""")

STORE = text("""
INSERT INTO corpus_statistics (tenant_id, chunks, mean_length, space_id, centroid)
SELECT :tenant, :chunks, :mean_length, :space,
       (SELECT avg(e.embedding) FROM chunk_embeddings e
        WHERE e.tenant_id = :tenant AND e.space_id = :space AND abs(uuid_hash(e.chunk_id)::bigint) % :every = 0)
ON CONFLICT (tenant_id) DO UPDATE SET chunks = excluded.chunks, mean_length = excluded.mean_length,
    space_id = excluded.space_id, centroid = excluded.centroid, refreshed_at = now()
""")


class StatisticsRepository(Repository):
    async def is_large(self, least: int) -> bool:
        """Whether the tenant has so many passages, of whatever version."""
        found = await self._session.execute(IS_LARGE, {"tenant": self._caller.tenant_id, "least": least})
        return bool(found.scalar_one())

    async def forget(self) -> None:
        """Words of passages that are gone must not stay in a list of words."""
        await self._session.execute(FORGET_TERMS, {"tenant": self._caller.tenant_id})
        await self._session.execute(FORGET_CORPUS, {"tenant": self._caller.tenant_id})

    async def refresh(self, space_id: int) -> bool:
        """False when what is known is still good enough."""
        tenant = {"tenant": self._caller.tenant_id, "space": space_id}
        chunks, mean_length, known = (await self._session.execute(COUNT, tenant)).one()
        if known is not None and known / GROWTH < chunks < known * GROWTH:
            return False
        every = max(1, chunks // SAMPLED)
        await self._session.execute(FORGET_TERMS, {"tenant": self._caller.tenant_id})
        sampled = {"tenant": self._caller.tenant_id, "every": every}
        least = {"common_from": COMMON_FROM, "sure_from": SURE_FROM}
        await self._session.execute(ADD_TERMS, sampled | least)
        values = tenant | {"every": every, "chunks": chunks, "mean_length": mean_length}
        await self._session.execute(STORE, values)
        return True
