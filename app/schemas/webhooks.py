from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.common import Request, Response, Text

Event = Literal["document.ready", "document.failed"]
EVENTS: tuple[Event, ...] = ("document.ready", "document.failed")


class WebhookCreate(Request):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://hooks.example.com/ragchat", "events": ["document.ready"]}]}
    )

    url: Annotated[Text, Field(max_length=2048, description="Gets a POST for each event; no redirects are followed.")]
    events: Annotated[list[Event], Field(min_length=1, max_length=2)] = Field(default_factory=lambda: [*EVENTS])


class WebhookOut(Response):
    id: UUID
    url: str
    events: list[str]
    last_status: int | None = Field(description="HTTP status that the last attempt got; null when it got none.")
    last_error: str | None = Field(description="Stable word; null when the last attempt arrived, or there was none.")
    last_attempt_at: datetime | None
    created_at: datetime


class WebhookCreated(WebhookOut):
    secret: str = Field(description="Verifies the signatures. Shown this once.", examples=["whsec_..."])
