"""What language models may cost: reserved before a call, settled after it.

Without limits nothing is reserved, and settling is one statement in the transaction that ends the turn. Answers that
no language model wrote never come here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from app.core.caller import SYSTEM, Caller
from app.core.errors import Forbidden, RateLimited
from app.core.ids import new_id
from app.core.settings import Settings
from app.db.uow import UnitOfWork, UowFactory
from app.rag.token_estimates import estimate_tokens
from app.repositories.budgets import State, Wanted
from app.schemas.usage import CostLeft, LimitOut, TokensLeft

Scope = Literal["tenant", "user", "key"]
Period = Literal["day", "month"]
Unit = Literal["tokens", "cost"]
BUSY_SECONDS = 5.0
"""When to ask again while answers that are being written hold the rest."""
PURGED_AT_ONCE = 1000
WHOSE: dict[Scope, str] = {"tenant": "The tenant's", "user": "The user's", "key": "The key's"}


@dataclass(frozen=True, slots=True)
class Limit:
    """Of every tenant, of every user of a tenant, or of every key."""

    scope: Scope
    period: Period
    unit: Unit
    most: Decimal


@dataclass(frozen=True, slots=True)
class Need:
    """What a call may use at most."""

    tokens: int
    cost: Decimal

    def of(self, unit: Unit) -> Decimal:
        return Decimal(self.tokens) if unit == "tokens" else self.cost


@dataclass(frozen=True, slots=True)
class Reservation:
    """`id` becomes that of the ledger's row. `held` is False when nothing is limited."""

    id: UUID
    user_id: str
    key_id: UUID | None
    input_tokens: int
    held: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What one turn used of a model."""

    model: str
    input_tokens: int
    output_tokens: int
    estimated: bool = False


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


class BudgetService:
    def __init__(self, uow: UowFactory, limits: Sequence[Limit] = ()) -> None:
        self._uow = uow
        self._limits = limits

    async def check(self, caller: Caller, user_id: str) -> None:
        """RateLimited(quota_exceeded) when nothing is left; before a turn is begun."""
        limits = self._applying(caller, user_id)
        if limits:
            async with self._uow(caller) as uow:
                states = await uow.budgets.look(_wanted(limits))
            _require(limits, states, None)

    async def reserve(
        self, caller: Caller, user_id: str, *, turn_id: UUID, models: Sequence[str], input_tokens: int, max_tokens: int
    ) -> Reservation:
        """Holds what a call may use at most; `input_tokens` is an estimate, `models` are those that may answer.

        RateLimited(quota_exceeded) when there is not enough left. Settle it, or give it back with `release`; a
        reservation that nobody settles ends by itself.
        """
        reservation = Reservation(new_id(), user_id, caller.key_id, input_tokens)
        limits = self._applying(caller, user_id)
        if not limits:
            return reservation
        async with self._uow(caller) as uow:
            need = await _need(uow, limits, models, input_tokens, max_tokens)
            states = await uow.budgets.lock(_wanted(limits))
            refusal = _refusal(limits, states, need)
            if refusal is None:
                await uow.budgets.hold(
                    {
                        "id": reservation.id, "user_id": user_id, "key_id": caller.key_id, "turn_id": turn_id,
                        "model": models[0], "input_tokens": input_tokens, "tokens": need.tokens, "cost": need.cost,
                    }
                )  # fmt: skip
        if refusal is not None:  # raised here, so that counters that were made for it stay
            raise refusal
        return replace(reservation, held=True)

    async def left(self, caller: Caller, user_id: str | None = None) -> list[LimitOut]:
        """Of the tenant, the key that asks, and the user: the caller's own, or the one that a key names.

        Forbidden(foreign_user) when a user asks for somebody else.
        """
        if caller.user_id is not None and user_id not in (None, caller.user_id):
            raise Forbidden("foreign_user", "A user sees only what is left to themselves.")
        limits = self._applying(caller, user_id or caller.user_id)
        if not limits:
            return []
        wanted = _wanted(limits)
        async with self._uow(caller) as uow:
            states = {(state.scope, state.period): state for state in await uow.budgets.look(wanted)}
        return [_limit_out(states[one.scope, one.period], limits) for one in wanted]

    async def purge(self) -> None:
        """Of every tenant: what has run out and what is over."""
        async with self._uow(SYSTEM) as uow:
            await uow.budgets.purge(limit=PURGED_AT_ONCE)

    def _applying(self, caller: Caller, user_id: str | None) -> dict[Limit, str]:
        """The limits that apply, and whose they are."""
        ids = {"tenant": str(caller.tenant_id), "user": user_id, "key": str(caller.key_id) if caller.key_id else None}
        found = {limit: ids[limit.scope] for limit in self._limits}
        return {limit: scope_id for limit, scope_id in found.items() if scope_id is not None}


def usage_of(
    reservation: Reservation, model: str, text: str, *, input_tokens: int = 0, output_tokens: int = 0
) -> Usage:
    """The provider's numbers, or where it gave none an estimate from what was sent and what came."""
    if input_tokens or output_tokens:
        return Usage(model, input_tokens, output_tokens)
    return Usage(model, reservation.input_tokens, estimate_tokens(text), estimated=True)


async def settle(
    uow: UnitOfWork,
    reservation: Reservation,
    usage: Usage,
    *,
    session_id: UUID | None = None,
    turn_id: UUID | None = None,
    message_id: UUID | None = None,
) -> Decimal | None:
    """In the transaction that ends the turn, after its message was stored. Once: again it does nothing.

    The cost, when a price is known; the message's `usage` has it then, too. Without ids for a turn whose session was
    deleted meanwhile: what was spent was spent.
    """
    return await uow.budgets.settle(
        {
            "id": reservation.id, "user_id": reservation.user_id, "key_id": reservation.key_id,
            "session_id": session_id, "turn_id": turn_id, "message_id": message_id, "model": usage.model,
            "input": usage.input_tokens, "output": usage.output_tokens, "estimated": usage.estimated,
        }
    )  # fmt: skip


async def settle_interrupted(
    uow: UnitOfWork, turn_id: UUID, text: str, *, session_id: UUID, message_id: UUID | None
) -> None:
    """For a turn whose process died: what it had reserved is settled with an estimate of what came."""
    row = await uow.budgets.of_turn(turn_id)
    if row is not None:
        reservation = Reservation(row.id, row.user_id, row.key_id, row.input_tokens, held=True)
        usage = usage_of(reservation, row.model, text)
        await settle(uow, reservation, usage, session_id=session_id, turn_id=turn_id, message_id=message_id)


async def release(uow: UnitOfWork, reservation: Reservation) -> None:
    """No model answered, so nothing was spent."""
    if reservation.held:
        await uow.budgets.release(reservation.id)


async def _need(
    uow: UnitOfWork, limits: dict[Limit, str], models: Sequence[str], input_tokens: int, max_tokens: int
) -> Need:
    cost = Decimal(0)
    if any(limit.unit == "cost" for limit in limits):
        cost = await uow.prices.highest_cost(models, input_tokens=input_tokens, output_tokens=max_tokens)
    return Need(input_tokens + max_tokens, cost)


def _wanted(limits: dict[Limit, str]) -> list[Wanted]:
    """Each counter once."""
    return [*dict.fromkeys(Wanted(limit.scope, scope_id, limit.period) for limit, scope_id in limits.items())]


def _require(limits: dict[Limit, str], states: Sequence[State], need: Need | None) -> None:
    refusal = _refusal(limits, states, need)
    if refusal is not None:
        raise refusal


def _refusal(limits: dict[Limit, str], states: Sequence[State], need: Need | None) -> RateLimited | None:
    """That of the limit which keeps the caller waiting longest. Without a need only what is used up refuses."""
    by_period = {(state.scope, state.period): state for state in states}
    refusals = [_refused(limit, by_period[limit.scope, limit.period], need) for limit in limits]
    found = [refusal for refusal in refusals if refusal is not None]
    return max(found, key=lambda refusal: refusal.retry_after or 0, default=None)


def _refused(limit: Limit, state: State, need: Need | None) -> RateLimited | None:
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
        detail = (
            f"Answers that are being written hold the rest of {budget.lower()}; ask again in a moment, or later: {anew}"
        )
        return RateLimited("quota_exceeded", detail, retry_after=min(BUSY_SECONDS, wait))
    return RateLimited("quota_exceeded", f"{budget} does not suffice for this question; {anew}", retry_after=wait)


def _of(state: State, unit: Unit) -> tuple[Decimal, Decimal]:
    """(used, held)"""
    if unit == "cost":
        return state.used_cost, state.held_cost
    return Decimal(state.used_tokens), Decimal(state.held_tokens)


def _limit_out(state: State, limits: dict[Limit, str]) -> LimitOut:
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
