"""Who is asking. Goes into every service method and every unit of work."""

from dataclasses import dataclass, field, replace
from uuid import UUID

from app.core.idempotency import Claim

DEFAULT_TENANT = UUID("00000000-0000-7000-8000-000000000001")
"""The tenant that every installation has from its first migration on."""


ADMIN = "admin"
SCOPES: dict[str, frozenset[str]] = {
    "user": frozenset({"chat", "ingest"}),
    ADMIN: frozenset({"chat", "ingest", "admin"}),
}
"""What a user of this role may do."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`user_id` None acts for the whole tenant, as an API key does; a user sees only what is theirs."""

    tenant_id: UUID
    user_id: str | None = None
    role: str = "user"
    scopes: frozenset[str] = field(default_factory=frozenset)
    key_id: UUID | None = None
    family_id: UUID | None = field(default=None, compare=False)
    """The login that a user's token came from."""
    expires_at: float | None = field(default=None, compare=False)
    """When the token ends, in seconds since 1970; None for a key."""
    claim: Claim | None = field(default=None, compare=False)
    """Set for a request that must be carried out once; see services/idempotency.py."""
    system: bool = False
    """The service itself, for all tenants at once: it reaches few tables, and no conversation; see docs/tenancy.md."""

    @property
    def owner_id(self) -> str | None:
        """Whose the documents are that they upload; None is everybody's in the tenant."""
        return None if self.role == ADMIN else self.user_id

    def for_user(self, user_id: str) -> "Caller":
        """Seeing no more than this user does; who is a user already stays themselves."""
        return replace(self, user_id=user_id) if self.user_id is None else self

    @property
    def principal(self) -> str:
        """A stable name for limits and logs; holds no secret."""
        return f"key:{self.key_id}" if self.key_id else f"user:{self.tenant_id}:{self.user_id}"


def tenant_caller(tenant_id: UUID) -> Caller:
    """The service itself, working for one tenant: jobs and the command line."""
    return Caller(tenant_id=tenant_id, role="service", scopes=frozenset({"chat", "ingest", "admin"}))


def whole_tenant(caller: Caller) -> Caller:
    """The same, for what concerns everybody in the tenant: what all have spent, for instance."""
    return caller if caller.user_id is None else replace(caller, user_id=None)


SYSTEM = Caller(DEFAULT_TENANT, role="system", system=True)
"""For what belongs to the installation: the queue, embedding spaces. What it puts into the queue is the default
tenant's."""


def user_caller(tenant_id: UUID, user_id: UUID, role: str, *, family_id: UUID | None = None) -> Caller:
    return Caller(tenant_id, user_id=str(user_id), role=role, scopes=SCOPES[role], family_id=family_id)
