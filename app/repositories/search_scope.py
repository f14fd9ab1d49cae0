"""What is asked before a search: how large its scope is; and how its statements are planned and scan."""

from functools import cache

from sqlalchemy import TextClause, text

from app.repositories.search_sql import FILTERS

PREPARE = text("""
SELECT known.chunks, set_config('hnsw.ef_search', :ef_search, true), set_config('hnsw.max_scan_tuples', '40000', true),
       set_config('hnsw.iterative_scan', CASE WHEN :whole_tenant AND known.chunks > vectors.indexed / 2
                                              THEN 'off' ELSE 'relaxed_order' END, true) AS scan,
       set_config('plan_cache_mode', CASE WHEN :one_plan AND known.chunks > CAST(:exact_limit AS bigint)
                                          THEN 'force_generic_plan' ELSE 'auto' END, true) AS plan
FROM (SELECT) AS one LEFT JOIN corpus_statistics known ON known.tenant_id = :tenant
LEFT JOIN LATERAL (
    SELECT i.reltuples AS indexed FROM pg_class i WHERE i.oid = to_regclass(:index) AND i.reltuples > 0
) AS vectors ON true
""")
"""How many chunks the tenant has, where that is known; and how the transaction searches. Of a large tenant one plan
fits every question, and making a plan takes as long as searching; a small scope wants its own. To be able to go on
behind the nearest, an iterative scan of the HNSW index takes a quarter longer: a tenant that has most of the vectors
does without."""
FURTHER = text("SET LOCAL hnsw.iterative_scan = relaxed_order")
NEAREST_ONLY = "off"
AUTO = "auto"
OWN_PLAN = text(f"SET LOCAL plan_cache_mode = {AUTO}")


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
