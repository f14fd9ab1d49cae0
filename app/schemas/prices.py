from datetime import datetime

from app.schemas.common import Response
from app.schemas.usage import Money


class PriceOut(Response):
    """US dollars for a million tokens."""

    model: str
    input_price: Money
    output_price: Money
    currency: str
    valid_from: datetime
    in_force: bool
