"""Indian papers without a check digit: passport, driving licence, voter card, number plate. A label must name them."""

import re
from collections.abc import Iterator

from app.privacy.characters import GAP, SOFT
from app.privacy.entity import Entity, Span
from app.privacy.folding import Folded
from app.privacy.labels import labelled

_STATES = """
AN AP AR AS BR CG CH DD DL DN GA GJ HP HR JH JK KA KL LA LD MH ML MN MP MZ NL OD OR PB PY RJ SK TG TN TR TS UA UK UP
WB
"""
STATES = frozenset(_STATES.split())
_BEHIND = "(?![0-9A-Za-z])"
_J = f"[{GAP}]{{0,2}}"
_SEVEN = re.compile(rf"[0-9](?:[{SOFT}]{{0,2}}[0-9]){{6}}{_BEHIND}")
_LICENCE = re.compile(rf"[0-9]{{2}}{_J}(?:19|20)[0-9]{{2}}{_J}[0-9]{{7}}{_BEHIND}")
_PLATE = re.compile(rf"[0-9]{{1,2}}{_J}[A-Za-z]{{1,3}}{_J}[0-9]{{4}}{_BEHIND}")
_BHARAT = re.compile(
    rf"[0-9]{{2}}(?<![0-9A-Za-z].{{2}}){_J}[Bb][Hh]{_J}[0-9]{{4}}{_J}[A-Za-z]{{1,2}}{_BEHIND}", re.DOTALL
)
_LETTER = f"[{SOFT}]{{0,2}}[A-Za-z]"
_HEADS = {
    count: re.compile(rf"(?<![0-9A-Za-z])[A-Za-z](?:{_LETTER}){{{count - 1}}}{_J}\Z", re.DOTALL) for count in (1, 2, 3)
}


def _headed(folded: Folded, tail: re.Pattern[str], letters: int, kind: str) -> Iterator[Span]:
    """Codes that begin with letters, found from their digits on."""
    text = folded.text
    for match in folded.codes(tail):
        head = _HEADS[letters].search(text, max(0, match.start() - 3 * letters), match.start())
        if head is not None and labelled(text, head.start(), match.end(), kind):
            yield head.start(), match.end()


def _of_a_state(folded: Folded, tail: re.Pattern[str], kind: str) -> Iterator[Span]:
    for start, end in _headed(folded, tail, 2, kind):
        if folded.text[start : start + 2].upper() in STATES:
            yield start, end


def _vehicle(folded: Folded) -> Iterator[Span]:
    yield from _of_a_state(folded, _PLATE, "vehicle")
    for match in folded.codes(_BHARAT):
        if labelled(folded.text, *match.span(), "vehicle"):
            yield match.span()


PASSPORT = Entity("PASSPORT", lambda folded: _headed(folded, _SEVEN, 1, "passport"))
LICENCE = Entity("LICENCE", lambda folded: _of_a_state(folded, _LICENCE, "licence"))
VOTER = Entity("VOTER", lambda folded: _headed(folded, _SEVEN, 3, "voter"))
VEHICLE = Entity("VEHICLE", _vehicle)
