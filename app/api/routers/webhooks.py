from functools import partial

from fastapi import APIRouter, Response, status

from app.api.bodies import JSON_BYTES
from app.api.deps import AdminCaller, IdPath, PagingDep, RuntimeDep, parse_id
from app.api.guard import GuardedRoute
from app.api.idempotency import OnceDep, answer_with
from app.models import Webhook
from app.schemas.common import Page, page
from app.schemas.webhooks import WebhookCreate, WebhookCreated, WebhookOut
from app.services.webhooks import webhook_not_found

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], route_class=GuardedRoute, max_body_size=JSON_BYTES)


@router.post(
    "", status_code=status.HTTP_201_CREATED, response_model=WebhookCreated, operation_id="webhooks_create",
    summary="Be told when a document is ready or has failed",
)  # fmt: skip
async def create(runtime: RuntimeDep, caller: AdminCaller, once: OnceDep, body: WebhookCreate) -> Response:
    return await once.answer(caller, partial(runtime.webhooks.create, request=body), _created, early=True)


def _created(webhook: Webhook) -> Response:
    location = f"/api/v1/webhooks/{webhook.id}"
    return answer_with(WebhookCreated.model_validate(webhook), 201, Location=location, Cache_Control="no-store")


@router.get("", operation_id="webhooks_list", summary="List webhooks, newest first")
async def list_(runtime: RuntimeDep, caller: AdminCaller, paging: PagingDep) -> Page[WebhookOut]:
    rows, total, cursor = await runtime.webhooks.list_page(caller, paging)
    items = [WebhookOut.model_validate(row) for row in rows]
    return page(items, total=total, skip=paging.skip, limit=paging.limit, next_cursor=cursor)


@router.get("/{webhook_id}", operation_id="webhooks_get", summary="Read a webhook and how its last delivery went")
async def get(runtime: RuntimeDep, caller: AdminCaller, webhook_id: IdPath) -> WebhookOut:
    return WebhookOut.model_validate(await runtime.webhooks.get(caller, parse_id(webhook_id, webhook_not_found())))


@router.delete(
    "/{webhook_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="webhooks_delete", summary="Delete a webhook"
)
async def delete(runtime: RuntimeDep, caller: AdminCaller, webhook_id: IdPath) -> None:
    await runtime.webhooks.delete(caller, parse_id(webhook_id, webhook_not_found()))
