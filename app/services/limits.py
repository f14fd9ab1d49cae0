"""What is limited, and what is said to whoever asks for more than is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from app.core.caller import Caller
from app.core.errors import RateLimited
from app.core.settings import Settings
from app.repositories.budgets import State, Wanted
from app.schemas.usage import CostLeft, LimitOut, TokensLeft

Scope = Literal["tenant", "user", "key"]
Period = Literal["day", "month"]
Unit = Literal["tokens", "cost"]
BUSY_SECONDS = 5.0
"""When to ask again while answers that are being written hold the rest."""
WHOSE: dict[Scope, str] = {"tenant": "The tenant's", "user": "The user's", "key": "The key's"}


@dataclass(frozen=True, slots=True)
class Limit:
    """Of every tenant, of every user of a tenant, or of every key."""

    scope: Scope
    period: Period
    unit: Unit
    most: Decimal


Applying = Mapping[Limit, str]
"""Limits, and the id of the tenant, user or key that each is about."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a call may use at most."""

    tokens: int
    cost: Decimal

    def of(self, unit: Unit) -> Decimal:
        return Decimal(self.tokens) if unit == "tokens" else self.cost


def limits_of(settings: Settings) -> tuple[Limit, ...]:
    """Those that are set."""
    known = (
        Limit("tenant", "day", "tokens", Decimal(settings.budget_tokens_per_day)),
        Limit("tenant", "month", "tokens", Decimal(settings.budget_tokens_per_month)),
        Limit("tenant", "month", "cost", settings.budget_cost_per_month),
        Limit("user", "day", "tokens", Decimal(settings.budget_user_tokens_per_day)),
        Limit("user", "month", "tokens", Decimal(settings.budget_user_tokens_per_month)),
        Limit("key", "day", "tokens", Decimal(settings.budget_key_tokens_per_day)),
        Limit("key", "month", "tokens", Decimal(settings.budget_key_tokens_per_month)),
    )
    return tuple(limit for limit in known if limit.most)


def applying(limits: Sequence[Limit], caller: Caller, user_id: str | None) -> Applying:
    ids = {"tenant": str(caller.tenant_id), "user": user_id, "key": str(caller.key_id) if caller.key_id else None}
    found = {limit: ids[limit.scope] for limit in limits}
    return {limit: scope_id for limit, scope_id in found.items() if scope_id is not None}


def wanted(limits: Applying) -> list[Wanted]:
    """Each counter once."""
    return [*dict.fromkeys(Wanted(limit.scope, scope_id, limit.period) for limit, scope_id in limits.items())]


def refusal_of(limits: Applying, states: Sequence[State], need: Need | None) -> RateLimited | None:
    """That of the limit which keeps the caller waiting longest. Without a need only what is used up refuses."""
    by_period = {(state.scope, state.period): state for state in states}
    refusals = [_refusal(limit, by_period[limit.scope, limit.period], need) for limit in limits]
    found = [refusal for refusal in refusals if refusal is not None]
    return max(found, key=lambda refusal: refusal.retry_after or 0, default=None)


def _refusal(limit: Limit, state: State, need: Need | None) -> RateLimited | None:
    used, held = _of(state, limit.unit)
    budget = f"{WHOSE[limit.scope]} {'token' if limit.unit == 'tokens' else 'cost'} budget for this {limit.period}"
    anew = f"the next one begins at {state.resets_at:%Y-%m-%dT%H:%M:%SZ}."
    wait = max(1.0, state.seconds_left)
    if need is None:
        if used < limit.most:
            return None
        return RateLimited("quota_exceeded", f"{budget} is used up; {anew}", retry_after=wait)
    if used + held + need.of(limit.unit) <= limit.most:
        return None
    if used + need.of(limit.unit) <= limit.most:
        detail = f"Answers that are being written hold the rest of {budget.lower()}; ask again in a moment; {anew}"
        return RateLimited("quota_exceeded", detail, retry_after=min(BUSY_SECONDS, wait))
    return RateLimited("quota_exceeded", f"{budget} does not suffice for this question; {anew}", retry_after=wait)


def _of(state: State, unit: Unit) -> tuple[Decimal, Decimal]:
    """(used, held)"""
    if unit == "cost":
        return state.used_cost, state.held_cost
    return Decimal(state.used_tokens), Decimal(state.held_tokens)


def what_is_left(limits: Applying, states: Sequence[State]) -> list[LimitOut]:
    by_period = {(state.scope, state.period): state for state in states}
    return [_left(limits, by_period[one.scope, one.period]) for one in wanted(limits)]


def _left(limits: Applying, state: State) -> LimitOut:
    mosts = {limit.unit: limit.most for limit in limits if (limit.scope, limit.period) == (state.scope, state.period)}
    left: dict[Unit, dict[str, Any]] = {}
    for unit, most in mosts.items():
        used, held = _of(state, unit)
        left[unit] = {"limit": most, "used": used, "reserved": held, "left": max(most - used - held, Decimal(0))}
    return LimitOut(
        scope=state.scope,
        scope_id=state.scope_id,
        period=state.period,
        resets_at=state.resets_at,
        tokens=TokensLeft(**left["tokens"]) if "tokens" in left else None,
        cost=CostLeft(**left["cost"]) if "cost" in left else None,
    )
