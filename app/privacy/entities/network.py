"""Where a machine is: IP and MAC addresses."""

import ipaddress
import re
import string
from collections.abc import Iterator

from app.privacy.characters import apart
from app.privacy.entity import Entity, Span, lowered
from app.privacy.folding import Folded
from app.privacy.labels import OTHER, labelled

_V4 = re.compile(r"\.(?<=[0-9]\.)[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9])")
_V6 = re.compile(r":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*+")
_MAC = tuple(
    re.compile(
        rf"{mark}(?<=[0-9A-Fa-f]{{2}}{mark})(?:[0-9A-Fa-f]{{2}}{mark}){{4}}[0-9A-Fa-f]{{2}}(?![0-9A-Za-z{mark}])"
    )
    for mark in ":-"
)
_ONE_MORE = re.compile("(?<![0-9A-Za-z])[0-9A-Fa-f]{2}[:-]")
_LONGEST = 45
_HEX = string.hexdigits


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _v4(text: str) -> Iterator[Span]:
    for match in _V4.finditer(text):
        start = match.start() - len(_before(text, match.start(), string.digits, 3))
        found = _address(text[start : match.end()])
        free = apart(text, start, match.end()) and text[start - 1 : start] != "."
        if found is not None and free and not _everybodys(found) and not _is_version(text, start, match.end()):
            yield start, match.end()


def _v6(text: str) -> Iterator[Span]:
    for match in _V6.finditer(text):
        start = match.start() - len(_before(text, match.start(), _HEX, 4))
        value = text[start : match.end()].rstrip(".")
        if value.endswith(":") and not value.endswith("::"):
            value = value[:-1]
        end = start + len(value)
        for begin in (start, match.start() + 1):  # a word and a colon may stand before it
            if _is_v6(text, begin, end):
                yield begin, end
                break


def _is_v6(text: str, start: int, end: int) -> bool:
    if not (end - start <= _LONGEST and apart(text, start, end)):
        return False
    found = _address(text[start:end])
    return found is not None and not _everybodys(found) and sum(map(str.isalnum, text[start:end])) > 3


def _before(text: str, at: int, characters: str, most: int) -> str:
    near = text[max(0, at - most) : at]
    return near[len(near.rstrip(characters)) :]


def _everybodys(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Says nothing about anybody: this machine, no machine, a mask."""
    return found.is_loopback or found.is_unspecified or str(found).startswith("255.")


def _is_version(text: str, start: int, end: int) -> bool:
    """Four short numbers are rather those of a version or a heading unless something says that they are not."""
    short = end - start <= len("1.2.3.4") or labelled(text, start, end, OTHER) or text[start - 1 : start] in ("v", "V")
    return short and not labelled(text, start, end, "ip")


def _ip(folded: Folded) -> Iterator[Span]:
    yield from _v4(folded.text)
    yield from _v6(folded.text)


def _mac(folded: Folded) -> Iterator[Span]:
    text = folded.text
    for pattern in _MAC:
        for match in pattern.finditer(text):
            start, end = match.start() - 2, match.end()
            longer = _ONE_MORE.match(text, max(0, start - 3), start) is not None
            if apart(text, start, end) and not longer and not text[start:end].replace("-", "").isdigit():
                yield start, end


IP = Entity("IP", _ip, canonical=lowered)
MAC = Entity("MAC", _mac)
