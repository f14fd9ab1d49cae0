"""Indian registrations whose form says what they are: Udyam of small businesses, CIN of companies."""

import re
from collections.abc import Iterator

from app.privacy.characters import GAP
from app.privacy.entities.papers import STATES
from app.privacy.entity import Entity, Span, code
from app.privacy.folding import Folded

_J = f"[{GAP}]{{1,3}}"
_UDYAM = re.compile(
    rf"[Uu][Dd][Yy][Aa][Mm](?<![0-9A-Za-z].{{5}}){_J}[A-Za-z]{{2}}{_J}[0-9]{{2}}{_J}[0-9]{{7}}(?![0-9A-Za-z])",
    re.DOTALL,
)
_CIN = code("KDDDDDAADDDDAAADDDDDD", A="[A-Za-z]", K="[LUlu]")
_KINDS = {"FLC", "FTC", "GAP", "GAT", "GOI", "NPL", "OPC", "PLC", "PTC", "SGC", "ULL", "ULT"}
_GAPS = re.compile(f"[{GAP}]")


def _udyam(folded: Folded) -> Iterator[Span]:
    for match in folded.codes(_UDYAM):
        yield match.span()


def _cin(folded: Folded) -> Iterator[Span]:
    """Listed or not, line of business, state, year, kind of company, number."""
    for match in folded.codes(_CIN):
        value = _GAPS.sub("", match.group()).upper()
        if value[6:8] in STATES and value[8:10] in ("18", "19", "20") and value[12:15] in _KINDS:
            yield match.span()


UDYAM = Entity("UDYAM", _udyam)
CIN = Entity("CIN", _cin)
