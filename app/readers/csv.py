"""Values separated by commas, semicolons, tabs or bars (RFC 4180 and its relatives), as one page.

A quote that is never closed would swallow what follows: its line is read without quotes.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from io import StringIO

from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.encoding import decode_text
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits
from app.readers.lines import within
from app.readers.tables import Row, table_lines

_DELIMITERS = ",;\t|"
_SAMPLE_CHARS = 65536
_SAMPLE_ROWS = 200
_LONGEST_ROW = 500
"""Lines of the file that the cells of one row may hold."""
_NO_LIMIT = 2**31 - 1


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    if not data:
        raise UnreadableDocument("empty_file")
    csv.field_size_limit(_NO_LIMIT)  # what `limits` says of the whole text holds for a cell
    text = decode_text(data).replace("\0", "")
    delimiter, start = _delimiter(text)
    rows = (Row(_cells(values)) for values in _rows(text, delimiter, start))
    lines = "\n".join(within(table_lines(rows, header_expected=True), limits))
    return cleaned_document("csv", [Page(None, lines)])


def _delimiter(text: str) -> tuple[str, int]:
    """And where the rows begin: Excel reads, and some programs write, `sep=;` as the first line."""
    first, line_break, _ = text[:_SAMPLE_CHARS].partition("\n")
    said = first.rstrip("\r\n").strip('"')
    if said[:-1].lower() == "sep=":
        return said[-1], len(first) + len(line_break)
    sample = text[:_SAMPLE_CHARS]
    if len(text) > _SAMPLE_CHARS:
        sample = sample[: sample.rfind("\n") + 1] or sample
    return max(_DELIMITERS, key=lambda delimiter: _evenness(sample, delimiter)), 0


def _evenness(sample: str, delimiter: str) -> tuple[float, int]:
    """The share of rows that have the usual number of cells, and that number; zeros when it is one."""
    widths: Counter[int] = Counter()
    for values in _rows(sample, delimiter, 0):
        if any(values):
            widths[len(values)] += 1
        if widths.total() == _SAMPLE_ROWS:
            break
    usual, rows = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return (rows / widths.total(), usual) if usual > 1 else (0.0, 0)


def _rows(text: str, delimiter: str, start: int) -> Iterator[list[str]]:
    lines = _Lines(text, start)
    while True:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        try:
            while (row := next(reader, None)) is not None:
                yield row
                lines.begin_row()
        except csv.Error:  # quotes that end nowhere, or in the middle of a cell
            yield [cell.strip() for cell in lines.first_of_row().split(delimiter)]
            lines.begin_row()
        else:
            return


class _Lines:
    """Knows where the row began that is being read."""

    def __init__(self, text: str, start: int) -> None:
        self._text = StringIO(text, newline="")
        self._text.seek(start)
        self.begin_row()

    def begin_row(self) -> None:
        self._row = self._text.tell()
        self._left = _LONGEST_ROW

    def first_of_row(self) -> str:
        self._text.seek(self._row)
        return self._text.readline()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline()
        self._left -= 1
        if not line:
            raise StopIteration
        if self._left < 0:
            raise csv.Error
        return line


def _cells(values: list[str]) -> dict[int, str]:
    texts = (" ".join(value.split()) for value in values)
    return {column: text for column, text in enumerate(texts) if text}
