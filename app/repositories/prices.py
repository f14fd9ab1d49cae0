from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.core.ids import new_id
from app.models import ModelPrice
from app.repositories.base import Repository

MILLIONTH = "0.000001"
"""Multiplied with: a division would round."""


def price_of(model: str) -> str:
    """SQL: the price in force of the model that this expression names. A name beats a pattern, of patterns the one that
    says more; then the newest counts."""
    pattern = r"replace(replace(replace(replace(p.model, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')"
    return f"""
    SELECT p.input_price, p.output_price FROM model_prices p
    WHERE {model} LIKE {pattern} AND p.valid_from <= now()
    ORDER BY p.model = {model} DESC, length(replace(p.model, '*', '')) DESC, p.model, p.valid_from DESC
    LIMIT 1
    """  # noqa: S608  names of our own columns


HIGHEST_COST = text(f"""
SELECT coalesce(max((CAST(:input AS bigint) * p.input_price + CAST(:output AS bigint) * p.output_price) * {MILLIONTH}),
                0)
FROM unnest(CAST(:models AS text[])) AS m(name) CROSS JOIN LATERAL ({price_of("m.name")}) p
""")  # noqa: S608  constants


class PriceRepository(Repository):
    """Prices are the installation's: every tenant's models cost the same."""

    async def put(self, values: dict[str, Any], valid_from: datetime | None) -> ModelPrice:
        """In force from that moment, or from now on. Said again for the same moment, the last word counts."""
        row = insert(ModelPrice).values(**values, id=new_id(), valid_from=valid_from or func.now())
        statement = row.on_conflict_do_update(index_elements=[ModelPrice.model, ModelPrice.valid_from], set_=values)
        returning = statement.returning(ModelPrice).execution_options(populate_existing=True)
        return (await self._session.execute(returning)).scalar_one()

    async def list_all(self) -> list[tuple[ModelPrice, bool]]:
        """(price, whether it is in force), by model and newest first."""
        newest = func.max(ModelPrice.valid_from).filter(ModelPrice.valid_from <= func.now())
        in_force = ModelPrice.valid_from == newest.over(partition_by=ModelPrice.model)
        statement = select(ModelPrice, func.coalesce(in_force, False)).order_by(
            ModelPrice.model, ModelPrice.valid_from.desc()
        )
        return [(row[0], row[1]) for row in await self._session.execute(statement)]

    async def highest_cost(self, models: Sequence[str], *, input_tokens: int, output_tokens: int) -> Decimal:
        """Of the models that may answer, by the one that is dearest; 0 when none has a price."""
        values = {"models": [*models], "input": input_tokens, "output": output_tokens}
        return Decimal((await self._session.execute(HIGHEST_COST, values)).scalar_one())
