from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from app.schemas.common import Response


class ErasureOut(Response):
    """A receipt. It holds counts, and nothing that says who it was."""

    id: UUID
    status: Literal["erasing", "done"]
    requested_by: Literal["self", "admin", "operator"]
    requested_at: datetime
    finished_at: datetime | None
    counts: dict[str, int] = Field(description="What was removed so far, by kind; of usage records the name only.")


class ErasureRequested(ErasureOut):
    receipt_url: str | None = Field(
        description="Tells how far it is, without credentials; keep it. Null when somebody has asked before and was "
        "given it."
    )
