"""What a run of the ingestion leaves when an earlier one has left something."""

from uuid import UUID

from sqlalchemy import text

from tests.conftest import Tenant

LONG = "\n\n".join(f"Paragraph {i} about tea, rice and the monsoon. " * 12 for i in range(20))


async def chunk_rows(tenant: Tenant, document_id: str) -> list[tuple[int, bytes]]:
    select = text("SELECT chunk_index, content_hash FROM chunks WHERE document_id = :id ORDER BY chunk_index")
    async with tenant.runtime.owner.connect() as connection:
        return [(row[0], row[1]) for row in await connection.execute(select, {"id": document_id})]


async def run_again(tenant: Tenant, document_id: str, disturb: str) -> None:
    """Puts the document back to before its last step, disturbs what was stored, and queues it anew."""
    async with tenant.runtime.owner.begin() as connection:
        await connection.execute(text(disturb), {"id": document_id})
        back = text("UPDATE documents SET status = 'queued', indexed_version = NULL WHERE id = :id")
        await connection.execute(back, {"id": document_id})
    async with tenant.runtime.uow(tenant.caller) as uow:
        await uow.jobs.enqueue("document.ingest", {"document_id": document_id, "version": 1})
    assert (await tenant.ended(document_id))["status"] == "ready"


async def test_goes_on_where_it_stopped(tenant: Tenant) -> None:
    document = await tenant.add_text(LONG)
    before = await chunk_rows(tenant, document["id"])
    assert len(before) > 4
    select = text("SELECT id FROM chunks WHERE document_id = :id AND chunk_index = 0")
    async with tenant.runtime.owner.connect() as connection:
        first: UUID = (await connection.execute(select, {"id": document["id"]})).scalar_one()
    await run_again(tenant, document["id"], "DELETE FROM chunks WHERE document_id = :id AND chunk_index > 1")
    assert await chunk_rows(tenant, document["id"]) == before
    async with tenant.runtime.owner.connect() as connection:
        assert (await connection.execute(select, {"id": document["id"]})).scalar_one() == first


async def test_starts_over_when_what_is_there_was_cut_differently(tenant: Tenant) -> None:
    document = await tenant.add_text(LONG)
    before = await chunk_rows(tenant, document["id"])
    other = (
        "UPDATE chunks SET content_hash = decode(repeat('00', 32), 'hex') WHERE document_id = :id AND chunk_index = 1"
    )
    await run_again(tenant, document["id"], other)
    assert await chunk_rows(tenant, document["id"]) == before


async def test_no_words_are_left_waiting_for_their_index(tenant: Tenant) -> None:
    await tenant.add_text(LONG)
    async with tenant.runtime.owner.connect() as connection:
        pages = await connection.execute(text("SELECT gin_clean_pending_list('ix_chunks_terms')"))
        assert pages.scalar_one() == 0


async def test_counts_fit_the_rows(tenant: Tenant) -> None:
    document = await tenant.add_text(LONG)
    assert document["chunks"] == len(await chunk_rows(tenant, document["id"]))
    sums = text("""
        SELECT d.term_count, (SELECT sum(c.term_count) FROM chunks c WHERE c.document_id = d.id),
               (SELECT count(*) FROM chunk_embeddings e JOIN chunks c ON c.id = e.chunk_id WHERE c.document_id = d.id)
        FROM documents d WHERE d.id = :id
    """)
    async with tenant.runtime.owner.connect() as connection:
        terms, summed, embedded = (await connection.execute(sums, {"id": document["id"]})).one()
    assert terms == summed > 0
    assert embedded == document["chunks"]
