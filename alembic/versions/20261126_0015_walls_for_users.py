"""walls for users

Revision ID: 0015

Tables that belong to a tenant as a whole hold something of each of its users, too: what was answered to their requests,
what they did, that they are being erased. A transaction of a user saw all of it, and with it the secrets of webhooks.
"""

from collections.abc import Sequence

from alembic import op
from app.db.row_security import TENANT, USER, unless_a_user

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ADMIN = "(SELECT ragchat_admin())"
DIGEST = f"sha256(convert_to('user' || chr(10) || {TENANT} || chr(10) || {USER}, 'UTF8'))"
"""As app/core/pseudonyms.py makes it."""

# Whoever deletes something empties the answer that its creation left, also where a key of the tenant had created it.
ANSWERS = f"""
idempotency_keys.principal = 'user:' || {TENANT} || ':' || {USER}
OR EXISTS (SELECT FROM chat_sessions s WHERE s.id = idempotency_keys.subject_id)
OR EXISTS (SELECT FROM documents d WHERE d.id = idempotency_keys.subject_id AND (d.owner_id = {USER} OR {ADMIN}))
OR {ADMIN} AND EXISTS (SELECT FROM webhooks w WHERE w.id = idempotency_keys.subject_id)
OR {ADMIN} AND EXISTS (SELECT FROM api_keys k WHERE k.id = idempotency_keys.subject_id)
"""  # noqa: S608  constants
OWN = {
    "idempotency_keys": ANSWERS,
    "webhooks": ADMIN,
    "api_keys": f"api_keys.created_by::text = {USER} OR {ADMIN}",
    "erasures": f"erasures.user_id = {USER} OR erasures.user_digest = (SELECT {DIGEST}) OR {ADMIN}",
    "budgets": f"budgets.scope = 'user' AND budgets.scope_id = {USER}",
    "budget_reservations": f"budget_reservations.user_id = {USER}",
    "jobs": f"jobs.kind <> 'webhook.deliver' OR {ADMIN}",
}
DONE = f"audit_log.actor = 'user:' || {USER} OR audit_log.object_type = 'user' AND audit_log.object_id = {USER}"
OF_THE_TENANT = f"audit_log.tenant_id = {TENANT}"
AUDIT = (
    f"CREATE POLICY tenant_read ON audit_log FOR SELECT TO ragchat_app "
    f"USING ({OF_THE_TENANT} AND {unless_a_user(f'{DONE} OR {ADMIN}')})",
    f"CREATE POLICY tenant_add ON audit_log FOR INSERT TO ragchat_app WITH CHECK ({OF_THE_TENANT})",
)


def upgrade() -> None:
    for table, own in OWN.items():
        _alter(table, f"{table}.tenant_id = {TENANT} AND {unless_a_user(own)}")
    op.execute("DROP POLICY tenant ON audit_log")
    for policy in AUDIT:
        op.execute(policy)


def downgrade() -> None:
    for table in OWN:
        _alter(table, f"{table}.tenant_id = {TENANT}")
    op.execute("DROP POLICY tenant_read ON audit_log")
    op.execute("DROP POLICY tenant_add ON audit_log")
    op.execute(f"CREATE POLICY tenant ON audit_log TO ragchat_app USING ({OF_THE_TENANT}) WITH CHECK ({OF_THE_TENANT})")


def _alter(table: str, mine: str) -> None:
    op.execute(f"ALTER POLICY tenant ON {table} USING ({mine}) WITH CHECK ({mine})")
