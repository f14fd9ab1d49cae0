from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field

from app.schemas.common import FilledText, Id, Request, Response, Text, known_language

Mode = Literal["hybrid", "vector", "text"]
Lang = Annotated[Text, Field(pattern=r"^[a-z]{2}$", description="ISO 639-1, e.g. `en`, `te`, `hi`.")]
KnownLang = Annotated[Lang, AfterValidator(known_language)]
"""One of those that documents and passages may have."""
TopK = Annotated[int, Field(strict=True, ge=1, le=50)]
DocumentIds = Annotated[
    list[Id],
    Field(min_length=1, max_length=100, description="These documents only. Leave it out for all: `[]` is refused."),
]


class Source(Response):
    """A passage, as search finds it and as answers cite it."""

    n: int = Field(description="The number that citations name.")
    document_id: UUID | None
    document_version: int | None = None
    chunk_id: UUID | None = None
    chunk_index: int | None = None
    title: str
    page: int | None = Field(None, description="From 1; null where the format has no pages.")
    char_start: int | None = Field(None, description="Code points into the document's extracted text.")
    char_end: int | None = None
    text: str | None = Field(description="Null once the document was deleted.")
    score: float = Field(description="What ordering and thresholds use, in 0..1.")
    lang: str | None = None
    url: str | None = None


class Filters(Request):
    """What narrows a search. No document at all is nothing to search, None is all of them."""

    document_ids: list[Id] | None = None
    collection: Annotated[Text, Field(max_length=255)] | None = None
    lang: KnownLang | None = None


class SearchFilters(Filters):
    document_ids: DocumentIds | None = None


class SearchRequest(Request):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "How many days of leave do I get?", "top_k": 5, "mode": "hybrid"}]}
    )

    query: Annotated[FilledText, Field(max_length=20_000)]
    top_k: TopK = 5
    mode: Mode = "hybrid"
    filters: SearchFilters = Field(default_factory=SearchFilters)


class SearchResponse(Response):
    items: list[Source]
    mode: Mode = Field(description="What was really used: `text` when the embedding model does not know the language.")
    exhausted: bool = Field(description="True when every passage was compared; false when an index was trusted.")
    timing: dict[str, Any] = Field(description="Milliseconds.")
