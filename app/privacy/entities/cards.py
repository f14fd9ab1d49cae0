"""Payment cards: the issuer's range, its lengths, the check digit."""

from app.privacy.checksums import luhn
from app.privacy.divided import Divided
from app.privacy.numbers import Number, Rule, divided, number

_RANGES = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14, 16, 17, 18, 19)),  # Diners Club
    ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("38", "39", (14, 16, 17, 18, 19)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("60", "60", (16, 17, 18, 19)),  # RuPay, Discover
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("644", "649", (16, 17, 18, 19)),
    ("65", "65", (16, 17, 18, 19)),
    ("81", "82", (16,)),  # RuPay
    ("508", "508", (16,)),
    ("353", "353", (16,)),
    ("356", "356", (16,)),
    ("50", "50", (16, 18, 19)),  # Maestro
    ("56", "58", (16, 18, 19)),
    ("67", "67", (16, 18, 19)),
)
_SHAPES = frozenset(
    {
        *((length,) for length in range(13, 20)),
        *((4, 4, 4, 4, *rest) for rest in ((), (1,), (2,), (3,))),
        (4, 4, 4, 3), (4, 4, 4, 2), (4, 4, 4, 1), (4, 6, 5), (4, 6, 4), (8, 8),
    }
)  # fmt: skip


def _prefixes(length: int) -> frozenset[str]:
    """The first four digits of every card of this length."""
    found: set[str] = set()
    for low, high, lengths in _RANGES:
        if length in lengths:
            found |= {f"{number:04}" for number in range(int(low.ljust(4, "0")), int(high.ljust(4, "9")) + 1)}
    return frozenset(found)


_PREFIXES = {length: _prefixes(length) for length in range(13, 20)}


def _is_card(digits: str) -> bool:
    return digits[:4] in _PREFIXES.get(len(digits), ()) and luhn(digits)


def _card(card: Number) -> bool:
    """In groups that nobody prints, none of a single digit: those are a row of small numbers."""
    return _is_card(card.digits) and (card.shaped or min(map(len, card.groups)) > 1)


def _divided(row: Divided) -> bool:
    return row.sizes in _SHAPES and _is_card(row.digits)


def _display(value: str) -> str:
    """The last four, as receipts have them."""
    return f"**** {''.join(char for char in value if char.isdigit())[-4:]}"


CARD = number("CARD", Rule(_SHAPES, _card, loose=True), divided(_divided), display=_display)
