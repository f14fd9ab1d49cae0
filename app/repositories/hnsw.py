"""DDL of the HNSW index of a space. Numbers only are put into the statements; DDL takes no bound parameters."""

INDEX_PREFIX = "ix_chunk_embeddings_hnsw_"
HNSW_M = 16
HNSW_EF_CONSTRUCTION = 128
MOST_DIMENSIONS = 4000
"""What pgvector indexes of a halfvec."""


def index_name(space_id: int) -> str:
    return f"{INDEX_PREFIX}{int(space_id)}"


def create_index(space_id: int, width: int, *, concurrently: bool = False) -> str:
    return (
        f"CREATE INDEX {'CONCURRENTLY ' if concurrently else ''}IF NOT EXISTS {index_name(space_id)} "
        f"ON chunk_embeddings USING hnsw ((embedding::halfvec({int(width)})) halfvec_cosine_ops) "
        f"WITH (m = {HNSW_M}, ef_construction = {HNSW_EF_CONSTRUCTION}) WHERE space_id = {int(space_id)}"
    )


def drop_index(space_id: int) -> str:
    return f"DROP INDEX CONCURRENTLY IF EXISTS {index_name(space_id)}"
