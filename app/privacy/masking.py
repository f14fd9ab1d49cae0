"""What in a text is personal data, and the text with placeholders instead."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from app.privacy.entities import ENTITIES
from app.privacy.folding import fold
from app.privacy.placeholders import LITERAL, MaskingMap, find_placeholders

_UUID = re.compile(r"-(?<=[0-9A-Fa-f]{8}-)[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_UUID_HEAD = 8
_RANKS = {entity.name: rank for rank, entity in reversed([*enumerate(ENTITIES)])}


class Finding(NamedTuple):
    """text[start:end], in code points of the text that was given."""

    name: str
    start: int
    end: int


class Masked(str):
    """A text that has been masked: masking it again changes nothing."""

    __slots__ = ()


def find(text: str) -> list[Finding]:
    """In order, without overlaps."""
    return _resolved(_claims(text))


def mask(text: str, known: MaskingMap) -> Masked:
    """The text as it may leave: each value that is found becomes the placeholder that it has in `known`, or a new one.

    What looks like a placeholder already is a value like any other, so that `known.restore` gives back this very text.
    """
    if isinstance(text, Masked):
        return text
    return mask_together({text: marks(text)}, known)[text]


def marks(text: str) -> list[Finding]:
    """What of a text will be a placeholder, as far as the text alone tells."""
    literal = [Finding(LITERAL, *span) for span in find_placeholders(text)]
    return _resolved([*literal, *_claims(text)])


def mask_together(marked: Mapping[str, Sequence[Finding]], known: MaskingMap) -> dict[str, Masked]:
    """Texts with their `marks`, as they may leave. What only a word beside it gave away in one of them, or earlier in
    the conversation, is masked wherever else it stands."""
    for text, findings in marked.items():
        for name, start, end in findings:
            known.placeholder(name, text[start:end])
    return {text: _masked(text, findings, known) for text, findings in marked.items()}


def _masked(text: str, findings: Sequence[Finding], known: MaskingMap) -> Masked:
    again = [Finding(*found) for found in known.occurrences(text)]
    parts: list[str] = []
    at = 0
    for name, start, end in _resolved([*findings, *again]) if again else findings:
        parts += (text[at:start], known.placeholder(name, text[start:end]))
        at = end
    return Masked("".join([*parts, text[at:]]))


def _claims(text: str) -> list[Finding]:
    """What every kind finds; what reads on over the end of a line counts only where nothing else was found."""
    folded = fold(text)
    found = [Finding(entity.name, *span) for entity in ENTITIES for span in entity.find(folded)]
    broken = [Finding(entity.name, *span) for entity in ENTITIES if entity.broken for span in entity.broken(folded)]
    if broken:
        found += _beside(broken, _resolved(found), around=True)
    if found:
        found = _without_ids(folded.text, found)
    return [Finding(claim.name, *folded.original(claim.start, claim.end)) for claim in found]


def _resolved(claims: Iterable[Finding]) -> list[Finding]:
    """Whatever anybody claims is masked: claims that overlap become one, with the name of the longest."""
    merged: list[Finding] = []
    longest = 0
    for claim in sorted(claims, key=lambda claim: (claim.start, -claim.end, _RANKS.get(claim.name, 0))):
        length = claim.end - claim.start
        if not merged or claim.start >= merged[-1].end:
            merged.append(claim)
            longest = length
            continue
        before = merged[-1]
        name = claim.name if length > longest else before.name
        longest = max(longest, length)
        merged[-1] = Finding(name, before.start, max(before.end, claim.end))
    return merged


def _beside(claims: Iterable[Finding], taken: list[Finding], *, around: bool = False) -> Iterator[Finding]:
    """Those that touch none of `taken`, or, if asked for, hold whole what they touch."""
    starts = [finding.start for finding in taken]
    for claim in claims:
        touched = taken[_first_behind(taken, starts, claim.start) : bisect_left(starts, claim.end)]
        if not touched or (around and claim.start <= touched[0].start and touched[-1].end <= claim.end):
            yield claim


def _first_behind(taken: list[Finding], starts: list[int], at: int) -> int:
    """Which is the first that does not end before."""
    before = bisect_right(starts, at) - 1
    return before + (before < 0 or taken[before].end <= at)


def _without_ids(text: str, claims: list[Finding]) -> list[Finding]:
    """Without the digits of UUIDs."""
    ids = [Finding("", match.start() - _UUID_HEAD, match.end()) for match in _UUID.finditer(text)]
    return list(_beside(claims, ids)) if ids else claims
