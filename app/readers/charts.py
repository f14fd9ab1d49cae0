"""The numbers that are kept with a chart (ISO 29500-1, DrawingML): a row a category, a column a series."""

import math
from collections.abc import Iterator

from app.readers.number_formats import GENERAL, shown
from app.readers.package import Element
from app.readers.tables import Row, table_lines

_CATEGORIES = ("{*}cat", "{*}xVal")
_VALUES = ("{*}val", "{*}yVal")


def chart_lines(chart: Element) -> Iterator[str]:
    """The title, then the rows."""
    title = chart.find("{*}chart/{*}title")
    if title is not None:
        yield " ".join("".join(node.text or "" for node in title.iter("{*}t")).split())
    names: dict[int, str] = {}
    rows: dict[int, dict[int, str]] = {}
    for column, series in enumerate(chart.iter("{*}ser"), start=1):
        names[column] = " ".join(node.text or "" for node in series.iterfind("{*}tx//{*}v"))
        for index, text in _points(series, _CATEGORIES):
            rows.setdefault(index, {}).setdefault(0, text)
        for index, text in _points(series, _VALUES):
            rows.setdefault(index, {})[column] = text
    header = Row({column: name for column, name in names.items() if name}, is_header=True)
    cells = (dict(sorted(rows[index].items())) for index in sorted(rows))
    yield from table_lines([header, *map(Row, cells)], header_expected=True)


def _points(series: Element, tags: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for tag in tags:
        for holder in series.iterfind(tag):
            code = holder.findtext(".//{*}formatCode") or GENERAL
            for point in holder.iter("{*}pt"):
                if text := _shown(point.findtext("{*}v") or "", code):
                    yield int(point.get("idx", "0")), text


def _shown(raw: str, code: str) -> str:
    try:
        value = float(raw)
    except ValueError:
        return " ".join(raw.split())
    return shown(value, code) if math.isfinite(value) else ""
