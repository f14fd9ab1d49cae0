"""Excel workbooks (ISO 29500-1, SpreadsheetML): each sheet under its name, its rows as tables.py writes them.

Values are those that the workbook was saved with, in the format of their cell; a cell that is merged over several rows
belongs to each. Hidden sheets are left out: somebody chose not to show them. Hidden rows and columns stay, as a filter
or a folded group hides them for a moment only. Left out as well: comments, charts, text boxes, error values.

openpyxl was measured against this: a million cells take it 9 s of processor time, not 6; it walks 17 thousand million
when one stands in the last corner of a sheet; and its quick mode knows neither merged cells nor how numbers are shown.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from app.readers.cells import Book, column_of
from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.limits import DEFAULT_LIMITS, Limits
from app.readers.lines import within
from app.readers.package import Element, Package, Relation, attribute, local, opened
from app.readers.tables import Row, table_lines

_NAMELESS = re.compile(
    r"(?:sheet|tabelle|feuil|hoja|foglio|planilha|plan|blad|лист|シート|工作表|시트)\s?\d*", re.IGNORECASE
)
"""What Excel calls a sheet by itself; alone in a workbook it says less than the title does."""
_FIRST_ROW = re.compile(r"\$?[A-Z]{1,3}\$?(\d{1,7})(?::|$)")
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]*?ref=[\"']([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})[\"']")
_FILTER = "_xlnm._FilterDatabase"
_HIDDEN = ("hidden", "veryHidden")
_MOST_FROZEN = 20


class _Sheet(NamedTuple):
    name: str
    part: str
    filtered: int | None
    """The row where a filter begins."""


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    with opened(data) as package:
        main = next((each.target for each in package.relations("").values() if each.kind == "officeDocument"), "")
        workbook = package.xml(main)
        relations = package.relations(main)
        book = Book(package, workbook, relations.values())
        states = [sheet.get("state") for sheet in workbook.iter("{*}sheet")]
        sheets = list(_visible_sheets(workbook, relations))
        text = "\n".join(within(_all_lines(package, book, sheets), limits))
        title = package.title()
    hidden = sum(state in _HIDDEN for state in states)
    warnings = [f"{hidden} of {len(states)} sheets are hidden and left out."] if hidden else []
    if book.without_result:
        warnings.append(f"{book.without_result} formulas have no stored result; open the file and save it once more.")
    return cleaned_document("xlsx", [Page(None, text)], title=title, warnings=warnings)


def _visible_sheets(workbook: Element, relations: dict[str, Relation]) -> Iterator[_Sheet]:
    filters = {
        name.get("localSheetId"): _first_row((name.text or "").rpartition("!")[2])
        for name in workbook.iter("{*}definedName")
        if name.get("name") == _FILTER
    }
    for index, sheet in enumerate(workbook.iter("{*}sheet")):
        relation = relations.get(attribute(sheet, "id"))
        if relation is not None and relation.kind == "worksheet" and sheet.get("state") not in _HIDDEN:
            yield _Sheet(sheet.get("name", ""), relation.target, filters.get(str(index)))


def _first_row(reference: str) -> int | None:
    found = _FIRST_ROW.match(reference)
    return int(found[1]) if found else None


def _all_lines(package: Package, book: Book, sheets: list[_Sheet]) -> Iterator[str]:
    is_first = True
    for sheet in sheets:
        lines = table_lines(_rows(package, book, sheet), header_expected=False)
        first = next(lines, None)
        if first is None:
            continue
        if not is_first:
            yield ""
        if len(sheets) > 1 or not _NAMELESS.fullmatch(sheet.name):
            yield from (f"# {sheet.name}", "")
        yield from chain([first], lines)
        is_first = False


def _rows(package: Package, book: Book, sheet: _Sheet) -> Iterator[Row]:
    """Rows that are not in the file are one empty row."""
    merged = _Merged(package.bytes_of(sheet.part))
    headers = {sheet.filtered, *_headers_of_tables(package, sheet.part)}
    last = 0
    for element in package.elements(sheet.part, "pane", "row"):
        if local(element) == "pane":
            headers.add(_last_frozen_row(element))
            continue
        number = int(element.get("r") or last + 1)
        if number != last + 1:
            yield Row({})
        cells = merged.filled(number, book.cells(element))
        is_header = len(cells) > 1 and (number in headers or book.is_bold(element))
        yield Row(cells, is_header, number in merged.wide)
        last = number


def _headers_of_tables(package: Package, part: str) -> Iterator[int | None]:
    for relation in package.relations(part).values():
        if relation.kind == "table" and relation.target in package:
            table = package.xml(relation.target)
            if table.get("headerRowCount") != "0":
                yield _first_row(table.get("ref", ""))


def _last_frozen_row(pane: Element) -> int | None:
    """Where people freeze rows, the last of them names the columns."""
    rows = float(pane.get("ySplit") or 0)
    return int(rows) if pane.get("state") in ("frozen", "frozenSplit") and 0 < rows <= _MOST_FROZEN else None


class _Merged:
    """Cells that reach over more than one row or column; the file says so behind all rows."""

    def __init__(self, sheet: bytes) -> None:
        self.wide: set[int] = set()
        """Rows with cells over more than one column."""
        self._begin: dict[int, list[tuple[int, int]]] = {}
        self._open: dict[int, tuple[int, str]] = {}
        for left, top, right, bottom in _MERGED.findall(sheet, max(0, sheet.rfind(b"sheetData"))):
            if left != right:
                self.wide.add(int(top))
            if top != bottom:
                self._begin.setdefault(int(top), []).append((column_of(left.decode()), int(bottom)))

    def filled(self, number: int, cells: dict[int, str]) -> dict[int, str]:
        """With what reaches down into this row; rows are asked for in order."""
        found = cells
        if self._open and cells:
            self._open = {column: reach for column, reach in self._open.items() if reach[0] >= number}
            above = {column: text for column, (_, text) in self._open.items()}
            found = dict(sorted((above | cells).items()))
        for column, bottom in self._begin.get(number, ()):
            if column in cells:
                self._open[column] = (bottom, cells[column])
        return found
