"""What people say about an answer."""

from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Invalid, NotFound
from app.db.uow import UowFactory
from app.models import Feedback
from app.schemas.feedback import FeedbackIn


def message_not_found() -> NotFound:
    return NotFound("message_not_found", "There is no such message.")


class FeedbackService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def put(self, caller: Caller, message_id: UUID, request: FeedbackIn) -> Feedback:
        """What was said before about this answer is replaced. NotFound, Invalid(not_an_answer)."""
        async with self._uow(caller) as uow:
            message = await uow.messages.get(message_id)
            if message is None:
                raise message_not_found()
            if message["sender"] != "assistant":
                raise Invalid("not_an_answer", "Only an assistant's message can be rated.")
            return await uow.feedback.put(message_id, request.model_dump())
