from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.common import FilledText, Metadata, Request, Response, Text

UserId = Annotated[FilledText, Field(max_length=255, description="The end user, as your own system names them.")]
Title = Annotated[Text, Field(max_length=500)]


class SessionCreate(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"user_id": "ravi", "title": "Leave policy", "metadata": {"channel": "whatsapp"}}]
        }
    )

    user_id: UserId | None = Field(
        None, description="Whose session it is. With an API key it is required; users may leave it out."
    )
    title: Title | None = None
    scenario_id: Annotated[Text, Field(max_length=255)] | None = None
    metadata: Metadata = Field(
        default_factory=dict, description="Anything of yours, up to 64 Ki characters; comes back as it is."
    )


class SessionUpdate(Request):
    """Fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Leave policy 2027", "is_favorite": True}]})

    title: Title | None = None
    is_favorite: Annotated[bool, Field(strict=True)] | None = None
    metadata: Metadata | None = None


class SessionOut(Response):
    id: UUID
    user_id: str
    title: str | None
    is_favorite: bool
    scenario_id: str | None
    metadata: dict[str, Any] = Field(validation_alias="metadata_")
    version: int = Field(description="Grows with each change; the ETag.")
    created_at: datetime
    updated_at: datetime
    last_activity_at: datetime
