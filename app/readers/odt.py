"""OpenDocument text (ISO 26300) of LibreOffice: headings, paragraphs, lists, tables, then notes, as one page.

Left out: page headers and footers, tables of contents, comments, what change tracking keeps of deleted text, sections
that are not shown.
"""

import re
from collections.abc import Iterator

from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits
from app.readers.lines import within
from app.readers.package import Element, Package, attribute, local, opened

_SPACE = re.compile(r"[ \t\n\r]+")
_DRAWING = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_DEEPEST_HEADING = 6
_DEEPEST_LIST = 8
_MOST_REPEATED = 100
_SKIPPED = frozenset({
    "tracked-changes", "annotation", "table-of-content", "illustration-index", "table-index", "object-index",
    "alphabetical-index", "user-index", "forms", "ruby-text", "script",
})  # fmt: skip


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    with opened(data) as package:
        if "META-INF/manifest.xml" in package and b"encryption-data" in package.bytes_of("META-INF/manifest.xml"):
            raise UnreadableDocument("encrypted")
        content = package.xml("content.xml")
        text = "\n".join(within(_Text(content).lines(), limits))
        title = _title(package)
    return cleaned_document("odt", [Page(None, text)], title=title)


def _title(package: Package) -> str | None:
    titles = package.xml("meta.xml").iter("{*}title") if "meta.xml" in package else ()
    return next((title.text for title in titles), None)


class _Text:
    """One document being walked."""

    def __init__(self, content: Element) -> None:
        body = content.find("{*}body/{*}text")
        if body is None:
            raise UnreadableDocument("bad_file")
        self._body = body
        self._notes: list[Element] = []
        self._titles = {"Title"} | {
            attribute(style, "name")
            for style in content.iterfind("{*}automatic-styles/{*}style")
            if attribute(style, "parent-style-name") == "Title"
        }

    def lines(self) -> Iterator[str]:
        yield from self._blocks(self._body)
        for note in self._notes:  # grows while notes have notes
            yield from (line for line in self._blocks(note) if line.strip())

    def _blocks(self, container: Element) -> Iterator[str]:
        for child in container:
            name = local(child)
            if name == "p":
                yield from self._paragraph(child, "# " if attribute(child, "style-name") in self._titles else "")
            elif name == "h":
                level = min(int(attribute(child, "outline-level") or 1), _DEEPEST_HEADING)
                yield from self._paragraph(child, "#" * level + " ")
            elif name == "list":
                yield from self._items(child, 0)
            elif name == "table":
                yield from self._rows(child)
            elif name not in _SKIPPED and attribute(child, "display") != "none":
                yield from self._blocks(child)

    def _paragraph(self, paragraph: Element, mark: str) -> Iterator[str]:
        """The paragraph, then what stands in its text boxes. A heading is one line; what is marked is not empty."""
        boxes: list[Element] = []
        text = "".join(self._runs(paragraph, boxes)).strip(" ")
        if mark.startswith("#"):
            text = " ".join(text.split())
        if text.strip() or not mark:
            yield mark + text
        for box in boxes:
            yield from self._blocks(box)

    def _runs(self, node: Element, boxes: list[Element]) -> Iterator[str]:
        yield _squeezed(node.text)
        for child in node:
            name = local(child)
            if name == "s":
                yield " " * min(int(attribute(child, "c") or 1), _MOST_REPEATED)
            elif name == "tab":
                yield "\t"
            elif name == "line-break":
                yield "\n"
            elif name == "note":
                self._notes += child.iterfind("{*}note-body")
            elif child.tag.startswith(_DRAWING):
                boxes.append(child)
            elif name not in _SKIPPED:
                yield from self._runs(child, boxes)
            yield _squeezed(child.tail)

    def _items(self, items: Element, depth: int) -> Iterator[str]:
        indent = "  " * min(depth, _DEEPEST_LIST)
        for item in items:
            mark = "- "
            for child in item:
                if local(child) == "list":
                    yield from self._items(child, depth + 1)
                elif local(child) == "p":
                    yield from self._paragraph(child, indent + mark)
                    mark = "  "
                else:
                    yield from self._blocks([child])

    def _rows(self, table: Element) -> Iterator[str]:
        """One line a row; a cell's own lines, also those of a table inside it, are put side by side."""
        for child in table:
            if local(child) == "table-row":
                cells = list(self._cells(child))
                if any(cells):
                    yield " | ".join(cells)
            else:
                yield from self._rows(child)

    def _cells(self, row: Element) -> Iterator[str]:
        """Empty for one that a cell above reaches into."""
        covered = 0
        for cell in row:
            name = local(cell)
            repeated = min(int(attribute(cell, "number-columns-repeated") or 1), _MOST_REPEATED)
            if name == "table-cell":
                covered = int(attribute(cell, "number-columns-spanned") or 1) - 1
                yield from [" ".join(" ".join(self._blocks(cell)).split())] * repeated
            elif name == "covered-table-cell":
                yield from [""] * (repeated - covered)
                covered = max(0, covered - repeated)


def _squeezed(text: str | None) -> str:
    """White space of the file; what people typed is in elements of its own."""
    return _SPACE.sub(" ", text or "")
