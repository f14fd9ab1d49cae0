from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from app.models import Document, DocumentVersion
from app.repositories.base import Repository, like_pattern
from app.repositories.paging import Paging

CHANNEL = "ragchat_documents"
"""Told the id of every document that has changed, when the change is committed."""

REQUEUE = text("""
WITH chosen AS MATERIALIZED (
    SELECT id, tenant_id, version, filename, kind, sha256, size_bytes, storage_key FROM documents
    WHERE tenant_id = :tenant AND id = ANY(:ids) AND status IN ('ready', 'failed')
    ORDER BY id FOR UPDATE
), kept AS (
    INSERT INTO document_versions (document_id, tenant_id, version, filename, kind, sha256, size_bytes, storage_key)
    SELECT id, tenant_id, version, filename, kind, sha256, size_bytes, storage_key FROM chosen
), changed AS (
    UPDATE documents d SET version = c.version + 1, status = 'queued', error_code = NULL, error_detail = NULL,
           progress_done = 0, progress_total = 0, updated_at = now()
    FROM chosen c WHERE d.id = c.id RETURNING d.id, d.version
)
SELECT id, version, pg_notify(:channel, id::text) FROM changed
""")

PRUNE_VERSIONS = text("""
WITH removed AS (
    DELETE FROM document_versions v USING documents d
    WHERE v.tenant_id = :tenant AND v.document_id = :document AND d.id = v.document_id
      AND v.version IS DISTINCT FROM d.indexed_version
      AND NOT EXISTS (SELECT 1 FROM message_sources s
                      WHERE s.document_id = v.document_id AND s.document_version = v.version)
    RETURNING v.document_id, v.version, v.storage_key
)
SELECT DISTINCT r.storage_key FROM removed r
WHERE NOT EXISTS (SELECT 1 FROM documents d WHERE d.storage_key = r.storage_key)
  AND NOT EXISTS (
    SELECT 1 FROM document_versions k WHERE k.storage_key = r.storage_key
    AND NOT EXISTS (SELECT 1 FROM removed x WHERE x.document_id = k.document_id AND x.version = k.version)
  )
""")

_notified = func.pg_notify(CHANNEL, cast(Document.id, Text))


class DocumentRepository(Repository):
    def _owned(self) -> ColumnElement[bool]:
        """A user sees their own documents and those of the whole tenant."""
        condition = self._mine(Document)
        if self._caller.user_id is not None:
            condition = and_(condition, or_(Document.owner_id.is_(None), Document.owner_id == self._caller.user_id))
        return condition

    def _writable(self) -> ColumnElement[bool]:
        """A user changes their own alone; an admin the shared ones, too; a key whatever the tenant has."""
        condition = self._mine(Document)
        if self._caller.user_id is not None:
            theirs = Document.owner_id == self._caller.user_id
            shared = Document.owner_id.is_(None)
            condition = and_(condition, or_(theirs, shared) if self._caller.owner_id is None else theirs)
        return condition

    async def insert(self, values: dict[str, Any]) -> Document | None:
        """None when there is one with the same bytes, or the same external id, already."""
        statement = (
            insert(Document)
            .values(**values, tenant_id=self._caller.tenant_id, owner_id=self._caller.owner_id)
            .on_conflict_do_nothing()
            .returning(Document, _notified)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def find_same_bytes(self, sha256: bytes, collection: str | None) -> Document | None:
        statement = select(Document).where(
            self._writable(),
            Document.sha256 == sha256,
            Document.owner_id.is_not_distinct_from(self._caller.owner_id),
            Document.collection.is_not_distinct_from(collection),
            Document.external_id.is_(None),
        )
        return (await self._session.execute(statement.with_for_update())).scalar_one_or_none()

    async def find_external(self, external_id: str, collection: str | None) -> Document | None:
        statement = select(Document).where(
            self._writable(),
            Document.external_id == external_id,
            Document.owner_id.is_not_distinct_from(self._caller.owner_id),
            Document.collection.is_not_distinct_from(collection),
        )
        return (await self._session.execute(statement.with_for_update())).scalar_one_or_none()

    async def get(self, document_id: UUID, *, for_update: bool = False, writable: bool = False) -> Document | None:
        statement = select(Document).where(Document.id == document_id, self._writable() if writable else self._owned())
        if for_update:
            statement = statement.with_for_update()
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def known(self, document_ids: list[UUID]) -> set[UUID]:
        """Those of the ids that the caller may read."""
        statement = select(Document.id).where(Document.id.in_(document_ids), self._owned())
        return {*(await self._session.execute(statement)).scalars()}

    async def some(self, document_ids: set[UUID]) -> list[Document]:
        """Those of the ids that the caller may read."""
        statement = select(Document).where(Document.id.in_(document_ids), self._owned())
        return [*(await self._session.execute(statement)).scalars()] if document_ids else []

    async def list_page(
        self,
        *,
        paging: Paging,
        status: str | None = None,
        collection: str | None = None,
        q: str | None = None,
    ) -> tuple[list[Document], int, str | None]:
        """Newest first: (rows, total, next cursor)."""
        statement = select(Document).where(self._owned())
        if status is not None:
            statement = statement.where(Document.status == status)
        if collection is not None:
            statement = statement.where(Document.collection == collection)
        if q is not None:
            statement = statement.where(Document.title.ilike(like_pattern(q), escape="\\"))
        return await self._newest(statement, Document, paging)

    async def update(self, document_id: UUID, version: int, values: dict[str, Any]) -> Document | None:
        """Only while `version` is the newest: work on older bytes must leave no trace."""
        statement = (
            update(Document)
            .where(Document.id == document_id, Document.version == version, self._mine(Document))
            .values(**values, updated_at=func.now())
            .returning(Document, _notified)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def ended(self, *, collection: str | None, status: str | None, after: UUID, limit: int) -> list[UUID]:
        """Ids, in their order, of the caller's documents that are ready or have failed."""
        statement = select(Document.id).where(self._writable(), Document.status.in_(("ready", "failed")))
        if collection is not None:
            statement = statement.where(Document.collection == collection)
        if status is not None:
            statement = statement.where(Document.status == status)
        statement = statement.where(Document.id > after).order_by(Document.id).limit(limit)
        return [*(await self._session.execute(statement)).scalars()]

    async def requeue(self, document_ids: list[UUID]) -> list[tuple[UUID, int]]:
        """A new version of the same bytes for those that are ready or have failed: (id, version)."""
        values = {"tenant": self._caller.tenant_id, "ids": document_ids, "channel": CHANNEL}
        return [(row.id, row.version) for row in await self._session.execute(REQUEUE, values)]

    async def is_current(self, document_id: UUID, version: int) -> bool:
        """Whether `version` is still the newest. Locks the row against deletion until the transaction ends."""
        statement = select(Document.id).where(
            Document.id == document_id, Document.version == version, self._mine(Document)
        )
        found = await self._session.execute(statement.with_for_update(read=True, key_share=True))
        return found.scalar_one_or_none() is not None

    async def add_progress(self, document_id: UUID, version: int, done: int) -> bool:
        """False when `version` is not the newest any more."""
        values = {"progress_done": Document.progress_done + done}
        return await self.update(document_id, version, values) is not None

    async def owned_by(self, user_id: str, *, after: UUID, limit: int) -> list[Document]:
        """The user's own, in the order of ids."""
        statement = select(Document).where(self._writable(), Document.owner_id == user_id, Document.id > after)
        return [*(await self._session.execute(statement.order_by(Document.id).limit(limit))).scalars()]

    async def keep_alive(self, document_ids: set[UUID]) -> set[UUID]:
        """Those that exist; none of them can be deleted before this transaction has ended."""
        statement = select(Document.id).where(Document.id.in_(document_ids), self._mine(Document))
        found = await self._session.execute(statement.with_for_update(read=True, key_share=True))
        return {*found.scalars()}

    async def keep_version(self, document: Document) -> None:
        """The version that is about to be superseded stays readable for answers that cite it."""
        columns = ("tenant_id", "filename", "kind", "sha256", "size_bytes", "storage_key", "version")
        values = {name: getattr(document, name) for name in columns} | {"document_id": document.id}
        await self._session.execute(insert(DocumentVersion).values(values))

    async def version(self, document_id: UUID, version: int) -> DocumentVersion | None:
        """A superseded one. The caller must have loaded the document as theirs."""
        statement = select(DocumentVersion).where(
            DocumentVersion.document_id == document_id,
            DocumentVersion.version == version,
            self._mine(DocumentVersion),
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def prune_versions(self, document_id: UUID) -> list[str]:
        """Removes superseded versions that neither search nor an answer needs; returns the storage keys that nothing
        refers to any more."""
        values = {"tenant": self._caller.tenant_id, "document": document_id}
        return [*(await self._session.execute(PRUNE_VERSIONS, values)).scalars()]

    async def storage_keys(self, document_id: UUID) -> set[str]:
        """Of its superseded versions. The caller must have loaded the document as theirs."""
        superseded = select(DocumentVersion.storage_key).where(
            DocumentVersion.document_id == document_id, self._mine(DocumentVersion)
        )
        return {*(await self._session.execute(superseded)).scalars()}

    async def delete(self, document_id: UUID) -> str | None:
        """Its storage key, or None when it is not the caller's to delete. Chunks and vectors go with it."""
        statement = delete(Document).where(Document.id == document_id, self._writable())
        found = await self._session.execute(statement.returning(Document.storage_key, _notified))
        return found.scalar_one_or_none()
