"""What language models may cost: reserved before a call, settled after it.

Without limits nothing is reserved, and settling is one statement in the transaction that ends the turn. Answers that
no language model wrote never come here.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID
from weakref import WeakValueDictionary

from app.core.caller import Caller, whole_tenant
from app.core.errors import Forbidden, RateLimited
from app.core.ids import new_id
from app.db.uow import UnitOfWork, UowFactory
from app.rag.token_estimates import estimate_tokens
from app.schemas.usage import LimitOut
from app.services.limits import Applying, Limit, Need, applying, refusal_of, wanted, what_is_left

MOST_TOKENS = 10**12


@dataclass(frozen=True, slots=True)
class Reservation:
    """`id` becomes that of the ledger's row. `held` is False when nothing is limited."""

    id: UUID
    user_id: str
    key_id: UUID | None
    turn_id: UUID | None
    model: str
    input_tokens: int
    held: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What one turn used of a model."""

    model: str
    input_tokens: int
    output_tokens: int
    estimated: bool = False


class BudgetService:
    def __init__(self, uow: UowFactory, limits: Sequence[Limit] = ()) -> None:
        self._uow = uow
        self._limits = limits
        self._queues: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        """A tenant's reservations wait for each other here, not each with a connection for the same row lock."""

    @property
    def has_limits(self) -> bool:
        return bool(self._limits)

    async def check(
        self, caller: Caller, user_id: str, *, models: Sequence[str], input_tokens: int, max_tokens: int
    ) -> None:
        """RateLimited(quota_exceeded) when less is left than a call takes at the least: before a turn is begun, when
        its prompt is not known yet."""
        limits = applying(self._limits, caller, user_id)
        if limits:
            async with self._uow(whole_tenant(caller)) as uow:
                states = await uow.budgets.look(wanted(limits))
                need = await _need(uow, limits, models=models, input_tokens=input_tokens, max_tokens=max_tokens)
            refusal = refusal_of(limits, states, None) or refusal_of(limits, states, need)
            if refusal is not None:
                raise refusal

    async def reserve(
        self, caller: Caller, user_id: str, *, turn_id: UUID, models: Sequence[str], input_tokens: int, max_tokens: int
    ) -> Reservation:
        """Holds what a call may use at most; `input_tokens` is an estimate, `models` are those that may answer.

        RateLimited(quota_exceeded) when there is not enough left. Settle it, or give it back with `release`; a
        reservation that nobody settles ends by itself.
        """
        reservation = Reservation(new_id(), user_id, caller.key_id, turn_id, models[0], input_tokens)
        limits = applying(self._limits, caller, user_id)
        if not limits:
            return reservation
        async with self._queues.setdefault(caller.tenant_id, asyncio.Lock()):
            refusal = await self._hold(caller, reservation, limits=limits, models=models, max_tokens=max_tokens)
        if refusal is not None:
            raise refusal
        return replace(reservation, held=True)

    async def _hold(
        self, caller: Caller, reservation: Reservation, *, limits: Applying, models: Sequence[str], max_tokens: int
    ) -> RateLimited | None:
        """The refusal is returned, not raised: counters that were made for it are kept."""
        input_tokens = reservation.input_tokens
        async with self._uow(whole_tenant(caller)) as uow:
            need = await _need(uow, limits, models=models, input_tokens=input_tokens, max_tokens=max_tokens)
            refusal = refusal_of(limits, await uow.budgets.lock(wanted(limits)), need)
            if refusal is None:
                await uow.budgets.hold(
                    {
                        "id": reservation.id, "user_id": reservation.user_id, "key_id": reservation.key_id,
                        "turn_id": reservation.turn_id, "model": reservation.model, "input_tokens": input_tokens,
                        "tokens": need.tokens, "cost": need.cost,
                    }
                )  # fmt: skip
            return refusal

    async def left(self, caller: Caller, user_id: str | None = None) -> list[LimitOut]:
        """Of the tenant, the key that asks, and the user: the caller's own, or the one that a key names.

        Forbidden(foreign_user) when a user asks for somebody else.
        """
        if caller.user_id is not None and user_id not in (None, caller.user_id):
            raise Forbidden("foreign_user", "A user sees only what is left to themselves.")
        limits = applying(self._limits, caller, user_id or caller.user_id)
        if not limits:
            return []
        async with self._uow(whole_tenant(caller)) as uow:
            return what_is_left(limits, await uow.budgets.look(wanted(limits)))


async def _need(
    uow: UnitOfWork, limits: Applying, *, models: Sequence[str], input_tokens: int, max_tokens: int
) -> Need:
    """By the dearest of the models."""
    cost = Decimal(0)
    if any(limit.unit == "cost" for limit in limits):
        cost = await uow.prices.highest_cost(models, input_tokens=input_tokens, output_tokens=max_tokens)
    return Need(input_tokens + max_tokens, cost)


def usage_of(
    reservation: Reservation, model: str, *, text: str, input_tokens: int = 0, output_tokens: int = 0
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
    message_id: UUID | None = None,
) -> Decimal | None:
    """In the transaction that ends the turn, after its message was stored. Once: again it does nothing.

    The cost, when a price is known; the message's `usage` has it then, too. Without a session's id for a turn whose
    session was deleted meanwhile: what was spent was spent.
    """
    return await uow.budgets.settle(
        {
            "id": reservation.id, "user_id": reservation.user_id, "key_id": reservation.key_id,
            "session_id": session_id, "turn_id": reservation.turn_id if session_id else None,
            "message_id": message_id, "model": usage.model, "input": _possible(usage.input_tokens),
            "output": _possible(usage.output_tokens), "estimated": usage.estimated,
        }
    )  # fmt: skip


async def settle_interrupted(
    uow: UnitOfWork, turn_id: UUID, *, text: str, session_id: UUID, message_id: UUID | None
) -> None:
    """For a turn whose process died: what it had reserved is settled with an estimate of what came."""
    row = await uow.budgets.of_turn(turn_id)
    if row is not None:
        reservation = Reservation(row.id, row.user_id, row.key_id, turn_id, row.model, row.input_tokens, held=True)
        usage = usage_of(reservation, row.model, text=text)
        await settle(uow, reservation, usage, session_id=session_id, message_id=message_id)


async def release(uow: UnitOfWork, reservation: Reservation) -> None:
    """No model answered, so nothing was spent."""
    if reservation.held:
        await uow.budgets.release(reservation.id)


def _possible(tokens: int) -> int:
    """A provider's nonsense must not keep an answer from being stored."""
    return min(max(tokens, 0), MOST_TOKENS)
