"""The scope of a search: who may see what, how large it is, and so how statements are planned and scan."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from sqlalchemy import TextClause, text

from app.core.recent import Recent

FILTERS = {
    "user_id": "(d.owner_id IS NULL OR d.owner_id = :user_id)",
    "document_ids": "d.id = ANY(CAST(:document_ids AS uuid[]))",
    "collection": "d.collection = :collection",
    "lang": "c.lang = :lang",
}
"""What narrows the scope, by the parameter that does it."""
WIDE = frozenset({"user_id"})
"""What one person may see is mostly about as much as the tenant has."""
MINE = "{table}.tenant_id = :tenant"
MOSTLY_MINE = "CASE WHEN {table}.tenant_id = :tenant THEN 1 ELSE 0 END <> 0"
"""The same, for a large tenant: the planner, which knows how large a usual one is, takes it for true of nearly all rows
and goes through the index of vectors."""


def visible(filters: Collection[str], mine: str) -> str:
    """Who may see a chunk, written once: the caller's tenant, their documents and the shared ones, the live version."""
    clauses = " AND ".join([mine.format(table="c"), *(FILTERS[name] for name in sorted(filters))])
    return f"JOIN documents d ON d.id = c.document_id AND d.indexed_version = c.document_version WHERE {clauses}"


def narrowed(filters: Collection[str]) -> str:
    """The same for `ragchat_find_passages`, which takes tenant and user from the transaction."""
    kinds = {"document_ids": "uuid[]", "collection": "text", "lang": "text"}
    return ", ".join(f"CAST(:{name} AS {kind})" if name in filters else "NULL" for name, kind in kinds.items())


SIZES = text("""
SELECT known.chunks, vectors.indexed
FROM (SELECT) AS one LEFT JOIN corpus_statistics known ON known.tenant_id = :tenant
LEFT JOIN LATERAL (
    SELECT i.reltuples::bigint AS indexed FROM pg_class i WHERE i.oid = to_regclass(:index) AND i.reltuples > 0
) AS vectors ON true
""")
REMEMBERED_SECONDS = 10.0
MOST_REMEMBERED = 10_000
FURTHER = "SET LOCAL hnsw.iterative_scan = relaxed_order;"
OWN_PLAN = "SET LOCAL plan_cache_mode = auto;"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many chunks the tenant has, where statistics tell, and how many vectors its space's index has."""

    chunks: int | None
    vectors: int | None


KnownSizes = Recent[tuple[UUID, int], Sizes]
"""By tenant and space. They choose how a search is made; there are never fewer hits than exist."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a transaction searches. `nearest_only`: a scan of the HNSW index ends with the nearest `ef_search`; to be
    able to go on behind them takes it a quarter longer, and a tenant that has most of the vectors does without.
    `one_plan`: of a large tenant one plan fits every question, and making a plan takes as long as searching; a small
    scope wants its own. `all_first`: an exact scan compares all that a small tenant has, and asks of the nearest who
    may see them; of a large one a person may see little."""

    ef_search: int
    nearest_only: bool
    one_plan: bool
    all_first: bool

    @property
    def settings(self) -> str:
        """For this transaction alone."""
        return (
            f"SET LOCAL hnsw.ef_search = {self.ef_search};SET LOCAL hnsw.max_scan_tuples = 40000;"
            f"SET LOCAL hnsw.iterative_scan = {'off' if self.nearest_only else 'relaxed_order'};"
            f"SET LOCAL plan_cache_mode = {'force_generic_plan' if self.one_plan else 'auto'};"
        )


def choose_way(sizes: Sizes, *, ef_search: int, whole_tenant: bool, wide: bool, exact_limit: int) -> Way:
    """`whole_tenant`: nothing narrows the scope; `wide`: it is about as large as the tenant's."""
    chunks, vectors = sizes.chunks, sizes.vectors
    return Way(
        ef_search,
        nearest_only=whole_tenant and chunks is not None and vectors is not None and 2 * chunks > vectors,
        one_plan=wide and chunks is not None and chunks > exact_limit,
        all_first=wide and chunks is not None and chunks <= exact_limit,
    )


@cache
def scope_statement(filters: frozenset[str], limit: int) -> TextClause:
    """How many chunks the caller may see at most, `limit` standing for more: by what documents say of themselves, since
    reading the chunks would take longer than the search."""
    clauses = " AND ".join(["d.tenant_id = :tenant", *(FILTERS[name] for name in sorted(filters - {"lang"}))])
    documents = f"SELECT sum(d.chunk_count) FROM documents d WHERE d.indexed_version IS NOT NULL AND {clauses}"  # noqa: S608
    counts = [f"coalesce(({documents}), 0)", str(int(limit))]
    if "lang" in filters:
        chunks = f"SELECT FROM chunks c WHERE c.tenant_id = :tenant AND {FILTERS['lang']} LIMIT {int(limit)}"
        counts.append(f"(SELECT count(*) FROM ({chunks}) AS few)")  # noqa: S608
    return text(f"SELECT least({', '.join(counts)}) AS chunks")
