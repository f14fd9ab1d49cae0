"""Limits of tokens and money: never overspent, begun anew by the database's clock, settled once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.caller import Caller
from app.core.errors import Forbidden, RateLimited
from app.core.ids import new_id
from app.rag.token_estimates import estimate_tokens
from app.repositories import budgets
from app.repositories.budgets import Wanted
from app.services.budgets import (
    BudgetService,
    Reservation,
    Usage,
    release,
    settle,
    settle_interrupted,
    usage_of,
)
from app.services.limits import Limit, Period, Scope, Unit, limits_of
from app.services.prices import PriceService
from tests.conftest import MakeTenant, Tenant, make_settings

MODEL = "openai/gpt-test"


class Purse:
    """One tenant's budget with limits of this test's own."""

    def __init__(self, tenant: Tenant, *limits: tuple[Scope, Period, Unit, int | Decimal], key: bool = False) -> None:
        self.tenant = tenant
        self.caller = replace(tenant.caller, key_id=new_id()) if key else tenant.caller
        made = [Limit(scope, period, unit, Decimal(most)) for scope, period, unit, most in limits]
        self.service = BudgetService(tenant.runtime.uow, made)
        self.services = [self.service, *(BudgetService(tenant.runtime.uow, made) for _ in range(4))]
        """As in several processes: they know of each other through the database only."""

    async def reserve(
        self, tokens: int, *, process: int = 0, user_id: str = "ravi", caller: Caller | None = None,
        turn_id: UUID | None = None, models: tuple[str, ...] = (MODEL,),
    ) -> Reservation:  # fmt: skip
        """Half of it for the prompt."""
        return await self.services[process].reserve(
            caller or self.caller, user_id, turn_id=turn_id or new_id(), models=models, input_tokens=tokens // 2,
            max_tokens=tokens - tokens // 2,
        )  # fmt: skip

    async def settle(self, reservation: Reservation, tokens: int, *, model: str = MODEL, **ids: Any) -> Decimal | None:
        if "turn_id" in ids:
            assert reservation.turn_id == ids.pop("turn_id")
        async with self.tenant.runtime.uow(self.caller) as uow:
            return await settle(uow, reservation, Usage(model, tokens // 2, tokens - tokens // 2), **ids)

    async def spend(self, tokens: int, **how: Any) -> None:
        await self.settle(await self.reserve(tokens, **how), tokens)

    async def refused(self, tokens: int, **how: Any) -> RateLimited:
        with pytest.raises(RateLimited) as refusal:
            await self.reserve(tokens, **how)
        assert refusal.value.code == "quota_exceeded"
        return refusal.value

    async def check(self, tokens: int, *, user_id: str = "ravi", models: tuple[str, ...] = (MODEL,)) -> None:
        await self.service.check(
            self.caller, user_id, models=models, input_tokens=tokens // 2, max_tokens=tokens - tokens // 2
        )

    async def check_refused(self, tokens: int, **how: Any) -> RateLimited:
        with pytest.raises(RateLimited) as refusal:
            await self.check(tokens, **how)
        assert refusal.value.code == "quota_exceeded"
        return refusal.value

    async def used(self) -> list[tuple[str, str, int, int, int]]:
        """(scope, period, limit, used, reserved) of tokens."""
        return [
            (one.scope, one.period, one.tokens.limit, one.tokens.used, one.tokens.reserved)
            for one in await self.service.left(self.caller, "ravi")
            if one.tokens is not None
        ]

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.tenant.runtime.owner.begin() as connection:
            found = await connection.execute(text(statement), values | {"tenant": self.tenant.caller.tenant_id})
            return [*found] if found.returns_rows else []

    async def ledger(self) -> list[Any]:
        return await self.sql("SELECT * FROM usage_records WHERE tenant_id = :tenant ORDER BY id")


async def answered(tenant: Tenant) -> dict[str, Any]:
    """An answer with its session and turn."""
    session = await tenant.session()
    answer = await tenant.http.post(f"/api/v1/sessions/{session}/chat", json={"message": "How?", "use_rag": False})
    ids = answer.json()
    return {"session_id": UUID(ids["session_id"]), "turn_id": UUID(ids["turn_id"]), "message_id": UUID(ids["id"])}


Priced = Callable[..., Awaitable[str]]


@pytest.fixture
def price(tenant: Tenant) -> Priced:
    """Sets a price; the model's name is this test's own."""
    mark = new_id().hex

    async def set_(name: str, input_price: str, output_price: str, valid_from: datetime | None = None) -> str:
        model = f"{mark}/{name}"
        service = PriceService(tenant.runtime.uow)
        await service.set(
            model, input_price=Decimal(input_price), output_price=Decimal(output_price), valid_from=valid_from
        )
        return model

    return set_


async def test_a_hundred_at_once_do_not_overspend(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 1000), ("user", "month", "tokens", 1000))
    outcomes = await asyncio.gather(
        *(purse.reserve(100, process=number % 5) for number in range(100)), return_exceptions=True
    )
    granted = [one for one in outcomes if isinstance(one, Reservation)]
    refused = [one for one in outcomes if isinstance(one, RateLimited)]
    assert (len(granted), len(refused)) == (10, 90)
    assert await purse.used() == [("tenant", "day", 1000, 0, 1000), ("user", "month", 1000, 0, 1000)]
    await asyncio.gather(*(purse.settle(one, 60) for one in granted))
    assert await purse.used() == [("tenant", "day", 1000, 600, 0), ("user", "month", 1000, 600, 0)]


async def test_reserving_and_settling_at_once_keeps_the_counters_equal_to_the_ledger(tenant: Tenant) -> None:
    """Users cross each other's way in both orders; nobody waits for ever, nothing is lost, the limit holds."""
    limits: list[tuple[Scope, Period, Unit, int | Decimal]] = [
        ("tenant", "day", "tokens", 3000), ("user", "day", "tokens", 1200), ("key", "month", "tokens", 2500),
    ]  # fmt: skip
    purse = Purse(tenant, *limits, key=True)

    async def turns(user_id: str, process: int) -> int:
        spent = 0
        for _ in range(20):
            try:
                await purse.spend(50, user_id=user_id, process=process)
                spent += 50
            except RateLimited:
                continue
        return spent

    async with asyncio.timeout(60):
        spent = await asyncio.gather(*(turns(f"user-{number % 3}", number % 5) for number in range(12)))
    assert 2000 < sum(spent) <= 2500
    assert sum(row.input_tokens + row.output_tokens for row in await purse.ledger()) == sum(spent)
    counters = await purse.sql("SELECT scope, scope_id, used_tokens FROM budgets WHERE tenant_id = :tenant")
    by_user = {f"user-{number}": sum(spent[number::3]) for number in range(3)}
    users = {row.scope_id: row.used_tokens for row in counters if row.scope == "user" and row.used_tokens}
    assert users == by_user
    assert {row.used_tokens for row in counters if row.scope != "user" and row.used_tokens} == {sum(spent)}


@pytest.mark.parametrize("period", ["day", "month"])
async def test_refused_until_the_period_ends_by_the_databases_clock(tenant: Tenant, period: Period) -> None:
    purse = Purse(tenant, ("tenant", period, "tokens", 100))
    await purse.spend(80)
    refusal = await purse.refused(40)
    end = f"(date_trunc('{period}', now() AT TIME ZONE 'UTC') + interval '1 {period}') AT TIME ZONE 'UTC'"
    [(ends, seconds)] = await purse.sql(f"SELECT {end}, extract(epoch FROM {end} - now())::float8")
    assert refusal.retry_after == pytest.approx(seconds, abs=10)
    assert f"{ends:%Y-%m-%dT%H:%M:%SZ}" in refusal.detail
    await purse.reserve(20)


async def test_a_new_day_begins_with_nothing_used(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 100), ("tenant", "month", "tokens", 1000))
    await purse.spend(100)
    await purse.refused(1)
    await purse.sql(
        "UPDATE budgets SET starts_on = starts_on - 1 WHERE tenant_id = :tenant AND period = 'day' AND used_tokens > 0"
    )
    await purse.sql("UPDATE usage_records SET created_at = created_at - interval '1 day' WHERE tenant_id = :tenant")
    assert [row[:4] for row in await purse.used()] == [("tenant", "day", 100, 0), ("tenant", "month", 1000, 100)]
    await purse.spend(60)
    assert [row[:4] for row in await purse.used()] == [("tenant", "day", 100, 60), ("tenant", "month", 1000, 160)]


async def test_a_day_that_begins_before_the_turn_ends_has_its_counter(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever settles right after midnight, and whoever makes the counter then, might miss each other."""
    monkeypatch.setattr(budgets, "HELD_SECONDS", 86_400)
    purse = Purse(tenant, ("tenant", "day", "tokens", 100))
    await purse.spend(10)
    found = await purse.sql(
        "SELECT starts_on - (now() AT TIME ZONE 'UTC')::date AS day, used_tokens FROM budgets "
        "WHERE tenant_id = :tenant ORDER BY 1"
    )
    assert [(row.day, row.used_tokens) for row in found] == [(0, 10), (1, 0)]


async def test_the_day_is_utc_whatever_the_connections_time_zone(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 100))
    await purse.spend(10)
    async with tenant.runtime.uow(tenant.caller) as uow:
        for zone in ("Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kolkata"):
            await uow.budgets._session.execute(text(f"SET LOCAL TIME ZONE '{zone}'"))
            [state] = await uow.budgets.look([Wanted("tenant", str(tenant.caller.tenant_id), "day")])
            assert state.used_tokens == 10
            assert state.resets_at.astimezone(UTC).time().isoformat() == "00:00:00"
            assert 0 < state.seconds_left <= 86_400


async def test_a_limit_that_is_set_later_counts_what_was_used_before(tenant: Tenant) -> None:
    free = Purse(tenant)
    await free.spend(70)
    await free.spend(20, user_id="mina")
    assert await free.sql("SELECT 1 FROM budgets WHERE tenant_id = :tenant") == []
    purse = Purse(tenant, ("tenant", "month", "tokens", 100), ("user", "day", "tokens", 75))
    assert [row[3] for row in await purse.used()] == [90, 70]
    assert "user's" in (await purse.refused(6)).detail
    assert "tenant's" in (await purse.refused(11, user_id="mina")).detail
    await purse.spend(5)
    assert [row[3] for row in await purse.used()] == [95, 75]


async def test_without_limits_nothing_is_reserved_and_settling_is_one_row(tenant: Tenant) -> None:
    purse = Purse(tenant)
    reservation = await purse.reserve(10_000_000)
    assert not reservation.held
    assert await purse.sql("SELECT 1 FROM budget_reservations WHERE tenant_id = :tenant") == []
    assert await purse.settle(reservation, 50) is None
    [row] = await purse.ledger()
    assert (row.id, row.user_id, row.model, row.input_tokens, row.output_tokens, row.cost, row.estimated) == (
        reservation.id, "ravi", MODEL, 25, 25, None, False,
    )  # fmt: skip
    await purse.check(10**9)
    assert await purse.service.left(tenant.caller) == []


async def test_a_providers_nonsense_is_stored_as_far_as_it_can_be(tenant: Tenant) -> None:
    purse = Purse(tenant)
    async with tenant.runtime.uow(tenant.caller) as uow:
        await settle(uow, await purse.reserve(1), Usage(MODEL, -5, 10**30))
    assert [(row.input_tokens, row.output_tokens) for row in await purse.ledger()] == [(0, 10**12)]


async def test_extractive_answers_touch_nothing(tenant: Tenant) -> None:
    await answered(tenant)
    purse = Purse(tenant)
    assert await purse.ledger() == []
    assert await purse.sql("SELECT 1 FROM budgets WHERE tenant_id = :tenant") == []


async def test_settled_once(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 100))
    ids = await answered(tenant)
    reservation = await purse.reserve(50, turn_id=ids["turn_id"])
    await asyncio.gather(*(purse.settle(reservation, 40, **ids) for _ in range(8)))
    another = await purse.reserve(50, turn_id=ids["turn_id"])
    await purse.settle(another, 40, **ids)  # the turn has its row
    assert len(await purse.ledger()) == 1
    assert await purse.used() == [("tenant", "day", 100, 40, 0)]


async def test_settling_goes_with_the_transaction(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 100))
    reservation = await purse.reserve(50)
    with pytest.raises(ZeroDivisionError):
        async with tenant.runtime.uow(tenant.caller) as uow:
            await settle(uow, reservation, Usage(MODEL, 20, 20))
            raise ZeroDivisionError
    assert await purse.used() == [("tenant", "day", 100, 0, 50)]
    assert await purse.ledger() == []


async def test_given_back(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 100))
    reservation = await purse.reserve(100)
    await purse.refused(1)
    async with tenant.runtime.uow(tenant.caller) as uow:
        await release(uow, reservation)
    await purse.reserve(100)


async def test_what_is_only_held_is_worth_asking_again_soon(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "month", "tokens", 100))
    await purse.reserve(80)
    refusal = await purse.refused(40)
    assert (refusal.retry_after or 0) <= 5
    assert "being written" in refusal.detail


async def test_a_reservation_whose_process_died_ends_by_itself(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 100))
    dead = await purse.reserve(100)
    await purse.refused(1)
    await purse.sql("UPDATE budget_reservations SET expires_at = now() WHERE tenant_id = :tenant")
    await purse.reserve(40)
    await purse.tenant.runtime.personal_data.retention.purge()
    assert len(await purse.sql("SELECT 1 FROM budget_reservations WHERE tenant_id = :tenant")) == 2
    await purse.settle(dead, 30)  # it lived after all: what it spent is counted
    assert await purse.used() == [("tenant", "day", 100, 30, 40)]
    await purse.sql("UPDATE budget_reservations SET expires_at = now() - interval '2 hours' WHERE tenant_id = :tenant")
    await purse.tenant.runtime.personal_data.retention.purge()
    assert await purse.sql("SELECT 1 FROM budget_reservations WHERE tenant_id = :tenant") == []


async def test_counters_of_long_ago_go(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 100), ("tenant", "month", "tokens", 100))
    await purse.spend(10)
    await purse.sql(
        "INSERT INTO budgets (tenant_id, scope, scope_id, period, starts_on) "
        "VALUES (:tenant, 'tenant', 'a', 'month', CURRENT_DATE - 70)"
    )
    await purse.tenant.runtime.personal_data.retention.purge()
    assert {row.scope_id for row in await purse.sql("SELECT scope_id FROM budgets WHERE tenant_id = :tenant")} == {
        str(tenant.caller.tenant_id)
    }
    assert [row[3] for row in await purse.used()] == [10, 10]


async def test_an_interrupted_turn_is_settled_from_its_reservation(tenant: Tenant) -> None:
    purse = Purse(tenant, ("key", "day", "tokens", 100), key=True)
    ids = await answered(tenant)
    await purse.reserve(80, turn_id=ids["turn_id"])
    for _ in range(2):
        async with tenant.runtime.uow(tenant.caller) as uow:  # the worker: it has no key
            await settle_interrupted(
                uow, ids["turn_id"], text="Thirty days. ", session_id=ids["session_id"], message_id=ids["message_id"]
            )
    [row] = await purse.ledger()
    assert (row.key_id, row.model, row.input_tokens, row.output_tokens, row.estimated) == (
        purse.caller.key_id, MODEL, 40, estimate_tokens("Thirty days. "), True,
    )  # fmt: skip
    assert await purse.used() == [("key", "day", 100, 44, 0)]
    message = await tenant.runtime.messages.get(tenant.caller, ids["message_id"])
    assert message is not None
    assert message.usage is not None
    assert (message.usage["estimated"], message.usage["total_tokens"], message.usage["model"]) == (True, 44, MODEL)
    async with tenant.runtime.uow(tenant.caller) as uow:
        await settle_interrupted(uow, new_id(), text="Nothing reserved.", session_id=new_id(), message_id=None)
    assert len(await purse.ledger()) == 1


def test_numbers_are_the_providers_or_estimated() -> None:
    reservation = Reservation(new_id(), "ravi", None, None, MODEL, 40)
    assert usage_of(reservation, MODEL, text="abc", input_tokens=9, output_tokens=2) == Usage(MODEL, 9, 2)
    assert usage_of(reservation, MODEL, text="abcde") == Usage(MODEL, 40, 2, estimated=True)
    assert usage_of(reservation, MODEL, text="") == Usage(MODEL, 40, 0, estimated=True)
    assert (estimate_tokens(""), estimate_tokens("a"), estimate_tokens("సెలవు")) == (0, 1, 5)


async def test_a_users_limit_is_each_users_own(tenant: Tenant, new_tenant: MakeTenant) -> None:
    purse = Purse(tenant, ("user", "day", "tokens", 100))
    await purse.spend(100)
    await purse.refused(1)
    await purse.reserve(60, user_id="mina")
    await purse.reserve(60, user_id="lena")
    await purse.refused(60, user_id="lena")
    other = Purse(await new_tenant(), ("user", "day", "tokens", 100))
    await other.spend(100)


async def test_a_keys_limit_is_each_keys_own(tenant: Tenant) -> None:
    purse = Purse(tenant, ("key", "day", "tokens", 100), key=True)
    await purse.spend(100)
    await purse.refused(1)
    for _ in range(2):
        await purse.reserve(100, caller=replace(purse.caller, key_id=new_id()))
    await purse.reserve(100, caller=replace(purse.caller, key_id=None))


async def test_check_refuses_what_cannot_suffice(tenant: Tenant, price: Priced) -> None:
    purse = Purse(tenant, ("user", "day", "tokens", 100))
    await purse.spend(60)
    await purse.check(40)
    refusal = await purse.check_refused(41)
    assert "does not suffice" in refusal.detail
    held = await purse.reserve(30)
    assert ((await purse.check_refused(11)).retry_after or 0) <= 5  # what is only held comes back soon
    async with tenant.runtime.uow(tenant.caller) as uow:
        await release(uow, held)
    await purse.spend(40)
    assert "is used up" in (await purse.check_refused(1)).detail
    await purse.check(100, user_id="mina")
    dear = await price("dear", "3", "15")
    rich = Purse(tenant, ("tenant", "month", "cost", Decimal("0.02")))
    await rich.check(2000, models=("unknown", dear))
    assert "cost budget" in (await rich.check_refused(4000, models=(dear,))).detail


async def test_a_user_sees_what_is_left_to_themselves(tenant: Tenant) -> None:
    purse = Purse(tenant, ("user", "day", "tokens", 100))
    await purse.spend(60)
    ravi = replace(tenant.caller, user_id="ravi")
    [mine] = await purse.service.left(ravi)
    assert (mine.scope_id, mine.tokens and mine.tokens.left) == ("ravi", 40)
    with pytest.raises(Forbidden):
        await purse.service.left(replace(ravi, user_id="mina"), "ravi")


async def test_money(tenant: Tenant, price: Priced) -> None:
    cheap, dear = await price("cheap", "0.15", "0.6"), await price("dear", "3", "15")
    purse = Purse(tenant, ("tenant", "month", "cost", Decimal("0.02")))
    reservation = await purse.reserve(2000, models=(cheap, "unknown", dear))
    [left] = await purse.service.left(tenant.caller)
    assert left.tokens is None
    assert left.cost is not None
    assert (left.cost.reserved, left.cost.left) == (Decimal("0.018"), Decimal("0.002"))
    assert await purse.settle(reservation, 2000, model=cheap) == Decimal("0.00075")
    await purse.reserve(2000, models=(dear,))
    refusal = await purse.refused(2000, models=(dear,))
    assert "cost budget" in refusal.detail
    await purse.reserve(2000, models=("unknown",))  # without a price there is nothing to count


async def test_the_cost_is_exact(tenant: Tenant, price: Priced) -> None:
    model = await price("exact", "0.000001", "0.333333")
    purse = Purse(tenant)
    async with tenant.runtime.uow(tenant.caller) as uow:
        cost = await settle(uow, await purse.reserve(1), Usage(model, 1, 3))
    assert cost == Decimal("0.000001000000")
    for _ in range(9):
        async with tenant.runtime.uow(tenant.caller) as uow:
            await settle(uow, await purse.reserve(1), Usage(model, 1, 1))
    costs = [row.cost for row in await purse.ledger()]
    assert sum(costs) == (10 * Decimal("0.000001") + 12 * Decimal("0.333333")) / 1_000_000
    large = await price("large", "123.456789", "0")  # more digits than a float has
    async with tenant.runtime.uow(tenant.caller) as uow:
        paid = await settle(uow, await purse.reserve(1), Usage(large, 98_765_432_101, 0))
    assert paid == 98_765_432_101 * Decimal("123.456789") / 1_000_000


async def test_a_name_beats_a_pattern_and_the_newest_price_counts(tenant: Tenant, price: Priced) -> None:
    now = datetime.now(UTC)
    mini = await price("gpt-mini", "1", "1", now - timedelta(days=9))
    await price("gpt-mini", "2", "2", now - timedelta(days=2))
    await price("gpt-mini", "9", "9", now + timedelta(days=2))
    await price("gpt-m*ini", "8", "8")
    await price("*gpt-mini", "8", "8")
    await price("*", "3", "3")
    await price("gpt-*", "4", "4")
    await price("gpt-large*", "5", "5", now + timedelta(days=2))
    await price("a_b%c", "6", "6")
    await price("gpt-mini", "7", "7", now - timedelta(days=5))

    async def paid(name: str) -> Decimal | None:
        model = mini.replace("gpt-mini", name)
        async with tenant.runtime.uow(tenant.caller) as uow:
            return await settle(uow, Reservation(new_id(), "ravi", None, None, MODEL, 0), Usage(model, 1_000_000, 0))

    assert [await paid(name) for name in ("gpt-mini", "gpt-large", "claude", "a_b%c", "axbyc")] == [2, 4, 3, 6, 3]
    async with tenant.runtime.uow(tenant.caller) as uow:
        assert await settle(uow, Reservation(new_id(), "ravi", None, None, MODEL, 0), Usage(f"x{mini}", 1, 1)) is None


async def test_the_last_word_about_a_moment_counts_and_the_list_says_what_is_in_force(
    tenant: Tenant, price: Priced
) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    model = await price("m", "1", "1", moment)
    await price("m", "2", "2", moment)
    await price("m", "5", "5", datetime(2990, 1, 1, tzinfo=UTC))
    listed = [one for one in await PriceService(tenant.runtime.uow).list_all() if one.model == model]
    assert [(one.input_price, one.in_force) for one in listed] == [(Decimal(5), False), (Decimal(2), True)]


async def test_the_message_tells_its_cost(tenant: Tenant, price: Priced) -> None:
    model = await price("told", "0.15", "0.6")
    ids = await answered(tenant)
    purse = Purse(tenant)
    await purse.settle(await purse.reserve(200, turn_id=ids["turn_id"]), 200, model=model, **ids)
    page = (await tenant.http.get(f"/api/v1/sessions/{ids['session_id']}/messages")).json()
    usage = page["items"][-1]["usage"]
    assert (usage["cost"], usage["total_tokens"], usage["model"]) == ("0.000075", 200, model)
    assert "estimated" not in usage


async def test_what_was_spent_outlives_its_session(tenant: Tenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 100))
    ids = await answered(tenant)
    await purse.settle(await purse.reserve(50, turn_id=ids["turn_id"]), 50, **ids)
    running = await purse.reserve(30)
    assert (await tenant.http.delete(f"/api/v1/sessions/{ids['session_id']}")).status_code == 204
    [row] = await purse.ledger()
    assert (row.session_id, row.turn_id, row.message_id, row.user_id) == (None, None, None, "ravi")
    await purse.settle(running, 30)  # its session was deleted while it ran
    assert await purse.used() == [("tenant", "day", 100, 80, 0)]


def test_limits_come_from_the_settings() -> None:
    assert limits_of(make_settings()) == ()
    made = make_settings(budget_tokens_per_day=5, budget_cost_per_month="1.50", budget_user_tokens_per_month=7)
    assert limits_of(made) == (
        Limit("tenant", "day", "tokens", Decimal(5)),
        Limit("tenant", "month", "cost", Decimal("1.50")),
        Limit("user", "month", "tokens", Decimal(7)),
    )


async def test_foreign_tenants_do_not_settle_or_release(tenant: Tenant, new_tenant: MakeTenant) -> None:
    purse = Purse(tenant, ("tenant", "day", "tokens", 100))
    reservation = await purse.reserve(50)
    other = await new_tenant()
    async with other.runtime.uow(other.caller) as uow:
        await release(uow, reservation)
        await settle_interrupted(uow, reservation.turn_id or new_id(), text="", session_id=new_id(), message_id=None)
    assert await purse.used() == [("tenant", "day", 100, 0, 50)]
