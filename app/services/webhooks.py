"""Webhooks after the Standard Webhooks specification: who is told, what they are told, and the signature.

What is to be told becomes jobs in the transaction that made it true; each attempt to deliver is one run of a job.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from datetime import UTC
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.core.logging import get_logger
from app.core.version import VERSION
from app.db.uow import UnitOfWork, UowFactory
from app.models import Document, Webhook
from app.providers.targets import TargetRefused
from app.providers.webhooks import WebhookFailed, WebhookSender
from app.repositories.paging import Paging
from app.schemas.webhooks import Event, WebhookCreate
from app.services.idempotency import once

DELIVER = "webhook.deliver"
MOST_WEBHOOKS = 20
ATTEMPTS = 8
PROMPT = 50
AFTER_OTHERS = 200
"""A receiver that does not answer holds its worker for seconds: documents must not wait behind it."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins, not one
SECRET_BYTES = 32
log = get_logger(__name__)


def webhook_not_found() -> NotFound:
    return NotFound("webhook_not_found", "There is no such webhook.")


class WebhookService:
    def __init__(self, uow: UowFactory, sender: WebhookSender) -> None:
        self._uow = uow
        self._sender = sender

    async def create(self, caller: Caller, request: WebhookCreate) -> Webhook:
        try:
            await self._sender.check(request.url)
        except TargetRefused as exc:
            raise Invalid(exc.code, exc.detail, pointer="/url") from exc
        webhook = Webhook(id=new_id(), url=request.url, events=[*dict.fromkeys(request.events)], secret=new_secret())
        async with self._uow(caller) as uow, once(uow) as answer:
            if await uow.webhooks.count() >= MOST_WEBHOOKS:
                raise Conflict("too_many_webhooks", f"There may be {MOST_WEBHOOKS} webhooks at most.")
            await uow.audit.record("webhook.create", "webhook", webhook.id)
            return answer.keep(await uow.webhooks.create(webhook), webhook.id)

    async def get(self, caller: Caller, webhook_id: UUID) -> Webhook:
        async with self._uow(caller) as uow:
            webhook = await uow.webhooks.get(webhook_id)
        if webhook is None:
            raise webhook_not_found()
        return webhook

    async def list_page(self, caller: Caller, paging: Paging) -> tuple[list[Webhook], int, str | None]:
        async with self._uow(caller) as uow:
            return await uow.webhooks.list_page(paging)

    async def delete(self, caller: Caller, webhook_id: UUID) -> None:
        """Messages that are on their way are dropped at their next attempt."""
        async with self._uow(caller) as uow:
            deleted = await _delete(uow, webhook_id)
            if deleted:
                await uow.audit.record("webhook.delete", "webhook", webhook_id)
        if not deleted:
            raise webhook_not_found()

    async def deliver(self, caller: Caller, payload: dict[str, Any]) -> None:
        """One attempt; nothing when the webhook is gone. WebhookFailed when the message did not arrive."""
        webhook_id = UUID(payload["webhook_id"])
        async with self._uow(caller) as uow:
            webhook = await uow.webhooks.get(webhook_id)
        if webhook is None:
            return
        body = message_body(payload)
        headers = message_headers(webhook.secret, payload["message_id"], body)
        try:
            status = await self._sender.deliver(webhook.url, headers, body)
        except WebhookFailed as exc:
            await self._note(caller, webhook_id, None, exc.code)
            raise
        if status == 410:
            async with self._uow(caller) as uow:
                await _delete(uow, webhook_id)
            log.info("webhook.gone", webhook_id=str(webhook_id))
        elif 200 <= status < 300:
            await self._note(caller, webhook_id, status, None)
            log.info("webhook.delivered", webhook_id=str(webhook_id), message_id=payload["message_id"], status=status)
        else:
            refused = WebhookFailed("webhook_status", "The receiver did not answer with 2xx.")
            await self._note(caller, webhook_id, status, refused.code)
            raise refused

    async def _note(self, caller: Caller, webhook_id: UUID, status: int | None, error: str | None) -> None:
        async with self._uow(caller) as uow:
            await uow.webhooks.note_attempt(webhook_id, status=status, error=error)


async def _delete(uow: UnitOfWork, webhook_id: UUID) -> bool:
    await uow.idempotency.forget(webhook_id)  # it holds the secret
    return await uow.webhooks.delete(webhook_id)


async def announce(uow: UnitOfWork, document: Document, event: Event) -> None:
    """One job for each of the tenant's webhooks that wants the event, in the caller's transaction."""
    message_id = str(new_id())
    for webhook in await uow.webhooks.list_wanting(event):
        payload = {
            "webhook_id": str(webhook.id),
            "message_id": message_id,
            "type": event,
            "timestamp": document.updated_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "data": _data(document, ready=event == "document.ready"),
        }
        priority = PROMPT if webhook.last_error is None else AFTER_OTHERS
        await uow.jobs.enqueue(DELIVER, payload, priority=priority, max_attempts=ATTEMPTS)


def _data(document: Document, *, ready: bool) -> dict[str, Any]:
    """Ids and numbers; what is in the document is for those who may read it."""
    return {
        "document_id": str(document.id),
        "external_id": document.external_id,
        "version": document.version,
        "status": document.status,
        "error_code": document.error_code,
        "chunks": document.chunk_count if ready else None,
        "pages": document.page_count if ready else None,
    }


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def message_body(payload: dict[str, Any]) -> bytes:
    message = {name: payload[name] for name in ("type", "timestamp", "data")}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def message_headers(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """The id is that of the event, the time and the signature are those of the attempt."""
    timestamp = str(int(time.time()))
    return {
        "Content-Type": "application/json",
        "User-Agent": f"ragchat/{VERSION}",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"
