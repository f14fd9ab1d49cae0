"""Texts with one value each, of every kind and in every form, and texts with what only looks like one.

The same seed makes the same set. Values stand in sentences of three languages, in JSON, in an address, between commas.
"""

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from app.evaluation.masking import near_misses, values
from app.privacy.entities import ENTITIES

SEED = 20_261_126
EACH = 200
_CARRIERS = (
    "Please look at {} for me.", "{}", "see:{}", "({})", "9:30,{},done", '{{"value": "{}", "n": 1}}',
    "ఇది చూడండి: {} సరేనా?", "कृपया {} देखिए।", "This is a demo, a test: {}!", "a\n{}\nb",
    "https://shop.example/?q={}&lang=te", "“{}”…",
)  # fmt: skip
_LABELS = {
    "VID": ("My virtual ID is {}.", "VID: {}", "Aadhaar VID {}"),
    "ACCOUNT": (
        "A/c no {}",
        "my bank account number is {}",
        "ఖాతా నంబర్ {}",
        "मेरा खाता नंबर {} है",
        '{{"account_number": "{}"}}',
    ),
    "PASSPORT": ("passport no. {}", "పాస్‌పోర్ట్ {}", "पासपोर्ट नंबर {}", "{} is my passport"),
    "LICENCE": ("driving licence {}", "DL no: {}", "డ్రైవింగ్ లైసెన్స్ {}"),
    "VOTER": ("voter id {}", "EPIC {}", "మా ఓటరు కార్డు {}"),
    "VEHICLE": ("my car {}", "vehicle no {}", "బండి నంబర్ {}", "{} is my bike"),
    "TAN": ("TAN {}", "Our TAN is {}."),
    "VAT": ("VAT no. {}", "USt-IdNr. {}"),
}
_DIGITS = ("౦౧౨౩౪౫౬౭౮౯", "०१२३४५६७८९", "０１２３４５６７８９")
_NUMBERS = {"AADHAAR", "VID", "CARD", "PHONE", "ACCOUNT", "STEUER_ID"}
_CODES = {"PAN", "GSTIN", "IFSC", "PASSPORT", "VOTER", "TAN"}


@dataclass(frozen=True, slots=True)
class Sample:
    """`text[start:end]` is of this kind; nothing is when `start` is `end`."""

    name: str
    text: str
    start: int
    end: int


def samples(seed: int = SEED, each: int = EACH) -> Iterator[Sample]:
    """For every kind so many that hold one, and so many that do not."""
    for name in dict.fromkeys(entity.name for entity in ENTITIES):
        rng = Random(f"{seed}/{name}")  # noqa: S311  a set to measure with
        for _ in range(each):
            yield _positive(name, rng)
        for _ in range(each):
            carrier = rng.choice(_CARRIERS[:9])
            yield Sample(name, carrier.format(getattr(near_misses, name.lower())(rng)), 0, 0)


def _positive(name: str, rng: Random) -> Sample:
    value = _disguised(name, getattr(values, name.lower())(rng), rng)
    carrier = rng.choice(_LABELS.get(name, _CARRIERS))
    if "?q=" in carrier:
        value = value.replace(" ", "%20").replace("+", "%2B")
    before, _, behind = carrier.partition("{}")
    before, behind = before.format(), behind.format()
    return Sample(name, before + value + behind, len(before), len(before) + len(value))


def _disguised(name: str, value: str, rng: Random) -> str:
    """Half of them as they are; the other half as scanners, phones and people of other scripts write them."""
    if name not in _NUMBERS | _CODES or rng.random() < 0.5:
        return value
    how = rng.randrange(4 if name in _CODES else 6)
    at = rng.randrange(2, len(value) - 1)
    if how == 0:
        return "\u200b".join(value)
    if how == 1:
        return value.translate(str.maketrans(string.digits, rng.choice(_DIGITS)))
    if how == 2:
        return value.upper()[:at] + "\n" + value.upper()[at:]
    if how == 3:
        return value.upper()[:at] + "\u00a0" + value.upper()[at:]
    if how == 4:
        return value.replace(" ", "\u00a0")
    return re.sub("(?<=[0-9])[ -]?(?=[0-9])", "\u00a0", value)
