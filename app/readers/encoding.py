"""Bytes of a text file to str, also when nobody said the encoding."""

import codecs
import re

from app.readers.errors import UnreadableDocument

_BOMS = (  # UTF-32 first: its little-endian BOM begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 65536
_FEWEST_ZEROS = 0.02
_CLEARLY_FEWER = 0.1
_FIRST_PRINTABLE = 0x20
_STRANGE = re.compile("[\x01-\x06\x0e-\x1a\x1c-\x1f\x7f\ufffd]+")
"""No text has them but by accident. White space, bells, overstrikes and the escapes of terminals are not among them."""
_STRAY = 8
_MOST_STRANGE = 0.05
"""Random bytes have nearly twice as many. NULs are not counted: with them texts are divided and filled up."""


def decode_text(data: bytes) -> str:
    """Of a file whose name says that it is text. UnreadableDocument(bad_file) when it is something else."""
    text = decode(data)
    strange = sum(len(run[0]) for run in _STRANGE.finditer(text))
    if strange > max(_STRAY, _MOST_STRANGE * (len(text) - text.count("\0"))):
        raise UnreadableDocument("bad_file")
    return text


def decode(data: bytes) -> str:
    """Never fails: BOM, then UTF-16/32 by their zero bytes, then UTF-8, then Windows-1252."""
    marked = by_bom(data)
    if marked is not None:
        return marked
    wide = _wide_encoding(data) if b"\0" in data[:_SAMPLE_BYTES] else None
    if wide:
        return data.decode(wide, errors="replace")
    if is_utf8(data):
        return data.decode("utf-8")
    return decode_cp1252(data)


def by_bom(data: bytes) -> str | None:
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(encoding, errors="replace")
    return None


def decode_cp1252(data: bytes) -> str:
    """As browsers read it: the five bytes that Windows-1252 leaves open stand for themselves."""
    return data.decode("cp1252", errors="surrogateescape").translate(_OPEN_IN_CP1252)


_OPEN_IN_CP1252 = {0xDC00 + byte: byte for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _wide_encoding(data: bytes) -> str | None:
    for encoding in ("utf-32-le", "utf-32-be"):
        if _decodes(data[: _SAMPLE_BYTES - _SAMPLE_BYTES % 4], encoding):
            return encoding
    return _utf16(data[:_SAMPLE_BYTES])


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _utf16(sample: bytes) -> str | None:
    """Zero bytes stand on one side of the pairs only, as the high bytes of spaces and Latin letters."""
    if len(sample) % 2:
        return None
    even, odd = sample[0::2], sample[1::2]
    zeros_even, zeros_odd = even.count(0), odd.count(0)
    encoding, high = ("utf-16-le", odd) if zeros_odd >= zeros_even else ("utf-16-be", even)
    most, least = max(zeros_even, zeros_odd), min(zeros_even, zeros_odd)
    if most < _FEWEST_ZEROS * len(high) or least > _CLEARLY_FEWER * most:
        return None
    # UTF-8 with stray NULs has letters where UTF-16 has the number of the script's block (Telugu 0x0C).
    blocks = sum(byte < _FIRST_PRINTABLE for byte in high)
    return encoding if 2 * blocks >= len(high) or not is_utf8(sample) else None
