"""Aadhaar, India's number of residents, and the virtual ID that stands for it."""

from app.privacy.checksums import verhoeff
from app.privacy.divided import Divided
from app.privacy.numbers import Number, Rule, divided, number

_LENGTH = 12


def _aadhaar(candidate: Number) -> bool:
    """One that is called so is one, even mistyped, or in groups that nobody writes."""
    right = candidate.shaped and candidate.digits[0] > "1" and verhoeff(candidate.digits)
    return len(candidate.digits) == _LENGTH and (right or candidate.labelled("aadhaar"))


def _divided(row: Divided) -> bool:
    right = row.sizes == (4, 4, 4) and row.digits[0] > "1" and verhoeff(row.digits)
    return len(row.digits) == _LENGTH and (right or row.labelled("aadhaar"))


def _vid(candidate: Number) -> bool:
    named = candidate.labelled("vid") or candidate.labelled("aadhaar")
    return named and verhoeff(candidate.digits)


def _display(value: str) -> str:
    """As the issuing authority shows it."""
    return f"XXXX XXXX {''.join(char for char in value if char.isdigit())[-4:]}"


AADHAAR = number(
    "AADHAAR", Rule(frozenset({(12,), (4, 4, 4)}), _aadhaar, loose=True), divided(_divided), display=_display
)
VID = number("VID", Rule(frozenset({(16,), (4, 4, 4, 4)}), _vid))
