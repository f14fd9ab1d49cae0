"""Runs on a connection handed in by app.db.migrate, or prints SQL with `alembic upgrade head --sql`."""

from sqlalchemy.sql.schema import SchemaItem

from alembic import context
from app.models import Base

HNSW_PREFIX = "ix_chunk_embeddings_hnsw_"


def include_object(_object: SchemaItem, name: str | None, type_: str, reflected: bool, _compare: object) -> bool:
    """The HNSW index of each embedding space is made when the space is opened, not by a migration."""
    return not (type_ == "index" and reflected and (name or "").startswith(HNSW_PREFIX))


def run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is None:
        context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
    else:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_object=include_object,
            compare_type=True,
            compare_server_default=True,
            transaction_per_migration=True,
        )
    with context.begin_transaction():
        if connection is not None:
            context.execute("SET LOCAL lock_timeout = '3s'")
        context.run_migrations()


run()
