from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.common import FilledText, Id, Metadata, Request, Response, Text
from app.schemas.search import Lang, Source

Sender = Literal["user", "assistant", "system"]


class SourceIn(Request):
    """A passage that was used for a message made elsewhere."""

    n: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = Field(
        None, description="Default: its place in the list."
    )
    document_id: Id | None = None
    document_version: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = None
    chunk_id: Id | None = None
    chunk_index: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] | None = None
    title: Annotated[Text, Field(max_length=500)] = ""
    page: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] | None = None
    char_start: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] | None = None
    char_end: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] | None = None
    text: Annotated[Text, Field(max_length=20_000)]
    score: Annotated[float, Field(strict=True, allow_inf_nan=False)] = 0.0
    lang: Lang | None = None
    url: Annotated[Text, Field(max_length=2000)] | None = None


class MessageCreate(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sender": "assistant",
                    "content": "You get 20 days of leave a year.",
                    "sources": [
                        {
                            "title": "Handbook",
                            "page": 12,
                            "text": "Employees get 20 days of leave.",
                            "score": 0.8,
                        }
                    ],
                }
            ]
        }
    )

    sender: Sender
    content: Annotated[FilledText, Field(max_length=65_536)]
    lang: Lang | None = None
    context_metadata: Metadata | None = Field(None, description="What your system knows about the message.")
    sources: list[SourceIn] = Field(default_factory=list, max_length=100)


class Citation(Response):
    n: int
    start: int = Field(description="Code points in `content`.")
    end: int
    document_id: UUID | None = None
    document_version: int | None = None
    chunk_id: UUID | None = None
    page: int | None = Field(None, description="From 1; null where the format has no pages.")
    char_start: int | None = Field(
        None, description="Code points into the document's extracted text: what bears the sentence out."
    )
    char_end: int | None = None


class MessageOut(Response):
    id: UUID
    session_id: UUID
    turn_id: UUID | None
    seq: int = Field(description="1, 2, 3... in the session, without gaps.")
    sender: Sender
    content: str
    lang: str | None
    status: Literal["completed", "cancelled", "failed", "interrupted"]
    llm_used: bool | None = Field(description="Null for messages that no turn made.")
    fallback_reason: str | None
    finish_reason: str | None
    sources: list[Source]
    citations: list[Citation] | None
    context_metadata: dict[str, Any] | None
    usage: dict[str, Any] | None
    created_at: datetime
