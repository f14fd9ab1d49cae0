"""What models cost, as the operator says. Prices change, so none come with the program."""

from datetime import datetime
from decimal import Decimal

from app.core.caller import SYSTEM
from app.db.uow import UowFactory
from app.schemas.prices import PriceOut


class PriceService:
    """Whoever does this has the machine: prices are the installation's."""

    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def list_all(self) -> list[PriceOut]:
        """By model, the newest first."""
        async with self._uow(SYSTEM) as uow:
            rows = await uow.prices.list_all()
        return [
            PriceOut(
                model=price.model,
                input_price=price.input_price,
                output_price=price.output_price,
                currency=price.currency,
                valid_from=price.valid_from,
                in_force=in_force,
            )
            for price, in_force in rows
        ]

    async def set(
        self, model: str, *, input_price: Decimal, output_price: Decimal, valid_from: datetime | None = None
    ) -> None:
        """In force from then or from now on. What was paid before stays as it is in the ledger."""
        values = {"model": model, "input_price": input_price, "output_price": output_price}
        async with self._uow(SYSTEM) as uow:
            await uow.prices.put(values, valid_from)
