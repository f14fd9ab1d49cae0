from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.common import FilledText, Metadata, Request, Response
from app.schemas.search import KnownLang

Status = Literal["queued", "reading", "chunking", "embedding", "ready", "failed"]


class DocumentFields(Request):
    """What can be said about a document beside its bytes."""

    title: Annotated[FilledText, Field(max_length=500)] | None = Field(None, description="Default: the file's name.")
    external_id: Annotated[FilledText, Field(max_length=255)] | None = Field(
        None, description="Your own id. Other bytes under the same id become a new version of the document."
    )
    collection: Annotated[FilledText, Field(max_length=255)] | None = None
    lang: KnownLang | None = None


class DescribedDocument(DocumentFields):
    metadata: Metadata = Field(default_factory=dict)


class DocumentText(DescribedDocument):
    """A document given as text instead of a file."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"title": "Opening hours", "text": "We are open from 9 to 6, Monday to Saturday."}]
        }
    )

    text: FilledText = Field(description="Up to the upload limit.")


class Progress(Response):
    stage: Status
    done: int
    total: int


class DocumentError(Response):
    code: str
    detail: str


class DocumentOut(Response):
    id: UUID
    title: str
    filename: str
    kind: str
    status: Status
    progress: Progress
    error: DocumentError | None
    sha256: str
    size_bytes: int
    version: int
    indexed_version: int | None = Field(description="The version that search sees; null before the first is ready.")
    external_id: str | None
    collection: str | None
    lang: str | None
    pages: int | None
    chunks: int | None
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    indexed_at: datetime | None


class LinkOut(Response):
    url: str = Field(
        description="Opens the file for whoever has it. Relative to this service, or absolute when an S3 bucket keeps "
        "the files."
    )
    expires_at: datetime


class ChunkOut(Response):
    id: UUID
    chunk_index: int
    document_version: int
    page: int | None
    char_start: int
    char_end: int
    heading: str | None
    text: str = Field(validation_alias="content")
    token_count: int
    lang: str
