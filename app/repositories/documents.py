from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from app.models import Document
from app.repositories.base import Repository, like_pattern
from app.repositories.paging import Paging, decode_position, encode_cursor


class DocumentRepository(Repository):
    def _owned(self) -> ColumnElement[bool]:
        """A user sees their own documents and those of the whole tenant."""
        condition = self._mine(Document)
        if self._caller.user_id is not None:
            condition = and_(condition, or_(Document.owner_id.is_(None), Document.owner_id == self._caller.user_id))
        return condition

    def _writable(self) -> ColumnElement[bool]:
        condition = self._mine(Document)
        if self._caller.user_id is not None:
            condition = and_(condition, Document.owner_id == self._caller.user_id)
        return condition

    async def insert(self, values: dict[str, Any]) -> Document | None:
        """None when there is one with the same bytes, or the same external id, already."""
        statement = (
            insert(Document)
            .values(**values, tenant_id=self._caller.tenant_id, owner_id=self._caller.user_id)
            .on_conflict_do_nothing()
            .returning(Document)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def find_same_bytes(self, sha256: bytes, collection: str | None) -> Document | None:
        statement = select(Document).where(
            self._writable(),
            Document.sha256 == sha256,
            Document.owner_id.is_not_distinct_from(self._caller.user_id),
            Document.collection.is_not_distinct_from(collection),
            Document.external_id.is_(None),
        )
        return (await self._session.execute(statement.with_for_update())).scalar_one_or_none()

    async def find_external(self, external_id: str, collection: str | None) -> Document | None:
        statement = select(Document).where(
            self._writable(),
            Document.external_id == external_id,
            Document.owner_id.is_not_distinct_from(self._caller.user_id),
            Document.collection.is_not_distinct_from(collection),
        )
        return (await self._session.execute(statement.with_for_update())).scalar_one_or_none()

    async def get(self, document_id: UUID, *, for_update: bool = False) -> Document | None:
        statement = select(Document).where(Document.id == document_id, self._owned())
        if for_update:
            statement = statement.with_for_update()
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def known(self, document_ids: list[UUID]) -> set[UUID]:
        """Those of the ids that the caller may read."""
        statement = select(Document.id).where(Document.id.in_(document_ids), self._owned())
        return {*(await self._session.execute(statement)).scalars()}

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
        total = await self._count(statement)
        if paging.cursor is not None:
            moment, last_id = decode_position(paging.cursor)
            statement = statement.where(tuple_(Document.created_at, Document.id) < tuple_(moment, last_id))
        statement = statement.order_by(Document.created_at.desc(), Document.id.desc())
        found = await self._session.execute(statement.offset(paging.skip).limit(paging.limit + 1))
        rows = [*found.scalars()]
        more = len(rows) > paging.limit
        rows = rows[: paging.limit]
        return rows, total, encode_cursor(rows[-1].created_at, rows[-1].id) if more else None

    async def update(self, document_id: UUID, version: int, values: dict[str, Any]) -> Document | None:
        """Only while `version` is the newest: work on older bytes must leave no trace."""
        statement = (
            update(Document)
            .where(Document.id == document_id, Document.version == version, self._mine(Document))
            .values(**values, updated_at=func.now())
            .returning(Document)
            .execution_options(populate_existing=True)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

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

    async def delete(self, document_id: UUID) -> str | None:
        """Its storage key, or None when it is not the caller's to delete. Chunks and vectors go with it."""
        statement = delete(Document).where(Document.id == document_id, self._writable()).returning(Document.storage_key)
        return (await self._session.execute(statement)).scalar_one_or_none()
