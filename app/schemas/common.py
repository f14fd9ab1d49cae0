"""Shapes that every noun shares: lists, problems, and text that PostgreSQL can hold."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.languages import LANGUAGES

T = TypeVar("T")
MAX_LIMIT = 200
MAX_METADATA_CHARS = 65_536
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
"""RFC 3339, 5.6."""
SURROGATE = re.compile(r"[\ud800-\udfff]")
VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Anything but white space, controls and what Unicode lists as Default_Ignorable_Code_Point."""


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
    """PostgreSQL's text type holds no U+0000, and UTF-8 no lone surrogate."""
    if "\x00" in value:
        raise PydanticCustomError("invalid_character", "U+0000 is not allowed in text.")
    if not value.isascii() and SURROGATE.search(value):
        raise PydanticCustomError("invalid_unicode", "Text must be valid Unicode.")
    return value


def storable_json(value: dict[str, Any]) -> dict[str, Any]:
    """The same for every string inside a JSON object; an explicit stack, so depth costs no recursion."""
    stack: list[Any] = [value]
    room = MAX_METADATA_CHARS
    while stack:
        item = stack.pop()
        room -= len(item) if isinstance(item, str) else 1
        if room < 0:
            raise PydanticCustomError("too_long", "It is too long.", {"max_length": MAX_METADATA_CHARS})
        if isinstance(item, str):
            storable(item)
        elif isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return value


def known_language(code: str) -> str:
    if code not in LANGUAGES:
        raise PydanticCustomError("unsupported_language", "This language is not supported.")
    return code


def is_blank(value: str) -> bool:
    """Nothing to see: white space, controls, zero-width and other invisible characters only."""
    return not VISIBLE.search(value)


def not_blank(value: str) -> str:
    if is_blank(value):
        raise PydanticCustomError("empty_content", "It must not be empty.")
    return value


def spelled_as_ours(value: object) -> object:
    """Ids have one spelling: no braces, no `urn:uuid:`, lower case."""
    if isinstance(value, str) and not ID.fullmatch(value):
        raise PydanticCustomError("not_allowed", "It must be an id as this service writes them.", {"id": True})
    return value


def moment(value: object) -> object:
    """In UTC. A number says neither unit nor zone; near the ends of the calendar UTC has no such year."""
    if not isinstance(value, str | datetime):
        raise PydanticCustomError("wrong_type", "It must be a text as RFC 3339 has it.")
    try:
        if isinstance(value, str):
            if not MOMENT.fullmatch(value):
                raise ValueError
            value = datetime.fromisoformat(value.upper())
        return value.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise PydanticCustomError("invalid_value", "It must be a moment as RFC 3339 has it.") from exc


Text = Annotated[str, AfterValidator(storable)]
"""A string that can be stored."""
FilledText = Annotated[str, AfterValidator(storable), AfterValidator(not_blank)]
"""A string that can be stored and shows something."""
Metadata = Annotated[dict[str, Any], AfterValidator(storable_json)]
Id = Annotated[UUID, BeforeValidator(spelled_as_ours)]
Moment = Annotated[AwareDatetime, BeforeValidator(moment)]
"""A time in a request: every field that takes one has this type."""


def page(items: Sequence[T], *, total: int, skip: int, limit: int, next_cursor: str | None) -> Page[T]:
    return Page(items=list(items), total=total, skip=skip, limit=limit, next_cursor=next_cursor)
