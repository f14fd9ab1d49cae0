"""`ragchat prices`: what models cost."""

import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import typer

from app.cli.common import load_settings, run, stop
from app.cli.database import command_database
from app.cli.tables import table
from app.core.settings import Settings
from app.db.uow import uow_factory
from app.schemas.prices import PriceOut
from app.schemas.usage import plain
from app.services.prices import PriceService

HEADS = ("", "model", "input", "output", "valid from")
PLACES = 6
HIGHEST = Decimal(10) ** 9


def list_(*, as_json: bool) -> None:
    settings = load_settings()
    found = run(lambda: _list(settings))
    if as_json:
        typer.echo(json.dumps([price.model_dump(mode="json") for price in found], ensure_ascii=False))
        return
    for line in table([HEADS, *(_row(price) for price in found)]):
        typer.echo(line)


async def _list(settings: Settings) -> list[PriceOut]:
    async with command_database(settings) as engine:
        return await PriceService(uow_factory(engine)).list_all()


def _row(price: PriceOut) -> tuple[str, ...]:
    amounts = plain(price.input_price), plain(price.output_price)
    return ("*" if price.in_force else "", price.model, *amounts, f"{price.valid_from:%Y-%m-%d %H:%M:%SZ}")


def set_(model: str, input_price: str, output_price: str, valid_from: datetime | None) -> None:
    if not model.strip() or not model.isprintable():
        stop("the model needs a name")
    amounts = _amount(input_price), _amount(output_price)
    moment = valid_from.replace(tzinfo=UTC) if valid_from else None
    settings = load_settings()
    run(lambda: _set(settings, model.strip(), amounts, moment))
    typer.echo(f"{model.strip()}: {plain(amounts[0])} in, {plain(amounts[1])} out for a million tokens, in US dollars")


def _amount(given: str) -> Decimal:
    try:
        amount = Decimal(given)
    except InvalidOperation:
        stop(f"not an amount of money: {given}")
    exponent = amount.as_tuple().exponent
    if not amount.is_finite() or not 0 <= amount < HIGHEST or not isinstance(exponent, int) or exponent < -PLACES:
        stop(f"not an amount of money with {PLACES} decimal places at most: {given}")
    return amount


async def _set(settings: Settings, model: str, amounts: tuple[Decimal, Decimal], valid_from: datetime | None) -> None:
    async with command_database(settings) as engine:
        service = PriceService(uow_factory(engine))
        await service.set(model, input_price=amounts[0], output_price=amounts[1], valid_from=valid_from)
