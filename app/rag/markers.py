"""Markers of passages in an answer, whole or as they come in pieces."""

from collections.abc import Set

import regex

_SPACE = r"[\s\u200b\u2060\ufeff]{0,3}"
_ONE = rf"\^?\d{{1,3}}(?:{_SPACE}[-–—]{_SPACE}\d{{1,3}})?(?:†[^\[\]【】［］\n]{{0,60}})?"
MARKER = regex.compile(rf" ?[\[【［〔]{_SPACE}{_ONE}(?:{_SPACE}[,;،、，]{_SPACE}{_ONE}){{0,19}}{_SPACE}[\]】］〕]")
"""[1], [1, 2], [1-3], and the same in the brackets and with the additions that some models are used to: 【1】,
【1†source】, [^1]. Four digits are a year."""
GROUP = regex.compile(rf"{MARKER.pattern}(?:\s*{MARKER.pattern})*")
_RANGE = regex.compile(r"(\d+)(?:[\s\u200b\u2060\ufeff]*[-–—][\s\u200b\u2060\ufeff]*(\d+))?(?:†[^,;\]】］〕]*)?")
_PLAIN = regex.compile(r" ?\[\s*[0-9]+(?:\s*,\s*[0-9]+)*\s*\]")
_TORN = "…"
"""Stands for a marker that was removed inside another bracket, so that what is around it does not become one."""
LONGEST = 2000
"""Code points of a marker, more or less: how far back an open bracket may stand."""
WIDEST_RANGE = 20


def marker_numbers(marker: str) -> list[int]:
    """Without doubles; a range that is too wide counts as its ends."""
    found: list[int] = []
    for first, last in _RANGE.findall(marker):
        start, end = int(first), int(last or first)
        found.extend(range(start, end + 1) if 0 <= end - start < WIDEST_RANGE else (start, end))
    return list(dict.fromkeys(found))


def strip_unknown(content: str, known_numbers: Set[int]) -> str:
    """Without the markers of passages that do not exist, nor the space before them; [1, 9] becomes [1], 【1】 too."""
    return _stripped(content, known_numbers, "")


def _stripped(content: str, known: Set[int], before: str) -> str:
    """`before` is what was already shown, its end at least."""
    shown, at = before, 0
    parts: list[str] = []
    for match in MARKER.finditer(content):
        parts.append(content[at : match.start()])
        shown = (shown + parts[-1])[-LONGEST:]
        parts.append(_rewritten(match.group(), known, inside=open_marker(shown) < len(shown.rstrip(" "))))
        shown = (shown + parts[-1])[-LONGEST:]
        at = match.end()
    return "".join([*parts, content[at:]])


def _rewritten(marker: str, known: Set[int], *, inside: bool) -> str:
    cited = marker_numbers(marker)
    kept = [n for n in cited if n in known]
    if len(kept) == len(cited) and _PLAIN.fullmatch(marker):
        return marker
    if not kept:
        return _TORN if inside else ""
    return f"{' ' * marker.startswith(' ')}[{', '.join(map(str, kept))}]"


class MarkerFilter:
    """`strip_unknown` for a text that comes in pieces; holds back only what may be the start of a marker."""

    def __init__(self, known: Set[int]) -> None:
        self._known = known
        self._held = ""
        self._shown = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        at = open_marker(text)
        self._held = text[at:]
        stripped = _stripped(text[:at], self._known, self._shown)
        self._shown = (self._shown + stripped)[-LONGEST:]
        return stripped

    def flush(self) -> str:
        """What is still held: not a marker after all."""
        held, self._held = self._held, ""
        return held


def open_marker(text: str) -> int:
    """Where the unfinished marker at the end of the text begins; the text's length when there is none."""
    at = max(map(text.rfind, "[【［〔"))
    if at >= 0:
        at -= text[:at].endswith(" ")
        match = MARKER.fullmatch(text, at, partial=True)
        if match is not None and match.partial:
            return at
    return len(text) - text.endswith(" ")


def before_markers(text: str, end: int) -> int | None:
    """Where the run of markers that ends here begins, `end` when there is none; None when it is longer than LONGEST."""
    at: int | None = end
    while at is not None and at > end - LONGEST:
        begin = _closed_marker(text, at) if text[at - 1 : at] in ("]", "】", "］", "〕") else None
        if begin is None:
            return at
        at = begin
    return None


def _closed_marker(text: str, end: int) -> int | None:
    """Where the marker that ends here begins, with the space before it."""
    least = max(0, end - LONGEST)
    at = max(text.rfind(opener, least, end) for opener in "[【［〔")
    if at < 0:
        return None
    at -= text[at - 1 : at] == " "
    return at if MARKER.fullmatch(text, at, end) is not None else None
