import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.schemas.common import Page, Response

GroupBy = Literal["day", "model", "user", "key", "session"]


def plain(amount: Decimal) -> str:
    """All digits and no more: no exponent, no zeros at the end."""
    digits = f"{amount:f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


Money = Annotated[
    Decimal,
    PlainSerializer(plain, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["0.00042"]}),
]
"""Exact: as a string, never as a float."""


def _as_written(value: object) -> object:
    """`2026-11-26` and nothing else that could be read as a day."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise PydanticCustomError("invalid_value", "It must be a day like 2026-11-26.")
    return value


Day = Annotated[date, BeforeValidator(_as_written)]


class UsageSum(Response):
    turns: int = Field(description="Answers that a language model was asked for.")
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost: Money | None = Field(description="US dollars, exactly; null when no price was known for any of it.")
    unpriced_tokens: int = Field(description="Of the tokens; no price was known for them when they were used.")
    estimated_turns: int = Field(description="Of the turns; the provider gave no numbers for them.")


class UsageGroup(UsageSum):
    group: str | None = Field(
        description="The day, model, user, key's id or session's id; null for sessions that were deleted and for "
        "what was asked without a key."
    )


class UsageReport(Page[UsageGroup]):
    """Days are UTC's. Tokens and money of deleted sessions are still in it."""

    group_by: GroupBy
    since: date = Field(serialization_alias="from")
    until: date = Field(serialization_alias="to", description="Included.")
    overall: UsageSum


class TokensLeft(Response):
    limit: int
    used: int
    reserved: int = Field(description="Held by answers that are being written.")
    left: int


class CostLeft(Response):
    """US dollars."""

    limit: Money
    used: Money
    reserved: Money = Field(description="Held by answers that are being written.")
    left: Money


class LimitOut(Response):
    """What is left of a day or a month."""

    scope: Literal["tenant", "user", "key"]
    scope_id: str = Field(description="The id of the tenant, the user or the key.")
    period: Literal["day", "month"]
    resets_at: datetime = Field(description="When the period ends: at midnight in UTC, by the database's clock.")
    tokens: TokensLeft | None = Field(description="Null when they are not limited.")
    cost: CostLeft | None = Field(description="Null when it is not limited.")


class LimitsOut(Response):
    items: list[LimitOut] = Field(description="Empty when nothing is limited.")
