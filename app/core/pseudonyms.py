"""How somebody is called where their name must not stay."""

import hashlib
from uuid import UUID

ERASED = "(erased)"
"""In the ledger, in the place of a user who was erased."""


def user_digest(tenant_id: UUID, user_id: str) -> bytes:
    return hashlib.sha256(f"user\n{tenant_id}\n{user_id}".encode()).digest()


def user_label(tenant_id: UUID, user_id: str) -> str:
    """Ids of ours as they are. What a calling system names its users may be an e-mail address: a digest, which
    whoever knows the name finds again."""
    try:
        return str(UUID(user_id))
    except ValueError:
        return f"sha256:{user_digest(tenant_id, user_id).hex()[:32]}"
