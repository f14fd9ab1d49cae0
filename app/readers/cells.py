"""Cells of an Excel workbook to the texts that people see in them."""

import math
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from app.readers.number_formats import BUILT_IN, GENERAL, shown
from app.readers.package import Element, Package, Relation, local

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_MOST_LETTERS = 3
_DIGITS = "0123456789"
_TRUE = ("1", "true")
_FALSE = ("0", "false")
_BOOLEANS = {"1": "TRUE", "0": "FALSE"}


class Book:
    """What cells refer to: strings, formats, the calendar. `without_result` counts formulas that have none."""

    def __init__(self, package: Package, workbook: Element, relations: Iterable[Relation]) -> None:
        self.without_result = 0
        self._since_1904 = any(node.get("date1904") in _TRUE for node in workbook.iter("{*}workbookPr"))
        self._strings: list[str] = []
        self._formats: list[str] = []
        self._bold: set[str] = set()
        for relation in relations:
            if relation.kind == "sharedStrings" and relation.target in package:
                self._strings += map(_text, package.elements(relation.target, "si"))
            elif relation.kind == "styles" and relation.target in package:
                styles = package.xml(relation.target)
                self._formats += _formats(styles)
                self._bold |= set(_bold_styles(styles))

    def cells(self, row: Element) -> dict[int, str]:
        """Texts that are not empty, by column from 0."""
        found = {}
        column = -1
        for cell in row:
            letters = cell.get("r", "").rstrip(_DIGITS)
            column = column_of(letters) if 0 < len(letters) <= _MOST_LETTERS else column + 1
            if text := self._shown(cell):
                found[column] = text
        return found

    def is_bold(self, row: Element) -> bool:
        """All that is written in it."""
        return bool(self._bold) and all(cell.get("s", "0") in self._bold for cell in row if len(cell))

    def _shown(self, cell: Element) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _text(cell)
        raw: str = cell.findtext("{*}v") or ""
        if not raw:
            self.without_result += cell.find("{*}f") is not None
            return ""
        match kind:
            case "s":
                return self._strings[int(raw)]
            case "n":
                return self._number(raw, int(cell.get("s", "0")))
            case "b":
                return _BOOLEANS.get(raw, raw)
            case "d":
                return raw.removesuffix("Z").removesuffix("T00:00:00").replace("T", " ")
            case "e":
                return ""
        return _normal(raw)

    def _number(self, raw: str, style: int) -> str:
        value = float(raw)
        if not math.isfinite(value):
            return raw
        code = self._formats[style] if style < len(self._formats) else GENERAL
        return shown(value, code, since_1904=self._since_1904)


@lru_cache(maxsize=20_000)
def column_of(letters: str) -> int:
    """A is 0."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number - 1


def _formats(styles: Element) -> list[str]:
    """Format codes by the number of a cell's style."""
    written = {node.get("numFmtId"): node.get("formatCode", GENERAL) for node in styles.iter("{*}numFmt")}
    numbers = [xf.get("numFmtId", "0") for xfs in styles.iter("{*}cellXfs") for xf in xfs]
    return [written.get(number) or BUILT_IN.get(int(number), GENERAL) for number in numbers]


def _bold_styles(styles: Element) -> Iterator[str]:
    marks = (font.find("{*}b") for fonts in styles.iter("{*}fonts") for font in fonts)
    is_bold = [mark is not None and mark.get("val") not in _FALSE for mark in marks]
    cells = (xf for xfs in styles.iter("{*}cellXfs") for xf in xfs)
    for number, xf in enumerate(cells):
        if is_bold[int(xf.get("fontId", "0"))]:
            yield str(number)


def _text(holder: Element) -> str:
    """Of a string in one piece or in runs, without the phonetic guide."""
    texts = [node.text or "" for node in holder.iter("{*}t") if local(node.getparent()) != "rPh"]
    return _normal("".join(texts))


def _normal(text: str) -> str:
    """On one line; characters that XML cannot hold are written `_x000D_`."""
    if "_x" in text:
        text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    return " ".join(text.split())
