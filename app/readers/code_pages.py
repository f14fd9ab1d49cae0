"""Encodings that a file states: by name, by the number of a Windows code page or by the character set of a font."""

import codecs

from app.readers.encoding import decode_cp1252

ANSI = "cp1252"
MACINTOSH = 10000
_NAMES = {MACINTOSH: "mac_roman", 1361: "johab", 65001: "utf-8"}
_PAGES_OF_CHARSETS = {
    0: 1252, 2: 1252, 77: MACINTOSH, 128: 932, 129: 949, 130: 1361, 134: 936, 136: 950, 161: 1253, 162: 1254,
    163: 1258, 177: 1255, 178: 1256, 186: 1257, 204: 1251, 222: 874, 238: 1250, 254: 437, 255: 850,
}  # fmt: skip
READ_AS_ANSI = frozenset({"iso-8859-1", "latin1", "latin-1", "us-ascii", "ascii", "windows-1252", ANSI})
"""Browsers read all of these as Windows-1252 (WHATWG Encoding, 4.2)."""


def decode_named(data: bytes, name: str) -> str | None:
    """None for a name that no encoding of text has; what cannot be decoded becomes U+FFFD."""
    try:
        return decode_page(data, ANSI if name.lower() in READ_AS_ANSI else name)
    except (LookupError, UnicodeError):  # an unknown name, or a codec that is not for text
        return None


def codec_of_page(number: int | None) -> str:
    """Windows-1252 for a number that is unknown."""
    try:
        return codecs.lookup(_NAMES.get(number or 0, f"cp{number}")).name
    except LookupError:
        return ANSI


def codec_of_charset(number: int | None) -> str | None:
    """None for one that does not name a code page: the document's own holds."""
    page = _PAGES_OF_CHARSETS.get(-1 if number is None else number)
    return None if page is None else codec_of_page(page)


def decode_page(raw: bytes, codec: str) -> str:
    """What cannot be decoded becomes U+FFFD."""
    return decode_cp1252(raw) if codec == ANSI else raw.decode(codec, errors="replace")
