from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.common import Request, Response, Text

Rating = Literal["up", "down"]


class FeedbackIn(Request):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rating": "down", "reason": "outdated", "comment": "It is 30 days now."}]}
    )

    rating: Rating
    reason: Annotated[Text, Field(max_length=100)] | None = Field(None, description="A word of yours, to count by.")
    comment: Annotated[Text, Field(max_length=4000)] | None = None


class FeedbackOut(Response):
    message_id: UUID
    rating: Rating
    reason: str | None
    comment: str | None
    created_at: datetime
    updated_at: datetime
