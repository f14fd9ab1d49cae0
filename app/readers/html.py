"""HTML: what a reader of the page would see, headings marked with #, block elements as lines, table rows as `a | b`.

Scripts, styles and the head are left out. Nothing that the page refers to is fetched.
"""

import re

from lxml import etree

from app.readers.clean import cleaned_document
from app.readers.code_pages import decode_named
from app.readers.document import Document, Page
from app.readers.encoding import by_bom, decode
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits

_CHARSET = re.compile(
    rb"<(?:meta[^>]{0,500}?charset|\?xml[^>]{0,100}?encoding)\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE
)
_CHARSET_WITHIN = 4096
_SPACE = re.compile(r"[ \t\n\r\f]+")
_DROPPED = frozenset({"head", "script", "style", "noscript", "template", "svg", "iframe", "object"})
_PARAGRAPHS = frozenset({
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "pre", "blockquote", "section", "hr",
    "article", "aside", "header", "footer", "nav", "main", "figure",
})  # fmt: skip
_LINES = frozenset({
    "br", "div", "li", "dt", "dd", "tr", "td", "th", "caption", "form", "fieldset", "legend", "option",
    "address", "details", "summary", "figcaption",
})  # fmt: skip
_CELLS = frozenset({"td", "th"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:  # noqa: ARG001 (the text is no longer than the file)
    if not data:
        raise UnreadableDocument("empty_file")
    text, title = text_and_title(decode_html(data))
    return cleaned_document("html", [Page(None, text)], title=title)


def text_and_title(source: str) -> tuple[str, str | None]:
    """For whatever holds HTML; empty text where there is none. Uncleaned."""
    # Parsed from UTF-8, not from str: lxml refuses a str whose XML declaration names an encoding.
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        root = etree.fromstring(source.replace("\0", "").encode("utf-8", errors="replace"), parser)
    except etree.XMLSyntaxError:  # raised for a page without any element or text
        root = None
    return ("", None) if root is None else (_Layout().text_of(root), root.findtext(".//title"))


def decode_html(data: bytes) -> str:
    """BOM, then what the page says of itself, then as any text file."""
    marked = by_bom(data)
    if marked is not None:
        return marked
    said = _CHARSET.search(data[:_CHARSET_WITHIN])
    name = said[1].decode("ascii").lower() if said else ""
    if not name or name.startswith("utf-16"):  # a page that says so in ASCII cannot be UTF-16
        return decode(data)
    named = decode_named(data, name)
    return decode(data) if named is None else named


class _Layout:
    """Collects lines while walking the tree; no recursion, so depth costs nothing."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._row: list[etree._Element] = []
        self._preformatted = 0
        self._heading = 0

    def text_of(self, root: etree._Element) -> str:
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            if event == "end":
                self._leave(element)
            elif element.tag in _DROPPED:
                walk.skip_subtree()
            else:
                self._enter(element)
        self._break()
        return "\n".join(self._lines).strip("\n")

    def _enter(self, element: etree._Element) -> None:
        tag = element.tag
        if tag == "tr" and _holds_data(element):
            self._break()
            self._row.append(element)
        elif self._row and tag in _CELLS:
            if self._line:
                self._line[-1] = self._line[-1].rstrip(" ")
            if element.getprevious() is not None:
                self._line.append(" | ")
        else:
            self._separate(tag)
            self._heading = _HEADINGS.get(tag, self._heading)
        self._preformatted += tag == "pre"
        self._write(element.text)

    def _leave(self, element: etree._Element) -> None:
        tag = element.tag
        self._preformatted -= tag == "pre"
        if self._row and element is self._row[-1]:
            self._row.pop()
            self._break()
        elif tag not in _DROPPED:
            self._separate(tag)
            self._heading = 0 if tag in _HEADINGS else self._heading
        self._write(element.tail)

    def _separate(self, tag: str) -> None:
        if self._row:
            self._write(" " if tag in _LINES or tag in _PARAGRAPHS else None)
        elif tag in _PARAGRAPHS:
            self._break()
            if self._lines and self._lines[-1]:
                self._lines.append("")
        elif tag in _LINES:
            self._break()

    def _write(self, text: str | None) -> None:
        if not text:
            return
        if self._preformatted and not self._row:
            first, *rest = text.split("\n")
            self._line.append(first)
            for line in rest:
                self._lines.append("".join(self._line).rstrip())
                self._line = [line]
            return
        spaced = _SPACE.sub(" ", text)
        if not self._line or self._line[-1].endswith(" "):
            spaced = spaced.lstrip(" ")
        if spaced:
            self._line.append(spaced)

    def _break(self) -> None:
        line = "".join(self._line).rstrip()
        if line.strip(" |"):
            self._lines.append(f"{'#' * self._heading} {line.lstrip()}" if self._heading else line)
        self._line = []


def _holds_data(row: etree._Element) -> bool:
    """A row of one cell or with a table inside it is layout."""
    return sum(child.tag in _CELLS for child in row) > 1 and row.find(".//table") is None
