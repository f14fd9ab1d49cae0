"""Word 2007 and later (ISO 29500): headings, text, tables, text boxes, foot- and endnotes, in order, as one page.

python-docx opens the package; the walk below sees what its `iter_inner_content` leaves out: content controls,
tracked insertions, text boxes. Deleted text is left out, and so are headers and footers: they repeat on each
page. External relations are never followed.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import docx
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml import parse_xml
from docx.oxml.ns import qn
from lxml import etree

from app.readers.archive import MALFORMED_ARCHIVE, check_archive
from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits
from app.readers.lines import within

Element = Any  # lxml has no types of its own

_PARAGRAPH, _TABLE, _ROW, _CELL = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:tc")
_TEXT_BOX = qn("w:txbxContent")
_TEXTS = frozenset({qn("w:t"), "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"})
# The same text a second time, for old programs.
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_SKIPPED = frozenset({qn("w:del"), qn("w:moveFrom"), qn("w:pPr"), qn("w:rPr"), qn("w:sectPr"), _FALLBACK})
_WRITTEN = {
    qn("w:tab"): "\t", qn("w:ptab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-",
}  # fmt: skip
_PROPERTIES, _STYLE, _VALUE = qn("w:pPr"), qn("w:pStyle"), qn("w:val")
_HEADING = re.compile(r"heading ([1-9])|title", re.IGNORECASE)
_DEEPEST_HEADING = 6
_NOTES = (RELATIONSHIP_TYPE.FOOTNOTES, RELATIONSHIP_TYPE.ENDNOTES)
_MALFORMED = (*MALFORMED_ARCHIVE, PackageNotFoundError, etree.XMLSyntaxError, LookupError, AttributeError, TypeError)


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    if not data:
        raise UnreadableDocument("empty_file")
    check_archive(data)
    try:
        document = docx.Document(BytesIO(data))
        text = "\n".join(within(_Text(document).lines(), limits))
        title = _title(document)
    except _MALFORMED as exc:  # python-docx lets these out of broken packages
        raise UnreadableDocument("bad_file") from exc
    return cleaned_document("docx", [Page(None, text)], title=title)


class _Text:
    """One document being walked."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._levels = _heading_levels(document)

    def lines(self) -> Iterator[str]:
        yield from self._lines(self._document.element.body)
        for relation in self._document.part.rels.values():
            if relation.reltype in _NOTES and not relation.is_external:
                yield from (line for line in self._lines(parse_xml(relation.target_part.blob)) if line.strip())

    def _lines(self, container: Element) -> Iterator[str]:
        for child in container:
            tag = child.tag
            if tag == _PARAGRAPH:
                yield from self._paragraph(child)
            elif tag == _TABLE:
                yield from self._rows(child)
            elif tag not in _SKIPPED:
                yield from self._lines(child)

    def _paragraph(self, paragraph: Element) -> Iterator[str]:
        """The paragraph, then what stands in its text boxes."""
        boxes: list[Element] = []
        text = "".join(_runs(paragraph, boxes))
        style = _style(paragraph)
        level = 0 if style is None else self._levels.get(style.get(_VALUE), 0)
        yield f"{'#' * level} {' '.join(text.split())}" if level and text.strip() else text
        for box in boxes:
            yield from self._lines(box)

    def _rows(self, table: Element) -> Iterator[str]:
        """One line a row; a cell's own lines, also those of a table inside it, are put side by side."""
        for row in _own(table, _ROW):
            cells = [" ".join(" ".join(self._lines(cell)).split()) for cell in _own(row, _CELL)]
            if any(cells):
                yield " | ".join(cells)


def _heading_levels(document: Any) -> dict[str, int]:
    """By the identifiers of styles, which are in the language of the author; their names are not."""
    levels = {}
    for style in document.styles.element.iterfind(qn("w:style")):
        name = style.find(qn("w:name"))
        found = None if name is None else _HEADING.fullmatch(name.get(_VALUE, ""))
        if found:
            levels[style.get(qn("w:styleId"))] = min(int(found[1] or 1), _DEEPEST_HEADING)
    return levels


def _style(paragraph: Element) -> Element | None:
    """`find` with a path would take longer than all else here."""
    groups = paragraph.iterchildren(_PROPERTIES)
    return next((style for properties in groups for style in properties.iterchildren(_STYLE)), None)


def _runs(node: Element, boxes: list[Element]) -> Iterator[str]:
    for child in node:
        tag = child.tag  # made anew each time
        if tag in _TEXTS:
            yield child.text or ""
        elif tag in _WRITTEN:
            yield _WRITTEN[tag]
        elif tag == _TEXT_BOX:
            boxes.append(child)
        elif tag not in _SKIPPED:
            yield from _runs(child, boxes)


def _own(node: Element, tag: str) -> Iterator[Element]:
    """Rows of a table or cells of a row, also those wrapped in content controls; none of inner tables."""
    for child in node:
        if child.tag == tag:
            yield child
        elif child.tag not in _SKIPPED and child.tag != _CELL:
            yield from _own(child, tag)


def _title(document: Any) -> str | None:
    """python-docx would make up a title where the package has no core properties."""
    try:
        document.part.package.part_related_by(RELATIONSHIP_TYPE.CORE_PROPERTIES)
    except KeyError:
        return None
    title: str = document.core_properties.title
    return title
