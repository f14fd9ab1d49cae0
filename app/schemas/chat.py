from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.common import FilledText, Request, Response
from app.schemas.messages import MessageOut
from app.schemas.search import DocumentIds, Lang, TopK

TurnStatus = Literal["running", "completed", "cancelled", "failed", "interrupted"]
ClientMessageId = Annotated[FilledText, Field(max_length=128)]


class ChatRequest(Request):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"message": "How many days of leave do I get?", "top_k": 5, "lang": "en"}]}
    )

    message: FilledText
    use_rag: Annotated[bool, Field(strict=True)] = True
    top_k: TopK | None = Field(None, description="Passages to retrieve; default as the service is set.")
    lang: Lang | None = Field(None, description="Language of the answer; default: judged from the question's script.")
    document_ids: DocumentIds | None = None
    speak: Annotated[bool, Field(strict=True)] = Field(
        False, description="Speech is not built yet: the answer comes as text either way."
    )
    client_message_id: ClientMessageId | None = Field(
        None, description="The same id again returns the same turn, never a second one."
    )


class ChatAnswer(MessageOut):
    """The finished assistant message."""

    turn_id: UUID


class TurnOut(Response):
    id: UUID
    session_id: UUID
    status: TurnStatus
    user_message_id: UUID
    assistant_message_id: UUID | None
    finish_reason: str | None
    error_code: str | None
    created_at: datetime
    finished_at: datetime | None
