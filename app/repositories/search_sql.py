"""The hybrid search: one statement that finds, scores and orders passages.

Vector leg: nearest by cosine, exactly or through the space's HNSW index. Lexical leg: Okapi BM25 (Robertson and
Zaragoza 2009, k1 and b below) with the inverse document frequency of Lucene. Its candidates are taken rare words first,
then where the rarest words meet, so that the cost does not grow with the corpus. Words whose passages were counted are
looked for together; an estimate may be wrong, and the passages of its word push no others out. Both scores are computed
for the union of the legs and joined by a convex combination (Bruch, Gai and Ingber 2022):

    score = W * cosine + (1 - W) * bm25 / (the BM25 that a passage holding every word of the question could reach)

Both parts lie in 0..1, so one threshold means the same for every question.

A statement holds only what its question needs: PostgreSQL keeps one plan for all values of its parameters, and that
plan cannot use an index behind `:x IS NULL OR ...`. Numbers of our own are written into it: an index over a cast is
matched by literals only, a LIMIT must be known, and a parameter beside an integer becomes one (1.2 was 1).

Under row-level security no index answers `terms @@ query`: PostgreSQL compares nothing by an operator that might tell
what it saw before it knows whose row it is. `ragchat_find_passages` and `ragchat_count_passages` (migrations 0014 and
0017) may see all rows, look at those of the transaction's tenant and user, and return ids, words and a number, no text.
"""

from dataclasses import dataclass
from functools import cache

from sqlalchemy import TextClause, text

from app.repositories.search_scope import MINE, MOSTLY_MINE, narrowed, visible

K1 = 0.9
B = 0.75
VECTOR_WEIGHT = 0.5
CONTEXT_WEIGHT = 0.5
"""Of words that the question does not hold itself: they come from the conversation before it."""
CANDIDATES = 200
LEG_STEP = 50
"""Legs are as deep as a multiple of this."""
EF_SEARCH_PER_HIT = 8
EF_SEARCH_BESIDE_WORDS = 4
"""The same where words search, too: half the time of that leg, and of the ten best passages of an exact search 0.998
instead of 0.999 (`benchmarks/search.py` at 100,000: English questions, whose words occur)."""
MOST_EF_SEARCH = 1000
"""pgvector's own limit."""
MOST_TERMS = 48
"""A page of text pasted as a question is searched by this many of its words."""
MEETING = 4
"""So many of the rarest words are looked for together."""
AVERAGED = 2_000
_MOST_FREQUENT = 32

_DISTANCE = "(e.embedding::halfvec({width}) <=> CAST(:embedding AS halfvec({width})))"
_DISTANCES = f"""
    SELECT c.id{{words}}, {_DISTANCE} AS distance
    FROM chunk_embeddings e JOIN chunks c ON c.id = e.chunk_id {{visible}}
      AND e.space_id = {{space}} AND {{mine}}
"""  # noqa: S608  constants

WORDS = ", c.terms, c.term_count"

NEAREST = f"""
vector_leg AS MATERIALIZED ({_DISTANCES} ORDER BY {_DISTANCE} LIMIT {{leg_limit}}),
"""

NEAREST_EXACTLY = f"""
{{leg}} AS MATERIALIZED (
    SELECT * FROM ({_DISTANCES} OFFSET 0) AS near ORDER BY distance LIMIT {{leg_limit}}
),
"""  # noqa: S608  constants
"""OFFSET 0 keeps the planner from the HNSW index, which it would take even where an exact scan is better, and from
sorting whole vectors."""

ALL_EXACTLY = f"""
{{leg}} AS MATERIALIZED (
    SELECT c.id, near.distance
    FROM (
        SELECT * FROM (
            SELECT e.chunk_id, {_DISTANCE} AS distance
            FROM chunk_embeddings e WHERE e.space_id = {{space}} AND {{mine}} OFFSET 0
        ) AS compared ORDER BY distance OFFSET 0
    ) AS near JOIN chunks c ON c.id = near.chunk_id {{visible}}
    ORDER BY near.distance LIMIT {{leg_limit}}
),
"""  # noqa: S608  constants
"""Of a tenant that is small, and of which nearly all may be seen."""

THEIR_WORDS = """
vector_leg AS MATERIALIZED (SELECT n.*, c.terms, c.term_count FROM nearest n JOIN chunks c ON c.id = n.id),
"""
"""Of those of an exact scan. It would take half as long again if it carried the words of all that it compares."""

CANDIDATES_BY_TEXT = """
corpus AS MATERIALIZED (
    SELECT s.chunks IS NOT NULL AS large, greatest(coalesce(s.chunks, counted.chunks), 1)::float8 AS chunks,
           greatest(coalesce(s.mean_length, counted.mean_length, 1), 1) AS mean_length
    FROM (SELECT) AS one
    LEFT JOIN corpus_statistics s ON s.tenant_id = :tenant
    CROSS JOIN LATERAL (
        SELECT sum(d.chunk_count) AS chunks, sum(d.term_count)::float8 / nullif(sum(d.chunk_count), 0) AS mean_length
        FROM documents d WHERE d.tenant_id = :tenant AND d.indexed_version IS NOT NULL AND s.chunks IS NULL
    ) AS counted
),
words AS MATERIALIZED (
    SELECT u.lexeme, max(u.weight) AS weight,
           ('''' || replace(replace(u.lexeme, '\\', '\\\\'), '''', '''''') || '''')::tsquery AS query
    FROM (
        SELECT lexeme, 1::float8 AS weight, positions[1]::integer AS place
        FROM unnest(to_tsvector(CAST(:config AS regconfig), :question))
        UNION ALL
        SELECT lexeme, {context_weight}, 100000 + positions[1]
        FROM unnest(to_tsvector(CAST(:config AS regconfig), :context))
    ) AS u
    GROUP BY u.lexeme ORDER BY min(u.place) LIMIT {most_terms}
),
frequencies AS MATERIALIZED (
    SELECT w.*, t.chunks IS NOT NULL AS estimated,
           coalesce(t.chunks, ragchat_count_passages(w.query, corpus.large)) AS found
    FROM words w CROSS JOIN corpus
    LEFT JOIN term_statistics t ON t.tenant_id = :tenant AND t.lexeme = w.lexeme
),
weights AS MATERIALIZED (
    SELECT f.lexeme, f.query, f.found, f.estimated,
           f.weight * ln(1 + greatest(corpus.chunks - f.found, 0) / (f.found + 0.5) + 0.5 / (f.found + 0.5)) AS idf,
           sum(f.found) OVER (ORDER BY f.found, f.lexeme) - f.found AS rarer,
           row_number() OVER (ORDER BY f.found = 0, f.found, f.lexeme) AS place
    FROM frequencies f, corpus
),
best AS MATERIALIZED (SELECT nullif(sum(idf), 0) * ({k1} + 1) AS bm25 FROM weights),
asked AS MATERIALIZED (
    SELECT string_agg(query::text, ' | ')::tsquery AS query FROM weights
    WHERE found > 0 AND rarer < {candidates}
    GROUP BY CASE WHEN estimated OR rarer + found > {candidates} THEN lexeme END
    UNION ALL
    SELECT string_agg(w.query::text, ' & ')::tsquery
    FROM generate_series(2, {meeting}) AS upto JOIN weights w ON w.found > 0 AND w.place <= upto
    WHERE (SELECT min(found) FROM weights WHERE found > 0) > {candidates}
    GROUP BY upto
),
candidates AS MATERIALIZED (
    SELECT DISTINCT ON (hit.id) hit.id, hit.terms, hit.term_count
    FROM corpus, asked, LATERAL ragchat_find_passages(asked.query, corpus.large, {narrowed}) AS hit
),
"""

LEXICAL = """coalesce((
    SELECT sum(w.idf * tf.n * ({k1} + 1) / (tf.n + {k1} * (1 - {b} + {b} * c.term_count / corpus.mean_length)))
    FROM weights w, LATERAL (
        SELECT width_bucket(ts_rank('{{1,1,1,1}}', c.terms, w.query), {frequency_bounds})::float8 AS n
    ) AS tf
    WHERE c.terms @@ w.query
) / best.bm25, 0)"""

TEXT_SCORES = """
text_leg AS MATERIALIZED (
    SELECT c.id, {lexical} AS lexical
    FROM candidates c, corpus, best
    ORDER BY lexical DESC, c.id LIMIT {leg_limit}
),
"""

OTHER_DISTANCE = f"(SELECT {_DISTANCE} FROM chunk_embeddings e WHERE e.chunk_id = t.id AND e.space_id = {{space}})"  # noqa: S608

JOINED = f"""
    SELECT id, c.distance,
           1 - coalesce(c.distance, {OTHER_DISTANCE}) AS cosine, coalesce(t.lexical, {{lexical}}) AS lexical
    FROM vector_leg c FULL JOIN text_leg t USING (id), corpus, best
"""  # noqa: S608  constants
"""What one leg alone has found gets the other's score, too."""
SCORED = {
    (True, True): JOINED,
    (True, False): "SELECT id, distance, 1 - distance AS cosine, 0::float8 AS lexical FROM vector_leg",
    (False, True): "SELECT id, NULL::float8 AS distance, NULL::float8 AS cosine, lexical FROM text_leg",
}
"""By (by_vector, by_text), as is SCORE."""
SCORE = {
    (True, True): "{weight} * greatest(cosine, 0) + (1 - {weight}) * lexical",
    (True, False): "greatest(cosine, 0)",
    (False, True): "lexical",
}

NEAR = "(SELECT count(*) FROM vector_leg)"

RANKED = """
scored AS MATERIALIZED ({scored}),
ranked AS (
    SELECT id, cosine, lexical, {score} AS score,
           CASE WHEN distance IS NOT NULL THEN rank() OVER (ORDER BY distance) END AS vector_rank,
           CASE WHEN lexical > 0 THEN rank() OVER (ORDER BY lexical DESC) END AS text_rank
    FROM scored ORDER BY score DESC, id LIMIT :fetched
)
SELECT r.*, {near} AS near, c.document_id, c.document_version, c.chunk_index, c.page, c.char_start, c.char_end,
       c.content, c.lang, d.title
FROM ranked r JOIN chunks c ON c.id = r.id AND {own} JOIN documents d ON d.id = c.document_id
ORDER BY r.score DESC, r.id
"""

BACKGROUND = """
SELECT s.chunks, -(s.centroid::halfvec({width}) <#> CAST(:embedding AS halfvec({width}))) AS cosine
FROM corpus_statistics s WHERE s.tenant_id = :tenant AND s.space_id = {space} AND s.centroid IS NOT NULL
UNION ALL
SELECT count(*), coalesce(-(avg(e.embedding)::halfvec({width}) <#> CAST(:embedding AS halfvec({width}))), 0)
FROM (
    SELECT e.embedding FROM chunk_embeddings e WHERE e.tenant_id = :tenant AND e.space_id = {space} LIMIT {averaged}
) AS e
LIMIT 1
"""
"""(how many passages, their mean cosine to the question), from the statistics where there are any."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a statement is written for. `filters`: the names in FILTERS that narrow the scope; `all_first` as in Way."""

    space_id: int
    width: int
    by_vector: bool
    by_text: bool
    exact: bool
    all_first: bool
    leg_limit: int
    filters: frozenset[str]


@cache
def hybrid_statement(shape: Shape) -> TextClause:
    """Parameters: tenant, fetched; embedding by vector; question, context, config by text; the filters'."""
    return text("WITH " + "".join(_parts(shape)).format(**_numbers(shape), **_scope(shape)))


def _parts(shape: Shape) -> list[str]:
    legs = shape.by_vector, shape.by_text
    ranked = RANKED.replace("{scored}", SCORED[legs]).replace("{score}", SCORE[legs])
    ranked = ranked.replace("{near}", NEAR if shape.by_vector else "NULL::bigint")
    parts = [_vector_leg(shape) * shape.by_vector, (CANDIDATES_BY_TEXT + TEXT_SCORES) * shape.by_text, ranked]
    return [part.replace("{lexical}", LEXICAL) for part in parts]


def _vector_leg(shape: Shape) -> str:
    """With the words of what it finds, if words are asked for."""
    if not shape.exact:
        return NEAREST.replace("{words}", WORDS * shape.by_text)
    scan = (ALL_EXACTLY if shape.all_first else NEAREST_EXACTLY).replace("{words}", "")
    if not shape.by_text:
        return scan.replace("{leg}", "vector_leg")
    return scan.replace("{leg}", "nearest") + THEIR_WORDS


def _scope(shape: Shape) -> dict[str, str]:
    mine = MINE if shape.exact else MOSTLY_MINE
    return {
        "visible": visible(shape.filters, mine),
        "mine": mine.format(table="e"),
        "own": MOSTLY_MINE.format(table="c"),
        "narrowed": narrowed(shape.filters),
    }


def _numbers(shape: Shape) -> dict[str, object]:
    return {
        "space": int(shape.space_id), "width": int(shape.width), "leg_limit": int(shape.leg_limit),
        "meeting": MEETING, "candidates": CANDIDATES, "most_terms": MOST_TERMS,
        "k1": _literal(K1), "b": _literal(B), "weight": _literal(VECTOR_WEIGHT),
        "context_weight": _literal(CONTEXT_WEIGHT), "frequency_bounds": frequency_bounds(),
    }  # fmt: skip


@cache
def background_statement(space_id: int, width: int) -> TextClause:
    return text(BACKGROUND.format(space=int(space_id), width=int(width), averaged=AVERAGED))


def frequency_bounds() -> str:
    """ts_rank of a single word with all weights 1 is the sum of 1/i^2 over its occurrences, divided by pi^2/6: it rises
    with each, so `width_bucket` over these bounds counts them. Several times faster than unnesting the tsvector."""
    total, bounds = 0.0, []
    for n in range(1, _MOST_FREQUENT + 1):
        total += 1 / n**2
        bounds.append(f"{total / 1.64493406685 - 0.0001 / n:.7f}")
    return f"CAST('{{{','.join(bounds)}}}' AS float8[])"


def _literal(value: float) -> str:
    return f"{value}::float8"
