from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.common import FilledText, Moment, Request, Response

KeyScope = Literal["chat", "ingest", "admin"]


class ApiKeyCreate(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "WhatsApp bot", "scopes": ["chat"], "expires_at": "2028-01-01T00:00:00Z"}]
        }
    )

    name: Annotated[FilledText, Field(max_length=200)]
    scopes: Annotated[list[KeyScope], Field(min_length=1, max_length=3)] = Field(
        description="`chat`: sessions, questions, search, reading documents. `ingest`: adding and deleting them. "
        "`admin`: everything, users and keys too."
    )
    expires_at: Moment | None = Field(None, description="As RFC 3339 has it. Left out: it works until it is revoked.")


class ApiKeyOut(Response):
    id: UUID
    name: str
    prefix: str = Field(description="First characters, to tell keys apart.")
    scopes: list[str]
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    created_by: UUID | None = Field(description="The user who made it, or the key that made it; null for others.")
    created_at: datetime


class ApiKeyCreated(ApiKeyOut):
    key: str = Field(description="The key itself. Shown this once.", examples=["rgc_..."])
