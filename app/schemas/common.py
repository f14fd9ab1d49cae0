"""Shapes that every noun shares: lists, problems, and text that PostgreSQL can hold."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

T = TypeVar("T")
MAX_LIMIT = 200


class Request(BaseModel):
    """What a client sends. Unknown fields are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Response(BaseModel):
    """What a client gets. Clients must ignore fields that they do not know."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[T]):
    items: list[T]
    total: int = Field(description="How many there are in all, under the same filters.")
    skip: int = Field(description="How many were left out before the first item; 0 when a cursor was used.")
    limit: int
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class ProblemError(BaseModel):
    pointer: str = Field(description="JSON pointer (RFC 6901) to the part that is wrong.", examples=["/top_k"])
    code: str
    detail: str


class Problem(BaseModel):
    """RFC 9457. `code` is a stable word for programs."""

    type: str = Field(examples=["/problems/not_found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str
    instance: str
    code: str = Field(examples=["not_found"])
    request_id: str
    errors: list[ProblemError] | None = None


def storable(value: str) -> str:
    """PostgreSQL's text type holds no U+0000."""
    if "\x00" in value:
        raise PydanticCustomError("invalid_character", "U+0000 is not allowed in text.")
    return value


def storable_json(value: dict[str, Any]) -> dict[str, Any]:
    """The same for every string inside a JSON object; an explicit stack, so depth costs no recursion."""
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            storable(item)
            if not item.isascii() and any("\ud800" <= c <= "\udfff" for c in item):
                raise PydanticCustomError("invalid_unicode", "Lone surrogates are not allowed in text.")
        elif isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return value


def is_blank(value: str) -> bool:
    """Nothing to see: white space and zero-width characters only."""
    return not value.strip(" \t\r\n\f\v\u00a0\u200b\u200c\u200d\u2060\ufeff")


def not_blank(value: str) -> str:
    if is_blank(value):
        raise PydanticCustomError("empty_content", "It must not be empty.")
    return value


Text = Annotated[str, AfterValidator(storable)]
"""A string that can be stored."""
FilledText = Annotated[str, AfterValidator(storable), AfterValidator(not_blank)]
"""A string that can be stored and shows something."""
Metadata = Annotated[dict[str, Any], AfterValidator(storable_json)]


def page(items: Sequence[T], *, total: int, skip: int, limit: int, next_cursor: str | None) -> Page[T]:
    return Page(items=list(items), total=total, skip=skip, limit=limit, next_cursor=next_cursor)
