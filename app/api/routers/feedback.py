from fastapi import APIRouter

from app.api.bodies import JSON_BYTES
from app.api.deps import ChatCaller, IdPath, RuntimeDep, parse_id
from app.api.guard import GuardedRoute
from app.schemas.feedback import FeedbackIn, FeedbackOut
from app.services.feedback import message_not_found

router = APIRouter(
    prefix="/api/v1/messages/{message_id}/feedback",
    tags=["messages"],
    route_class=GuardedRoute,
    max_body_size=JSON_BYTES,
)


@router.put("", operation_id="feedback_put", summary="Rate an answer; the last word counts")
async def put(runtime: RuntimeDep, caller: ChatCaller, message_id: IdPath, body: FeedbackIn) -> FeedbackOut:
    id_ = parse_id(message_id, message_not_found())
    return FeedbackOut.model_validate(await runtime.feedback.put(caller, id_, body))
