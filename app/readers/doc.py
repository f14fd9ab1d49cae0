"""Word 97-2003 ([MS-DOC]): the text by way of the piece table, as one page.

The table (section 2.4.1 of the specification) says in which order which stretches of the stream are read;
each is UTF-16 or Windows-1252. Formatting is not looked at: hidden and deleted-but-tracked text stays in.
The title is not asked for: a broken property set keeps olefile busy for ever.
"""

import re
import struct
from collections.abc import Iterator
from io import BytesIO

import olefile

from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.encoding import decode_cp1252
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits

_WORD_IDENT = 0xA5EC
_WORD_97 = 0x00C1
_ENCRYPTED, _SECOND_TABLE, _OBFUSCATED = 0x0100, 0x0200, 0x8000
_CLX_PAIR = 33  # index of fcClx/lcbClx in FibRgFcLcb97
_COMPRESSED = 0x40000000
_ENCRYPTED_OOXML = "EncryptedPackage"
_RELATIVES = ("Workbook", "Book", "PowerPoint Document")  # old Excel and PowerPoint

_FIELD_CODE = re.compile("\x13[^\x13\x14\x15]*(?:\x14([^\x13\x14\x15]*))?\x15")
_DEEPEST_FIELDS = 20
_MARKS = {0x0B: "\n", 0x0C: "\n", 0x0D: "\n", 0x1E: "-", 0x1F: None, 0xA0: " "}


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    if not data:
        raise UnreadableDocument("empty_file")
    try:
        with olefile.OleFileIO(BytesIO(data)) as ole:  # from bytes it would take a short file for a path
            text = _text(ole, limits)
    except (OSError, struct.error, ValueError, IndexError, TypeError, AttributeError, RecursionError) as exc:
        raise UnreadableDocument("bad_file") from exc  # olefile lets these out of broken containers
    return cleaned_document("doc", [Page(None, text)])


def _text(ole: olefile.OleFileIO, limits: Limits) -> str:
    if ole.exists(_ENCRYPTED_OOXML):
        raise UnreadableDocument("encrypted")
    if not ole.exists("WordDocument"):
        raise UnreadableDocument("unsupported_type" if any(map(ole.exists, _RELATIVES)) else "bad_file")
    word: bytes = ole.openstream("WordDocument").read()
    table = "1Table" if _checked_flags(word) & _SECOND_TABLE else "0Table"
    lengths, clx_at, clx_length = _file_information(word)
    clx: bytes = ole.openstream(table).read()[clx_at : clx_at + clx_length]
    main, footnotes, headers = lengths[3:6]
    wanted = 2 * (main + footnotes)  # headers and comments follow; they are not the document's text
    if min(main, footnotes, headers) < 0 or wanted > limits.max_text_bytes:
        raise UnreadableDocument("bad_file" if wanted <= limits.max_text_bytes else "too_large")
    utf16 = b"".join(_pieces(word, clx, wanted))[:wanted]
    return _written_out(utf16.decode("utf-16-le", errors="replace"))


def _checked_flags(word: bytes) -> int:
    ident, version = struct.unpack_from("<HH", word)
    if ident != _WORD_IDENT or version < _WORD_97:
        raise UnreadableDocument("unsupported_type")  # Word 95 and older have no piece table of this form
    flags: int = struct.unpack_from("<H", word, 10)[0]
    if flags & (_ENCRYPTED | _OBFUSCATED):
        raise UnreadableDocument("encrypted")
    return flags


def _file_information(word: bytes) -> tuple[tuple[int, ...], int, int]:
    """The lengths in FibRgLw, then offset and length of the Clx: section 2.5.1, blocks of stated sizes."""
    at = 32
    at += 2 + 2 * struct.unpack_from("<H", word, at)[0]
    count: int = struct.unpack_from("<H", word, at)[0]
    lengths = struct.unpack_from(f"<{count}i", word, at + 2)
    at += 2 + 4 * count + 2
    clx_at, clx_length = struct.unpack_from("<II", word, at + 8 * _CLX_PAIR)
    return lengths, clx_at, clx_length


def _pieces(word: bytes, clx: bytes, wanted: int) -> Iterator[bytes]:
    """UTF-16 of each piece in reading order, until `wanted` bytes are there."""
    at = 0
    while clx[at] == 1:  # property modifiers stand before the piece table
        at += 3 + int.from_bytes(clx[at + 1 : at + 3], "little")
    if clx[at] != 2:
        raise UnreadableDocument("bad_file")
    size: int = struct.unpack_from("<I", clx, at + 1)[0]
    count = (size - 4) // 12
    positions = struct.unpack_from(f"<{count + 1}I", clx, at + 5)
    got = 0
    for index in range(count):
        length = positions[index + 1] - positions[index]
        where: int = struct.unpack_from("<I", clx, at + 5 + 4 * (count + 1) + 8 * index + 2)[0]
        piece = _piece(word, where, length)
        got += len(piece)
        yield piece
        if length <= 0 or len(piece) < 2 * length:
            raise UnreadableDocument("bad_file")
        if got >= wanted:
            return


def _piece(word: bytes, where: int, length: int) -> bytes:
    if where & _COMPRESSED:
        start = (where & ~_COMPRESSED) // 2
        return decode_cp1252(word[start : start + length]).encode("utf-16-le")
    return word[where : where + 2 * length]


def _written_out(text: str) -> str:
    """Fields give their result, cells of a row stand side by side, marks become what they mean."""
    for _ in range(_DEEPEST_FIELDS):
        text, replaced = _FIELD_CODE.subn(lambda match: match[1] or "", text)
        if not replaced:
            break
    rows = text.replace("\x07\x07", "\n")  # the end of a row is one more cell mark
    return re.sub(r"\x07(?=\n)|\x07$", "", rows).replace("\x07", " | ").translate(_MARKS)
