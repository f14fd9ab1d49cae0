from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.schemas.common import FilledText, Request, Response


class ReindexRequest(Request):
    """Which documents; `{}` is all of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"collection": "handbooks"}]})

    collection: Annotated[FilledText, Field(max_length=255)] | None = None
    status: Literal["ready", "failed"] | None = Field(None, description="Others are queued or in work already.")


class ReindexStarted(Response):
    queued: int = Field(description="How many documents were queued.")
