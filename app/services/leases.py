"""The right to write what a job is about."""

from dataclasses import dataclass
from uuid import UUID

from app.core.errors import RagchatError
from app.db.uow import UnitOfWork


class LeaseLost(RagchatError):
    """Another worker has this job now, or what it is about is gone or replaced; nothing more may be written."""

    default_code = "lease_lost"


@dataclass(frozen=True, slots=True)
class Lease:
    job_id: UUID
    token: UUID

    async def hold(self, uow: UnitOfWork) -> None:
        """Keeps the job ours until this transaction ends. LeaseLost when it is not."""
        if not await uow.jobs.holds_lease(self.job_id, self.token):
            raise LeaseLost
