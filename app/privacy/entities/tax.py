"""Indian tax numbers: PAN of people and firms, GSTIN of a registration, TAN of who deducts tax at the source."""

import re
from collections.abc import Iterator

from app.privacy import checksums
from app.privacy.characters import GAP
from app.privacy.entity import Entity, Span, code
from app.privacy.folding import Folded
from app.privacy.labels import labelled

_HOLDER = "[ABCFGHJLPTabcfghjlpt]"
_PAN = code("AAAHA", "DDDD", "A", H="[ABCFGHJLPT]")
_PAN_SMALL = re.compile(
    rf"[0-9](?<=[A-Za-z]{{3}}{_HOLDER}[A-Za-z][0-9])(?<![0-9A-Za-z].{{6}})[0-9]{{3}}[A-Za-z](?![0-9A-Za-z])", re.DOTALL
)
_GSTIN = code("DD", "LLLHLDDDDL", "NZM", H=_HOLDER, L="[A-Za-z]", N="[1-9A-Za-z]", Z="[Zz]", M="[0-9A-Za-z]")
_STATES = frozenset({*(f"{number:02}" for number in range(1, 39)), "97", "99"})
_TAN = code("AAAA", "DDDDD", "A")
_TAN_SMALL = re.compile(
    r"[0-9](?<=[A-Za-z]{4}[0-9])(?<![0-9A-Za-z].{5})[0-9]{4}[A-Za-z](?![0-9A-Za-z])",
    re.DOTALL,
)
_GAPS = re.compile(f"[{GAP}]")


def _pan(folded: Folded) -> Iterator[Span]:
    """With gaps in capitals only: "apple 2023 a" is none."""
    for match in folded.codes(_PAN):
        yield match.span()
    for match in folded.codes(_PAN_SMALL):
        yield match.start() - 5, match.end()


def _gstin(folded: Folded) -> Iterator[Span]:
    for match in folded.codes(_GSTIN):
        value = _GAPS.sub("", match.group()).upper()
        if value[:2] in _STATES and checksums.gstin(value):
            yield match.span()


def _tan(folded: Folded) -> Iterator[Span]:
    spans = [match.span() for match in folded.codes(_TAN)]
    spans += ((match.start() - 4, match.end()) for match in folded.codes(_TAN_SMALL))
    return (span for span in spans if labelled(folded.text, *span, "tan"))


PAN = Entity("PAN", _pan)
GSTIN = Entity("GSTIN", _gstin)
TAN = Entity("TAN", _tan)
