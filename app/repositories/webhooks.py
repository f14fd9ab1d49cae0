from uuid import UUID

from sqlalchemy import delete, func, select, update

from app.models import Tenant, Webhook
from app.repositories.base import Repository
from app.repositories.paging import Paging


class WebhookRepository(Repository):
    async def create(self, webhook: Webhook) -> Webhook:
        webhook.tenant_id = self._caller.tenant_id
        self._session.add(webhook)
        await self._session.flush()
        await self._session.refresh(webhook)
        return webhook

    async def count(self) -> int:
        """How many the tenant has; nobody else adds one before this transaction ends."""
        tenant = select(Tenant.id).where(Tenant.id == self._caller.tenant_id)
        await self._session.execute(tenant.with_for_update(key_share=True))
        return await self._count(select(Webhook.id).where(self._mine(Webhook)))

    async def get(self, webhook_id: UUID) -> Webhook | None:
        statement = select(Webhook).where(Webhook.id == webhook_id, self._mine(Webhook))
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def list_page(self, paging: Paging) -> tuple[list[Webhook], int, str | None]:
        """Newest first: (rows, total, next cursor)."""
        statement = select(Webhook).where(self._mine(Webhook))
        return await self._newest(statement, Webhook, paging)

    async def list_wanting(self, event: str) -> list[Webhook]:
        statement = select(Webhook).where(self._mine(Webhook), Webhook.events.contains([event])).order_by(Webhook.id)
        return [*(await self._session.execute(statement)).scalars()]

    async def note_attempt(self, webhook_id: UUID, *, status: int | None, error: str | None) -> None:
        statement = update(Webhook).where(Webhook.id == webhook_id, self._mine(Webhook))
        values = {"last_status": status, "last_error": error, "last_attempt_at": func.now()}
        await self._session.execute(statement.values(values))

    async def delete(self, webhook_id: UUID) -> bool:
        statement = delete(Webhook).where(Webhook.id == webhook_id, self._mine(Webhook)).returning(Webhook.id)
        return (await self._session.execute(statement)).scalar_one_or_none() is not None
