from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from app.schemas.common import Response

State = Literal["queued", "running", "done", "dead"]


class JobOut(Response):
    id: UUID
    tenant_id: UUID
    kind: str
    state: State
    priority: int
    attempts: int
    max_attempts: int
    created_at: datetime
    run_at: datetime
    lease_until: datetime | None
    worker: str | None = Field(validation_alias="locked_by")
    error_code: str | None
    finished_at: datetime | None
    payload: dict[str, Any]
