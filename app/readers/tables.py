"""Rows of a spreadsheet to lines of text: one a row, each with the names of its columns.

    - Plan | Price | Support
    - Plan: Gold | Price: 49 | Support: phone

Passages are found and shown without those around them, so a row far below its header has to say by itself what its
values are. The dash makes it a list item, which is not joined with the next line and not taken for a heading. Where
there is no header, rows are `- Gold | 49 | phone`. Empty rows part tables, as they do for people.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice, pairwise
from statistics import median_high
from typing import NamedTuple

_SAMPLE = 50
"""Rows that are looked at to tell whether a table has a header."""
_HEADER_WITHIN = 10
_COVERED = 0.6
"""Of the columns of a usual row, for the header; titles above a table have fewer."""
_MOST = 0.8
_LONGEST_NAME = 200
_LONG_TEXT = 20
_MUCH_LONGER = 2.5
_NUMBER = re.compile(  # also prices, dates, times, telephone numbers
    r"[-+(]?\s*(?:[^\w\s.,;:/()'\"-]|(?:[A-Z]{2,3}|Rs\.?|kr\.?)\s)?\s*[-+]?\d[\d.,:/'’ \u00a0\u202f-]*"
    r"(?:[eE][-+]?\d+|T\d[\d:.]*Z?)?\s*(?:[^\w\s]|[^\W\d]{1,3})?\)?"
)
_LONGEST_NUMBER = 40
_YEAR = re.compile(r"(?:[^\W\d]{1,4}\.?\s)?(?:19|20)\d\d(?:-\d\d){0,2}")
_WORDS_OF_DATA = frozenset({"true", "false", "yes", "no"})
_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


class Row(NamedTuple):
    """Texts by column, those that are not empty, in order."""

    cells: dict[int, str]
    is_header: bool = False
    """The file itself marks it as one; not when it marks the next row, too."""
    is_wide: bool = False
    """Has cells that reach over several columns."""


Names = dict[int, str]


def table_lines(rows: Iterable[Row], *, header_expected: bool) -> Iterator[str]:
    """`header_expected`: most files of this format begin with a header, so it needs no proof."""
    header = _NO_HEADER
    is_first = True
    for has_cells, block in groupby(rows, key=lambda row: bool(row.cells)):
        if not has_cells:
            continue
        if not is_first:
            yield ""
        sample = list(islice(block, _SAMPLE))
        found = _find_header(sample, header_expected=header_expected and is_first)
        if found is not None:
            at, header = found
            yield from (" | ".join(row.cells.values()) for row in sample[: at - header.rows_above])
            yield "- " + " | ".join(header.names.values())
            sample = sample[at + 1 :]
        elif not header.fits(sample):
            header = _NO_HEADER
        is_first = False
        prefixes = {column: _prefix(name) for column, name in header.names.items()}
        yield from (_line(row.cells, prefixes) for row in chain(sample, block))


def _line(cells: dict[int, str], prefixes: dict[int, str]) -> str:
    if len(cells) == 1 and len(prefixes) != 2:
        column, text = next(iter(cells.items()))
        if column <= min(prefixes, default=column):  # a note, or the label of the rows below
            return text
    return "- " + " | ".join([prefixes.get(column, "") + text for column, text in cells.items()])


def _prefix(name: str) -> str:
    return f"{name} " if name.endswith(("?", ":")) else f"{name}: "


class _Header(NamedTuple):
    names: Names
    numeric: frozenset[int] = frozenset()
    """The columns that hold data of a kind below it."""
    rows_above: int = 0
    """That went into the names."""

    def fits(self, sample: list[Row]) -> bool:
        """Whether these rows, after an empty one, go on with its table."""
        rows = [row.cells for row in sample if len(row.cells) > 1]
        usual = median_high(map(len, rows)) if rows else 0
        return (
            usual >= _COVERED * len(self.names)
            and all(cells.keys() <= self.names.keys() for cells in rows)
            and self.numeric <= _numeric_columns(self.names, sample)
        )


_NO_HEADER = _Header({})


def _find_header(sample: list[Row], *, header_expected: bool) -> tuple[int, _Header] | None:
    """With its place; there is a row below it."""
    pairs = list(islice(pairwise(sample), _HEADER_WITHIN))
    marked = [at for at, (row, after) in enumerate(pairs) if row.is_header and not after.is_header]
    widths = [len(row.cells) for row in sample if len(row.cells) > 1]
    least = max(2.0, _COVERED * median_high(widths)) if widths else 2.0
    likely = (at for at, (row, after) in enumerate(pairs) if _may_be_header(row, after, least))
    for at in (*marked[:1], *islice(likely, 1)):
        names, rows_above = _names(sample, at)
        below = sample[at + 1 :]
        if (
            len(names) > 1
            and _are_labels(names)
            and (at in marked or _differ(names, below, header_expected=header_expected))
        ):
            return at, _Header(names, _numeric_columns(names, below), rows_above)
    return None


def _may_be_header(row: Row, after: Row, least: float) -> bool:
    """Cells over several columns may be the upper half of a header."""
    return len(row.cells) >= least and not (row.is_wide and all(map(_is_label, after.cells.values())))


def _numeric_columns(names: Names, rows: list[Row]) -> frozenset[int]:
    return frozenset(column for column in names if _are_data(_column(rows, column)))


def _column(rows: list[Row], column: int) -> list[str]:
    return [row.cells[column] for row in rows if column in row.cells]


def _names(sample: list[Row], at: int) -> tuple[Names, int]:
    """`Price` and `Units` under `2023` and again under `2024` are told apart by the row above."""
    names = dict(sample[at].cells)
    above = sample[at - 1] if at else Row({})
    is_unique = len(set(names.values())) == len(names)
    if (is_unique and not above.is_wide) or len(above.cells) < 2:
        return names, 0
    full = dict(names)
    group, used = -1, set()
    for column in sorted(names.keys() | above.cells.keys()):
        group = column if column in above.cells else group
        if column in names and group in above.cells:
            used.add(group)
            if above.cells[group] != names[column]:
                full[column] = f"{above.cells[group]} {names[column]}"
    return (full, 1) if used == above.cells.keys() else (names, 0)


def _are_labels(names: Names) -> bool:
    """Years may be names of columns where there are several."""
    years = {name for name in names.values() if _YEAR.fullmatch(name)}
    labels = [name for name in names.values() if _is_label(name)]
    others = [name for name in names.values() if name not in years or len(years) < 2]
    return bool(labels) and all(map(_is_label, others))


def _differ(names: Names, below: list[Row], *, header_expected: bool) -> bool:
    """Whether the rows are of another kind than the names above them."""
    if len(names) == 2 and len(below) == 1 and not header_expected:  # two facts more likely than a table
        return False
    votes = sum(_vote(name, _column(below, column)) for column, name in names.items())
    votes -= len(set(names.values())) < len(names)
    return votes > 0 or (votes == 0 and (header_expected or len(names) > 2))


def _is_label(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and any(map(str.isalpha, text)) and not _is_data(text)


def _is_data(text: str) -> bool:
    """A number, price, date, time, address: no name of a column."""
    is_address = "://" in text or ("@" in text and " " not in text)
    return (
        is_address
        or text.lower() in _WORDS_OF_DATA
        or (len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text) is not None)
    )


def _are_data(values: list[str]) -> bool:
    return bool(values) and sum(map(_is_data, values)) >= _MOST * len(values)


def _vote(name: str, values: list[str]) -> int:
    """1 when the name differs in kind from what stands below it, -1 when it is the same."""
    if not values or _YEAR.fullmatch(name):
        return 0
    if _are_data(values):
        return 1
    if name in values:
        return -1
    length = median_high(map(len, values))
    is_short = length >= max(_LONG_TEXT, _MUCH_LONGER * len(name))
    identifiers = sum(_IDENTIFIER.fullmatch(value) is not None for value in values)
    is_identifier = _IDENTIFIER.fullmatch(name) is not None and identifiers < (1 - _MOST) * len(values)
    return 1 if is_short or is_identifier else 0
