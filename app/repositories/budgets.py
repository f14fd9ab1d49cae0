"""What may still be spent. Periods are days and months in UTC, by the database's clock.

A counter says what was used; what is reserved is always the sum of the reservations that live, so that one whose
process died ends by itself. Whoever reserves locks the counters, in one order, before looking; whoever settles writes
the ledger, removes the reservation and moves the counters in one statement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text

from app.core.pseudonyms import ERASED, user_digest
from app.models import Budget, BudgetReservation
from app.repositories.base import Repository, rowcount
from app.repositories.prices import MILLIONTH, price_of

HELD_SECONDS = 300
"""Longer than a turn may take."""
FORGOTTEN_SECONDS = 3600
"""How long a reservation that has run out is kept for whoever ends its turn."""
COUNTERS_KEPT_DAYS = 62

_WANTED = (
    "unnest(CAST(:scopes AS text[]), CAST(:ids AS text[]), CAST(:periods AS text[])) AS w(scope, scope_id, period)"
)
_START = "date_trunc({period}, {moment} AT TIME ZONE 'UTC')::date"
_NOW = _START.format(period="w.period", moment="now()")


def _spent(counter: str, condition: str = "true") -> str:
    """SQL: the tokens and the cost in the ledger since a counter's start."""
    since = (
        f"u.tenant_id = :tenant AND u.created_at >= {counter}.starts_on::timestamp AT TIME ZONE 'UTC' AND {condition}"
    )
    return f"""
    SELECT coalesce(sum(s.tokens), 0)::bigint AS tokens, coalesce(sum(s.cost), 0) AS cost FROM (
        SELECT u.input_tokens + u.output_tokens AS tokens, u.cost FROM usage_records u
        WHERE {counter}.scope = 'user' AND u.user_id = {counter}.scope_id AND {since}
        UNION ALL
        SELECT u.input_tokens + u.output_tokens, u.cost FROM usage_records u
        WHERE {counter}.scope <> 'user' AND ({counter}.scope = 'tenant' OR u.key_id::text = {counter}.scope_id)
          AND {since}
    ) AS s
    """  # noqa: S608  names of our own columns


# The period that begins before a reservation ends is counted, too: whoever settles finds its counter.
CREATE = text(f"""
WITH missing AS MATERIALIZED (
    SELECT DISTINCT w.scope, w.scope_id, w.period, starts_on
    FROM {_WANTED}, (VALUES (now()), (now() + make_interval(secs => :held))) AS at(moment),
         LATERAL (SELECT {_START.format(period="w.period", moment="at.moment")} AS starts_on) AS day
    WHERE NOT EXISTS (
        SELECT FROM budgets b WHERE b.tenant_id = :tenant AND b.scope = w.scope AND b.scope_id = w.scope_id
                                AND b.period = w.period AND b.starts_on = day.starts_on)
)
INSERT INTO budgets (tenant_id, scope, scope_id, period, starts_on, used_tokens, used_cost)
SELECT :tenant, m.scope, m.scope_id, m.period, m.starts_on, spent.tokens, spent.cost
FROM missing m CROSS JOIN LATERAL ({_spent("m")}) AS spent
ORDER BY m.scope, m.scope_id, m.period, m.starts_on
ON CONFLICT DO NOTHING
""")  # noqa: S608  constants

LOCK = text(f"""
SELECT FROM budgets b JOIN {_WANTED}
    ON b.scope = w.scope AND b.scope_id = w.scope_id AND b.period = w.period AND b.starts_on = {_NOW}
WHERE b.tenant_id = :tenant
ORDER BY b.scope, b.scope_id, b.period
FOR NO KEY UPDATE OF b
""")

LOOK = text(f"""
SELECT w.scope, w.scope_id, w.period, ends.at AS resets_at, extract(epoch FROM ends.at - now())::float8 AS seconds_left,
       coalesce(b.used_tokens, spent.tokens) AS used_tokens, coalesce(b.used_cost, spent.cost) AS used_cost,
       held.tokens AS held_tokens, held.cost AS held_cost
FROM (SELECT w.*, {_NOW} AS starts_on FROM {_WANTED}) AS w
LEFT JOIN budgets b ON b.tenant_id = :tenant AND b.scope = w.scope AND b.scope_id = w.scope_id
                   AND b.period = w.period AND b.starts_on = w.starts_on
CROSS JOIN LATERAL (SELECT (w.starts_on + ('1 ' || w.period)::interval) AT TIME ZONE 'UTC' AS at) AS ends
CROSS JOIN LATERAL ({_spent("w", "b.tenant_id IS NULL")}) AS spent
CROSS JOIN LATERAL (
    SELECT coalesce(sum(r.tokens), 0)::bigint AS tokens, coalesce(sum(r.cost), 0) AS cost FROM budget_reservations r
    WHERE r.tenant_id = :tenant AND r.expires_at > now()
      AND CASE w.scope WHEN 'tenant' THEN true WHEN 'user' THEN r.user_id = w.scope_id
                       ELSE r.key_id::text = w.scope_id END
) AS held
""")  # noqa: S608  constants

# Of a session that is gone because its user was erased: the amount stays, the name does not come back.
_USER = f"""CASE WHEN CAST(:session_id AS uuid) IS NULL AND EXISTS (
        SELECT FROM erasures e WHERE e.tenant_id = :tenant AND e.user_digest = :user_digest
    ) THEN '{ERASED}' ELSE CAST(:user_id AS text) END"""

SETTLE = text(f"""
WITH entry AS (
    INSERT INTO usage_records (id, tenant_id, user_id, key_id, session_id, turn_id, message_id, model, input_tokens,
                               output_tokens, cost, estimated)
    SELECT :id, :tenant, {_USER}, :key_id, :session_id, :turn_id, :message_id, n.model, n.input, n.output,
           (n.input * p.input_price + n.output * p.output_price) * {MILLIONTH}, :estimated
    FROM (SELECT CAST(:model AS text) AS model, CAST(:input AS bigint) AS input, CAST(:output AS bigint) AS output) AS n
    LEFT JOIN LATERAL ({price_of("n.model")}) AS p ON true
    ON CONFLICT DO NOTHING
    RETURNING *
), freed AS (
    DELETE FROM budget_reservations WHERE id = :id AND tenant_id = :tenant
), locked AS (
    SELECT b.scope, b.scope_id, b.period, b.starts_on, e.input_tokens + e.output_tokens AS tokens,
           coalesce(e.cost, 0) AS cost
    FROM entry e
    CROSS JOIN LATERAL (VALUES ('tenant', e.tenant_id::text), ('user', e.user_id), ('key', e.key_id::text))
        AS w(scope, scope_id)
    CROSS JOIN (VALUES ('day'), ('month')) AS p(period)
    JOIN budgets b ON b.tenant_id = e.tenant_id AND b.scope = w.scope AND b.scope_id = w.scope_id
        AND b.period = p.period AND b.starts_on = {_START.format(period="p.period", moment="now()")}
    ORDER BY b.scope, b.scope_id, b.period
    FOR NO KEY UPDATE OF b
), counted AS (
    UPDATE budgets b SET used_tokens = b.used_tokens + l.tokens, used_cost = b.used_cost + l.cost
    FROM locked l
    WHERE b.tenant_id = :tenant AND b.scope = l.scope AND b.scope_id = l.scope_id AND b.period = l.period
      AND b.starts_on = l.starts_on
), told AS (
    UPDATE messages m
    SET usage = coalesce(m.usage, '{{}}') || jsonb_build_object(
            'model', e.model, 'input_tokens', e.input_tokens, 'output_tokens', e.output_tokens,
            'total_tokens', e.input_tokens + e.output_tokens)
        || CASE WHEN e.cost IS NULL THEN '{{}}' ELSE jsonb_build_object('cost', trim_scale(e.cost)::text) END
        || CASE WHEN e.estimated THEN jsonb_build_object('estimated', true) ELSE '{{}}' END
    FROM entry e
    WHERE m.id = e.message_id AND m.tenant_id = :tenant AND (e.cost IS NOT NULL OR e.estimated)
)
SELECT cost FROM entry
""")  # noqa: S608  constants

PURGE_RESERVATIONS = text("""
DELETE FROM budget_reservations WHERE id IN (
    SELECT id FROM budget_reservations WHERE expires_at < now() - make_interval(secs => :seconds)
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")

PURGE_COUNTERS = text("""
DELETE FROM budgets WHERE (tenant_id, scope, scope_id, period, starts_on) IN (
    SELECT tenant_id, scope, scope_id, period, starts_on FROM budgets
    WHERE starts_on < (now() AT TIME ZONE 'UTC')::date - CAST(:days AS int)
    ORDER BY starts_on LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A counter of the period that it is now."""

    scope: str
    scope_id: str
    period: str


@dataclass(frozen=True, slots=True)
class State:
    scope: str
    scope_id: str
    period: str
    resets_at: datetime
    seconds_left: float
    used_tokens: int
    used_cost: Decimal
    held_tokens: int
    held_cost: Decimal


class BudgetRepository(Repository):
    async def look(self, wanted: Sequence[Wanted]) -> list[State]:
        found = await self._session.execute(LOOK, self._named(wanted))
        return [State(**row) for row in found.mappings()]

    async def lock(self, wanted: Sequence[Wanted]) -> list[State]:
        """As `look`; nobody else reserves or settles on these counters before this transaction has ended."""
        await self._session.execute(CREATE, self._named(wanted) | {"held": HELD_SECONDS})
        await self._session.execute(LOCK, self._named(wanted))
        return await self.look(wanted)  # a statement of its own sees what others did while we waited for the lock

    def _named(self, wanted: Sequence[Wanted]) -> dict[str, Any]:
        return {
            "tenant": self._caller.tenant_id,
            "scopes": [one.scope for one in wanted],
            "ids": [one.scope_id for one in wanted],
            "periods": [one.period for one in wanted],
        }

    async def hold(self, values: dict[str, Any]) -> None:
        """The caller must hold the lock of every counter that has a limit."""
        until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, HELD_SECONDS)
        row = insert(BudgetReservation).values(**values, tenant_id=self._caller.tenant_id, expires_at=until)
        await self._session.execute(row)

    async def of_turn(self, turn_id: UUID) -> BudgetReservation | None:
        """What a turn had reserved and never settled, also when that has run out."""
        statement = select(BudgetReservation).where(BudgetReservation.turn_id == turn_id, self._mine(BudgetReservation))
        return (await self._session.execute(statement.limit(1).with_for_update())).scalar_one_or_none()

    async def release(self, reservation_id: UUID) -> None:
        await self._session.execute(
            delete(BudgetReservation).where(BudgetReservation.id == reservation_id, self._mine(BudgetReservation))
        )

    async def settle(self, values: dict[str, Any]) -> Decimal | None:
        """Into the ledger, once; the counters that exist move and the reservation goes. The cost, if a price is known.

        The answer's `usage` gets what only this knows: the cost, and numbers that were estimated.
        """
        digest = user_digest(self._caller.tenant_id, values["user_id"])
        found = await self._session.execute(SETTLE, values | {"tenant": self._caller.tenant_id, "user_digest": digest})
        cost: Decimal | None = found.scalar_one_or_none()
        return cost

    async def forget_user(self, user_id: str) -> int:
        """Their own counters, and what they had reserved; the tenant's and the keys' counters keep the amounts."""
        counters = delete(Budget).where(self._mine(Budget), Budget.scope == "user", Budget.scope_id == user_id)
        held = delete(BudgetReservation).where(self._mine(BudgetReservation), BudgetReservation.user_id == user_id)
        return rowcount(await self._session.execute(counters)) + rowcount(await self._session.execute(held))

    async def purge(self, *, limit: int) -> int:
        """Of all tenants: reservations that ran out long ago, counters of periods that are over."""
        held = await self._session.execute(PURGE_RESERVATIONS, {"seconds": FORGOTTEN_SECONDS, "limit": limit})
        counters = await self._session.execute(PURGE_COUNTERS, {"days": COUNTERS_KEPT_DAYS, "limit": limit})
        return rowcount(held) + rowcount(counters)
