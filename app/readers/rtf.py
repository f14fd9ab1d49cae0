"""Rich Text Format (specification 1.9.1): headings, text, tables, text boxes; then foot- and endnotes, as one page.

Numbers and bullets of lists are text in this format and stay. Left out: pictures, embedded data, page headers and
footers, comments, equations, hidden and deleted text, instructions of fields. One pass over tokens, without recursion.
"""

import re
import sys
from collections.abc import Callable
from typing import NamedTuple

from app.readers.clean import cleaned_document
from app.readers.code_pages import ANSI, MACINTOSH, codec_of_charset, codec_of_page, decode_page
from app.readers.document import Document, Page
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits
from app.readers.rtf_lines import Lines
from app.readers.rtf_words import (
    HEADINGS,
    LEFT_OUT,
    NEVER_A_FALLBACK,
    PARAGRAPH_ENDS,
    PRIVATE_USE,
    READ_THOUGH_STARRED,
    WRITTEN,
)

_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?=\{\\rtf)")
_TOKEN = re.compile(
    rb"\\([A-Za-z]{1,32})(-?\d{1,10})? ?|\\'([0-9A-Fa-f]{2})|\\([^A-Za-z])|([{}])|([^\\{}]+)", re.DOTALL
)
_STYLE = re.compile(rb"\{\\s(\d{1,4})\b[^{};]*[ \r\n](?:heading ([1-9])|title);", re.IGNORECASE)
_OPENING = re.compile(rb"[\r\n ]*\{")
_IN_SKIPPED = re.compile(rb"[{}]|\\bin(\d{1,10}) ?|\\.", re.DOTALL)


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    if not data:
        raise UnreadableDocument("empty_file")
    start = _START.match(data)
    if start is None:
        raise UnreadableDocument("bad_file")
    parser = _Parser(data, start.end(), limits.max_text_bytes)
    parser.run()
    text = _joined([*parser.body.finished(), *parser.notes.finished()])
    title = _joined(parser.title.finished())
    warnings = ["The file ends too early; something may be missing."] if parser.is_cut_off else []
    return cleaned_document("rtf", [Page(None, text)], title=title, warnings=warnings)


def _joined(lines: list[str]) -> str:
    """Surrogates, which come as two \\u each, become characters."""
    whole = "\n".join(lines).encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
    return whole.translate(PRIVATE_USE)


class _Group(NamedTuple):
    """What `}` puts back."""

    into: Lines
    font: int | None = None
    fallback: int = 1
    """How many characters after \\u stand for it in old programs (\\uc)."""
    is_hidden: bool = False
    is_deleted: bool = False
    in_table: bool = False
    heading: int = 0


class _Parser:
    """`run` fills `body`, `notes` and `title`."""

    def __init__(self, data: bytes, start: int, most_chars: int) -> None:
        self.body, self.notes, self.title, self.nowhere = (Lines() for _ in range(4))
        self.is_cut_off = False
        self._data = data
        self._at = start
        self._room = most_chars
        self._outer: list[_Group] = []
        self._group = _Group(self.body)
        self._raw = bytearray()
        self._to_skip = 0
        self._is_starred = False
        self._encoding = ANSI
        self._fonts: dict[int | None, str] = {}
        self._styles: dict[int | None, int] = {}
        self._default_font: int | None = None

    def run(self) -> None:
        while match := _TOKEN.match(self._data, self._at):
            self._at = match.end()
            word, number, code, symbol, brace, text = match.groups()
            if text is not None:
                self._take_text(text)
            elif word is not None:
                self._take_word(word.decode(), None if number is None else int(number))
            elif code is not None:
                self._take_byte(int(code, 16))
            elif symbol is not None:
                self._take_symbol(symbol)
            elif brace == b"{":
                self._open()
            else:
                self._close()
                if not self._outer:  # what follows the last brace is not part of the document
                    return
        self.is_cut_off = True
        while self._outer:
            self._close()

    def _open(self) -> None:
        self._flush()
        self._outer.append(self._group)

    def _close(self) -> None:
        self._flush()
        inner, self._group = self._group.into, self._outer.pop()
        if inner is self._group.into:
            return
        if inner is self.notes:
            inner.end_paragraph()
        elif inner not in (self.title, self.nowhere):
            self._group.into.put_box(inner.finished())

    def _take_text(self, text: bytes) -> None:
        """Line ends of the file mean nothing."""
        text = text.translate(None, b"\r\n\0")
        skipped = min(self._to_skip, len(text))
        self._to_skip -= skipped
        self._raw += text[skipped:]

    def _take_byte(self, code: int) -> None:
        if self._to_skip:
            self._to_skip -= 1
        else:
            self._raw.append(code)

    def _take_symbol(self, symbol: bytes) -> None:
        if symbol in b"\\{}":
            self._take_byte(symbol[0])
        elif symbol in b"\r\n":
            self._end_paragraph()
        elif symbol == b"*":
            self._is_starred = True
        else:
            self._take_named(symbol.decode("latin-1"))

    def _take_word(self, word: str, number: int | None) -> None:
        starred, self._is_starred = self._is_starred, False
        if word in WRITTEN:
            self._take_named(word)
            return
        self._flush()
        if word in LEFT_OUT or (starred and word not in READ_THOUGH_STARRED):
            self._at = _end_of_group(self._data, self._at)
        elif word in PARAGRAPH_ENDS:
            self._end_paragraph()
        elif word in _CHANGES:
            self._group = _CHANGES[word](self._group, number)
        elif word in _DESTINATIONS:
            self._group = self._group._replace(into=_DESTINATIONS[word](self), in_table=False, heading=0)
        elif word in _ACTIONS:
            _ACTIONS[word](self, number)

    def _take_named(self, name: str) -> None:
        """It stands for one character, so it may be what \\u has to skip."""
        if self._to_skip and name not in NEVER_A_FALLBACK:
            self._to_skip -= 1
        elif name in WRITTEN:
            self._flush()
            self._write(WRITTEN[name])

    def _end_paragraph(self) -> None:
        self._flush()
        if self._group.in_table:
            self._group.into.write("\n")
        else:
            self._group.into.end_paragraph(self._group.heading)

    def _flush(self) -> None:
        """Before anything that changes how bytes read or where they go."""
        self._to_skip = 0
        if self._raw:
            font = self._default_font if self._group.font is None else self._group.font
            self._write(decode_page(bytes(self._raw), self._fonts.get(font, self._encoding)))
            self._raw.clear()

    def _write(self, text: str) -> None:
        if self._group.is_hidden or self._group.is_deleted:
            return
        self._room -= len(text)
        if self._room < 0:
            raise UnreadableDocument("too_large")
        self._group.into.write(text)

    def box(self) -> Lines:
        """One inside another would be copied once for each that is around it."""
        inside = self._group.into
        return Lines() if inside in (self.body, self.notes) else inside

    def end_cell(self, _: int | None) -> None:
        self._group.into.end_cell()

    def end_row(self, _: int | None) -> None:
        self._group.into.end_row()

    def write_unicode(self, number: int | None) -> None:
        """Above 32767 it is written as a negative number."""
        code = 0xFFFD if number is None else number + 0x10000 if number < 0 else number
        self._write(chr(code if 0 <= code <= sys.maxunicode else 0xFFFD))
        self._to_skip = self._group.fallback

    def skip_binary(self, number: int | None) -> None:
        self._at += max(0, number or 0)

    def skip_twin(self, _: int | None) -> None:
        """`{\\upr{ansi}{\\*\\ud{unicode}}}`: the same text twice, the first time with ? for much of it."""
        twin = _OPENING.match(self._data, self._at)
        if twin:
            self._at = _end_of_group(self._data, twin.end()) + 1

    def take_stylesheet(self, _: int | None) -> None:
        """Programs that give no outline level still name their styles."""
        end = _end_of_group(self._data, self._at)
        for style in _STYLE.finditer(self._data, self._at, end):
            self._styles[int(style[1])] = HEADINGS[int(style[2] or 1) - 1]
        self._at = end

    def set_style(self, number: int | None) -> None:
        self._group = self._group._replace(heading=self._styles.get(number, 0))

    def set_page(self, number: int | None) -> None:
        self._encoding = codec_of_page(number)

    def set_font_page(self, number: int | None) -> None:
        """In the font table, where \\f says which font is being described."""
        self._fonts[self._group.font] = codec_of_page(number)

    def set_font_charset(self, number: int | None) -> None:
        codec = codec_of_charset(number)
        if codec:
            self._fonts[self._group.font] = codec

    def set_default_font(self, number: int | None) -> None:
        self._default_font = number


_CHANGES: dict[str, Callable[[_Group, int | None], _Group]] = {
    "f": lambda group, number: group._replace(font=number),
    "uc": lambda group, number: group._replace(fallback=1 if number is None else max(0, number)),
    "v": lambda group, number: group._replace(is_hidden=number != 0),
    "deleted": lambda group, number: group._replace(is_deleted=number != 0),
    "mvf": lambda group, number: group._replace(is_deleted=number != 0),
    "plain": lambda group, _: group._replace(font=None, is_hidden=False, is_deleted=False),
    "intbl": lambda group, number: group._replace(in_table=number != 0),
    "outlinelevel": lambda group, number: group._replace(heading=HEADINGS.get(number, 0)),
    "pard": lambda group, _: group._replace(in_table=False, heading=0),
}
_DESTINATIONS: dict[str, Callable[[_Parser], Lines]] = {
    "fonttbl": lambda parser: parser.nowhere,
    "info": lambda parser: parser.nowhere,
    "title": lambda parser: parser.title,
    "footnote": lambda parser: parser.notes,
    "shptxt": lambda parser: parser.box(),
    "dptxbxtext": lambda parser: parser.box(),
}
_ACTIONS: dict[str, Callable[[_Parser, int | None], None]] = {
    "cell": _Parser.end_cell,
    "row": _Parser.end_row,
    "u": _Parser.write_unicode,
    "bin": _Parser.skip_binary,
    "upr": _Parser.skip_twin,
    "stylesheet": _Parser.take_stylesheet,
    "s": _Parser.set_style,
    "ansicpg": _Parser.set_page,
    "mac": lambda parser, _: parser.set_page(MACINTOSH),
    "pc": lambda parser, _: parser.set_page(437),
    "pca": lambda parser, _: parser.set_page(850),
    "cpg": _Parser.set_font_page,
    "fcharset": _Parser.set_font_charset,
    "deff": _Parser.set_default_font,
}


def _end_of_group(data: bytes, at: int) -> int:
    """Where its `}` stands; the end of the file when there is none."""
    depth = 1
    while match := _IN_SKIPPED.search(data, at):
        at = match.end()
        if match[1]:
            at += int(match[1])
        elif match[0] == b"{":
            depth += 1
        elif match[0] == b"}":
            depth -= 1
            if not depth:
                return match.start()
    return len(data)
