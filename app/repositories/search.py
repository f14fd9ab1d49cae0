"""One search: what is asked of the database, and how. In a transaction of the driver's own; see `app.db.searching`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from app.core.caller import Caller
from app.repositories import halfvec, search_scope, search_sql
from app.repositories.hnsw import index_name

_ASYNCPG = PGDialect_asyncpg()  # type: ignore[no-untyped-call]


class Driver(Protocol):
    """What is asked of a transaction of asyncpg. Rows through a session would cost half as much again."""

    async def fetch(self, query: str, *args: Any) -> list[Any]: ...

    async def execute(self, query: str) -> None: ...


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """One question to the index. `embedding` None leaves the vector leg out, `by_text` False the lexical one."""

    question: str
    """In the form that `search_form` makes of passages, too."""
    config: str
    """Text-search configuration of the question's language."""
    space_id: int
    width: int
    fetched: int
    embedding: npt.ArrayLike | None = None
    by_text: bool = True
    context: str = ""
    """What the question refers to, in the same form: these words weigh less."""
    document_ids: list[UUID] | None = None
    collection: str | None = None
    lang: str | None = None

    def shape(self, filters: frozenset[str], *, exact: bool, all_first: bool) -> search_sql.Shape:
        """Of few kinds, so that the statements are few."""
        by_vector = self.embedding is not None
        leg_limit = search_sql.LEG_STEP * -(-self.fetched // search_sql.LEG_STEP)
        return search_sql.Shape(
            self.space_id, self.width, by_vector, self.by_text, exact, all_first, leg_limit, filters
        )  # fmt: skip

    @property
    def vector(self) -> bytes:
        """The embedding, which there must be, as a parameter."""
        return halfvec.encoded(np.asarray(self.embedding))

    @property
    def ef_search(self) -> int:
        per_hit = search_sql.EF_SEARCH_BESIDE_WORDS if self.by_text else search_sql.EF_SEARCH_PER_HIT
        return min(per_hit * self.fetched, search_sql.MOST_EF_SEARCH)


def _enough(rows: list[dict[str, Any]], query: SearchQuery) -> bool:
    """As many hits as were asked for, and as many that are near: words alone could fill the list."""
    return len(rows) >= query.fetched and rows[0]["near"] >= query.fetched


class SearchRepository:
    """Within the caller's tenant, and of what is a user's own within what that user may see."""

    def __init__(self, driver: Driver, caller: Caller, known_sizes: search_scope.KnownSizes) -> None:
        self._driver = driver
        self._caller = caller
        self._known_sizes = known_sizes

    async def search(self, query: SearchQuery, *, exact_limit: int) -> tuple[list[dict[str, Any]], bool]:
        """(hits, best first; whether the search was exact). Never fewer hits than exist."""
        sizes, way = await self._prepare(query, exact_limit)
        if query.embedding is None:
            return await self._hybrid(query, exact=True), True
        if not await self._is_small(query, sizes.chunks, exact_limit):
            rows = await self._hybrid(query, exact=False)
            if not _enough(rows, query) and way.nearest_only:
                await self._driver.execute(search_scope.FURTHER)
                rows = await self._hybrid(query, exact=False)
            if _enough(rows, query):
                return rows, False
        if way.one_plan:
            await self._driver.execute(search_scope.OWN_PLAN)
        return await self._hybrid(query, exact=True, all_first=way.all_first), True

    async def _prepare(self, query: SearchQuery, exact_limit: int) -> tuple[search_scope.Sizes, search_scope.Way]:
        """The transaction searches this way from now on."""
        sizes = await self._sizes_of(query.space_id)
        way = search_scope.choose_way(
            sizes, ef_search=query.ef_search, whole_tenant=not self._filters(query), wide=self._is_wide(query),
            exact_limit=exact_limit,
        )  # fmt: skip
        await self._driver.execute(way.settings)
        return sizes, way

    async def _sizes_of(self, space_id: int) -> search_scope.Sizes:
        tenant = self._caller.tenant_id
        sizes = self._known_sizes.get((tenant, space_id))
        if sizes is None:
            values = {"tenant": tenant, "index": index_name(space_id)}
            [found] = await self._fetch(search_scope.SIZES, values)
            sizes = search_scope.Sizes(found["chunks"], found["indexed"])
            self._known_sizes.put((tenant, space_id), sizes)
        return sizes

    def _is_wide(self, query: SearchQuery) -> bool:
        return self._filters(query).keys() <= search_scope.WIDE

    async def background(self, query: SearchQuery) -> tuple[int, float]:
        """(how many passages the tenant has, their mean cosine to the question). The query has an embedding."""
        statement = search_sql.background_statement(query.space_id, query.width)
        values = {"tenant": self._caller.tenant_id, "embedding": query.vector}
        [found] = await self._fetch(statement, values)
        return found["chunks"], found["cosine"]

    async def _is_small(self, query: SearchQuery, tenant_size: int | None, limit: int) -> bool:
        """Whether the scope has `limit` chunks at the most."""
        filters = self._filters(query)
        if self._is_wide(query) and tenant_size is not None and (tenant_size <= limit or not filters):
            return tenant_size <= limit
        statement = search_scope.scope_statement(frozenset(filters), limit + 1)
        values = {"tenant": self._caller.tenant_id, **filters}
        [found] = await self._fetch(statement, values)
        return bool(found["chunks"] <= limit)

    async def _hybrid(self, query: SearchQuery, *, exact: bool, all_first: bool = False) -> list[dict[str, Any]]:
        statement, values = self.statement(query, exact=exact, all_first=all_first)
        return await self._fetch(statement, values)

    def statement(
        self, query: SearchQuery, *, exact: bool, all_first: bool = False
    ) -> tuple[TextClause, dict[str, Any]]:
        """The statement of this question, and its parameters."""
        filters = self._filters(query)
        values = {"tenant": self._caller.tenant_id, "fetched": query.fetched, **filters}
        if query.embedding is not None:
            values["embedding"] = query.vector
        if query.by_text:
            values |= {"question": query.question, "context": query.context, "config": query.config}
        return search_sql.hybrid_statement(query.shape(frozenset(filters), exact=exact, all_first=all_first)), values

    def _filters(self, query: SearchQuery) -> dict[str, Any]:
        """Those that narrow the scope."""
        given = {
            "user_id": self._caller.user_id,
            "document_ids": query.document_ids,
            "collection": query.collection,
            "lang": query.lang,
        }
        return {name: value for name, value in given.items() if value is not None}

    async def _fetch(self, statement: TextClause, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        sql, names = _numbered(statement)
        return [dict(row) for row in await self._driver.fetch(sql, *(values[name] for name in names))]


@cache
def _numbered(statement: TextClause) -> tuple[str, tuple[str, ...]]:
    """With $1, $2 ... for the parameters of these names."""
    compiled = statement.compile(dialect=_ASYNCPG)
    return str(compiled), tuple(compiled.positiontup or ())
