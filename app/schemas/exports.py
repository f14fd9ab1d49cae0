"""What an export holds beside the shapes that the API has anyway."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator

from app.schemas.common import Response
from app.schemas.documents import DocumentOut
from app.schemas.feedback import FeedbackOut
from app.schemas.messages import MessageOut
from app.schemas.usage import Money

Network = Annotated[str, BeforeValidator(str)]
"""As text, whatever the driver makes of it."""


class ExportedMessage(MessageOut):
    feedback: FeedbackOut | None


class ExportedTurn(Response):
    id: UUID
    status: str
    finish_reason: str | None
    error_code: str | None
    request: dict[str, Any]
    trace: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None


class ExportedDocument(DocumentOut):
    content_url: str


class ExportedUsage(Response):
    created_at: datetime
    session_id: UUID | None
    turn_id: UUID | None
    model: str
    input_tokens: int
    output_tokens: int
    cost: Money | None
    estimated: bool


class AuditEntryOut(Response):
    """A row of the audit log."""

    at: datetime
    actor: str
    action: str
    object_type: str | None
    object_id: str | None
    outcome: str
    ip: Network | None
    request_id: str | None


class ExportedEvent(AuditEntryOut):
    """The same as the user may see it: of others who acted no more than what they are."""
