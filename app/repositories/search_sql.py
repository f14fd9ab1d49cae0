"""The hybrid search: one statement that finds, scores and orders passages.

Vector leg: nearest by cosine, exactly or through the space's HNSW index. Lexical leg: Okapi BM25 (Robertson and
Zaragoza 2009, k1 and b below) over the words' own tsvector, with the inverse document frequency of Lucene. Candidates
are taken rare words first until about CANDIDATES rows are reached, so the cost does not grow with the corpus. Both
scores are computed for the union of the legs and joined by a convex combination (Bruch, Gai and Ingber 2022):

    score = W * cosine + (1 - W) * bm25 / (the BM25 that a passage holding every word of the question could reach)

Both parts lie in 0..1, so one threshold means the same for every question.
"""

from functools import cache

from sqlalchemy import TextClause, text

K1 = 1.2
B = 0.75
VECTOR_WEIGHT = 0.5
CANDIDATES = 300
LEG_LIMIT = 100
MOST_TERMS = 48
"""A page of text pasted as a question is searched by this many of its words."""

VISIBLE = """
    JOIN documents d ON d.id = c.document_id AND d.indexed_version = c.document_version
    WHERE c.tenant_id = :tenant
      AND (CAST(:user_id AS text) IS NULL OR d.owner_id IS NULL OR d.owner_id = :user_id)
      AND (CAST(:document_ids AS uuid[]) IS NULL OR c.document_id = ANY(:document_ids))
      AND (CAST(:collection AS text) IS NULL OR d.collection = :collection)
      AND (CAST(:lang AS text) IS NULL OR c.lang = :lang)
"""
"""Who may see a chunk, written once: the caller's tenant, their documents and the shared ones, the live version."""

SCOPE_SIZE = text(f"SELECT count(*) FROM (SELECT 1 FROM chunks c {VISIBLE} LIMIT :limit) AS scope")  # noqa: S608  constants

VECTOR_LEG = """
vector_leg AS MATERIALIZED (
    SELECT c.id
    FROM chunk_embeddings e JOIN chunks c ON c.id = e.chunk_id {visible}
      AND e.space_id = {space} AND :by_vector
    ORDER BY (e.embedding::halfvec({width}) <=> CAST(:embedding AS halfvec({width}))) {exact}
    LIMIT :leg_limit
),
"""

TEXT_LEG = """
corpus AS MATERIALIZED (
    SELECT greatest(coalesce(sum(d.chunk_count), 0), 1)::float8 AS chunks,
           greatest(coalesce(sum(d.term_count)::float8 / nullif(sum(d.chunk_count), 0), 1), 1) AS mean_length
    FROM documents d WHERE d.tenant_id = :tenant AND d.indexed_version IS NOT NULL
),
words AS MATERIALIZED (
    SELECT u.lexeme, plainto_tsquery('simple', u.lexeme) AS query
    FROM unnest(to_tsvector(CAST(:config AS regconfig), CASE WHEN :by_text THEN :question ELSE '' END)) AS u
    ORDER BY u.positions[1] LIMIT :most_terms
),
frequencies AS MATERIALIZED (
    SELECT w.lexeme, w.query,
           (SELECT count(*) FROM chunks c WHERE c.tenant_id = :tenant AND c.terms @@ w.query) AS found
    FROM words w
),
weights AS MATERIALIZED (
    SELECT f.lexeme, f.query, f.found,
           ln(1 + greatest(corpus.chunks - f.found, 0) / (f.found + 0.5) + 0.5 / (f.found + 0.5)) AS idf,
           sum(f.found) OVER (ORDER BY f.found, f.lexeme) - f.found AS rarer
    FROM frequencies f, corpus
),
best AS MATERIALIZED (SELECT nullif(sum(idf), 0) * (:k1 + 1) AS bm25 FROM weights),
text_leg AS MATERIALIZED (
    SELECT c.id
    FROM (SELECT string_agg(query::text, ' | ')::tsquery AS query
          FROM weights WHERE found > 0 AND rarer < :candidates) AS chosen,
         chunks c {visible}
      AND c.terms @@ chosen.query
    LIMIT :candidates * 2
),
"""

SCORED = """
scored AS (
    SELECT c.id, c.document_id, c.document_version, c.chunk_index, c.page, c.char_start, c.char_end, c.content,
           c.lang, d.title,
           CASE WHEN :by_vector
                THEN 1 - (e.embedding::halfvec({width}) <=> CAST(:embedding AS halfvec({width}))) END AS cosine,
           coalesce((
               SELECT sum(w.idf * tf.n * (:k1 + 1) / (tf.n + :k1 * (1 - :b + :b * c.term_count / corpus.mean_length)))
               FROM unnest(c.terms) AS u JOIN weights w ON w.lexeme = u.lexeme,
                    LATERAL (SELECT array_length(u.positions, 1)::float8 AS n) AS tf
           ) / best.bm25, 0) AS lexical
    FROM (SELECT id FROM vector_leg UNION SELECT id FROM text_leg) AS candidates
    JOIN chunks c ON c.id = candidates.id
    JOIN documents d ON d.id = c.document_id
    LEFT JOIN chunk_embeddings e ON e.chunk_id = c.id AND e.space_id = {space},
    corpus, best
)
SELECT *, CASE WHEN :by_vector AND :by_text THEN :vector_weight * greatest(cosine, 0) + (1 - :vector_weight) * lexical
               WHEN :by_vector THEN greatest(cosine, 0)
               ELSE lexical END AS score
FROM scored ORDER BY score DESC, id LIMIT :top_k
"""


@cache
def hybrid_statement(space_id: int, width: int, *, exact: bool) -> TextClause:
    """Integers of our own are written into it: the planner matches an index over a cast to literals only.

    `+ 0` keeps the planner from the HNSW index, which it would take even where an exact scan is better.
    """
    parts = {"space": int(space_id), "width": int(width), "visible": VISIBLE, "exact": "+ 0" if exact else ""}
    return text("WITH " + (VECTOR_LEG + TEXT_LEG + SCORED).format(**parts))
