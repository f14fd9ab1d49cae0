"""Where money is: branches and accounts of Indian banks, IBAN, UPI addresses."""

import re
from collections.abc import Iterator
from itertools import pairwise

from app.privacy import checksums
from app.privacy.characters import GAP
from app.privacy.entity import Entity, Span, code, joined
from app.privacy.folding import Folded
from app.privacy.labels import goods_before, labelled
from app.privacy.numbers import Number, Rule, number

_IFSC = code("AAAA", "0NNNNNN")
_IFSC_SMALL = re.compile(
    r"0(?<=[A-Za-z]{4}0)(?<![0-9A-Za-z].{5})[0-9A-Za-z]{6}(?![0-9A-Za-z])",
    re.DOTALL,
)
_IBAN = re.compile(
    rf"[0-9](?<=[A-Za-z]{{2}}[0-9])(?<![0-9A-Za-z].{{3}})[0-9](?:[{GAP}]{{0,2}}[0-9A-Za-z]){{11,30}}", re.DOTALL
)
_LENGTHS = """
AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27 DK:18
DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HR:21 HU:28 IE:22 IL:23 IQ:23
IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 MR:27 MT:31
MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 SK:24
SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30
"""
_IBAN_LENGTHS = {item[:2]: int(item[3:]) for item in _LENGTHS.split()}
_GAP = re.compile(f"[{GAP}]")


def _ifsc(folded: Folded) -> Iterator[Span]:
    """Capitals, unless a word for wares stands before; small letters where something says what it is."""
    for match in folded.codes(_IFSC):
        if not goods_before(folded.text, match.start()):
            yield match.span()
    for match in folded.codes(_IFSC_SMALL):
        start, end = match.start() - 4, match.end()
        if labelled(folded.text, start, end, "ifsc"):
            yield start, end


def _iban(folded: Folded) -> Iterator[Span]:
    for match in folded.codes(_IBAN):
        start = match.start() - 2
        found = _of_length(folded.text, start, match.end())
        if found is not None:
            yield start, found


def _of_length(text: str, start: int, behind: int) -> int | None:
    """Where the IBAN that begins here ends, by the length that its country has."""
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    places = [at for at in range(start, behind) if not _GAP.match(text, at)]
    if not 0 < length <= len(places) or text[places[length - 1] + 1 :][:1].isalnum():
        return None
    value = "".join(text[at] for at in places[:length])
    if not checksums.iban(value.upper()) or (value.upper() != value and not _as_printed(text, places[:length])):
        return None
    return places[length - 1] + 1


def _as_printed(text: str, places: list[int]) -> bool:
    """Small letters are words unless nothing divides them, or groups of four, or it is called so."""
    first, gaps = places[0], [at for at, (one, next_) in enumerate(pairwise(places), 1) if next_ > one + 1]
    return all(at % 4 == 0 for at in gaps) or labelled(text, first, places[-1] + 1, "iban")


def _account(candidate: Number) -> bool:
    return len(candidate.digits) <= 18 and candidate.labelled("account")


IFSC = Entity("IFSC", _ifsc)
IBAN = Entity("IBAN", _iban, canonical=joined)
ACCOUNT = number("ACCOUNT", Rule(frozenset((length,) for length in range(9, 19)), _account, loose=True))
