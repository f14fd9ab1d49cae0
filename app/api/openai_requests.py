"""From OpenAI's request bodies to what the services are asked."""

from typing import Any

from pydantic_core import PydanticCustomError

from app.api.openai_errors import unsupported_parameter
from app.core.errors import Invalid
from app.rag.conversation import Said
from app.schemas.common import is_blank, storable
from app.schemas.openai import CompletionMessage, CompletionRequest
from app.services.completions import Conversation

LONGEST_MESSAGE = 65_536
"""Of what was said before; code points, as for a message that is stored on its own."""
MOST_INPUTS = 2048
TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Kinds of parts that are text, and the name it has in them."""


def conversation(body: CompletionRequest) -> Conversation:
    """The last message of the user is the question, and what people and assistants said before it the history.
    Instructions of the client (`system`, `developer`) and results of tools are left out, and so is what follows."""
    if body.n not in (None, 1):
        raise unsupported_parameter("One answer at a time is all that this service gives.", "/n")
    asked = max((at for at, message in enumerate(body.messages) if message.role == "user"), default=None)
    if asked is None:
        raise Invalid("missing_question", "There is no message of the user.", pointer="/messages")
    texts = [_text(message, at) for at, message in enumerate(body.messages[: asked + 1])]
    before = [
        Said("user" if message.role == "user" else "assistant", text)
        for message, text in zip(body.messages[:asked], texts[:-1], strict=True)
        if message.role in {"user", "assistant"} and not is_blank(text)
    ]
    return Conversation(
        model=body.model,
        question=texts[-1],
        before=before,
        user=None if body.user is None or is_blank(body.user) else body.user,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        pointer=f"/messages/{asked}/content",
    )


def _text(message: CompletionMessage, at: int) -> str:
    pointer = f"/messages/{at}/content"
    content = message.content
    if content is None:
        return ""
    if isinstance(content, list):
        content = "\n".join(_part(part, f"{pointer}/{place}") for place, part in enumerate(content))
    text = _storable(content, pointer)
    if len(text) > LONGEST_MESSAGE:
        raise Invalid("too_long", f"It may have {LONGEST_MESSAGE} characters at most.", pointer=pointer)
    return text


def _part(part: Any, pointer: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    name = TEXT_PARTS.get(kind) if isinstance(kind, str) else None
    if name is None:
        raise Invalid("unsupported_content", "Only text is read here: no images, sounds or files.", pointer=pointer)
    return _storable(part.get(name), pointer)


def texts_to_embed(value: Any) -> list[str]:
    """One text or several. Invalid(unsupported_content) for token numbers: they belong to another vocabulary."""
    given = value if isinstance(value, list) else [value]
    if not 1 <= len(given) <= MOST_INPUTS:
        raise Invalid("invalid_request", f"It must have 1 to {MOST_INPUTS} texts.", pointer="/input")
    if any(isinstance(one, int | list) and not isinstance(one, bool) for one in given):
        raise Invalid("unsupported_content", "Send text; token numbers mean nothing to this model.", pointer="/input")
    texts = [_storable(one, "/input") for one in given]
    if any(is_blank(text) for text in texts):
        raise Invalid("empty_content", "A text is empty.", pointer="/input")
    return texts


def _storable(value: Any, pointer: str) -> str:
    if not isinstance(value, str):
        raise Invalid("invalid_request", "It must be text.", pointer=pointer)
    try:
        return storable(value)
    except PydanticCustomError as exc:
        raise Invalid(exc.type, exc.message(), pointer=pointer) from exc
