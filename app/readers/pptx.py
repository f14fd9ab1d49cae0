"""PowerPoint (ISO 29500-1, PresentationML): a page for each slide in the order of the show, numbered from 1.

On a page: the title as a heading, the other shapes in the order of the file, tables row by row, diagrams, the numbers
behind charts, then the speaker's notes. Slides that the show skips are there as well, since whoever opens the file sees
them. Left out: what masters and layouts put on every slide, dates, footers, slide numbers, comments, hidden shapes.
"""

from collections.abc import Iterator

from app.readers.charts import chart_lines
from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits
from app.readers.lines import within
from app.readers.package import Element, Package, Relation, attribute, local, opened

_TITLES = ("title", "ctrTitle")
_FURNITURE = ("dt", "ftr", "hdr", "sldNum", "sldImg")
_BULLETED = ("", "body", "obj")
"""Placeholders whose paragraphs have bullets unless they say otherwise."""
_BULLETS = ("buChar", "buAutoNum", "buBlip")
_NOT_TEXT = ("Fallback", "rPr", "pPr", "endParaRPr")
_TRUE = ("1", "true")
_DEEPEST = 8


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    with opened(data) as package:
        main = next((each.target for each in package.relations("").values() if each.kind == "officeDocument"), "")
        slides = _slides(package, main)
        if len(slides) > limits.max_pages:
            raise UnreadableDocument("too_many_pages")
        texts = list(_texts(package, slides, limits))
        title = package.title()
    silent = sum(not text.strip() for text in texts)
    warnings = [f"{silent} of {len(texts)} pages hold no text."] if silent else []
    pages = (Page(number, text) for number, text in enumerate(texts, start=1))
    return cleaned_document("pptx", pages, title=title, warnings=warnings)


def _slides(package: Package, main: str) -> list[str]:
    relations = package.relations(main)
    listed = (relations.get(attribute(entry, "id")) for entry in package.xml(main).iter("{*}sldId"))
    return [relation.target for relation in listed if relation is not None and relation.kind == "slide"]


def _texts(package: Package, slides: list[str], limits: Limits) -> Iterator[str]:
    total = 0
    for slide in slides:
        text = "\n".join(within(_slide_lines(package, slide), limits)).strip()
        total += len(text)
        if total > limits.max_text_bytes:
            raise UnreadableDocument("too_large")
        yield text


def _slide_lines(package: Package, part: str) -> Iterator[str]:
    relations = package.relations(part)
    shapes = list(_shapes(_tree(package.xml(part))))
    titles = [shape for shape in shapes if _placeholder(shape) in _TITLES]
    for shape in titles:
        if text := " ".join(" ".join(_paragraphs(shape)).split()):
            yield f"# {text}"
    for shape in shapes:
        if shape not in titles and _placeholder(shape) not in _FURNITURE:
            yield ""
            yield from _shape_lines(shape, package, relations)
    for relation in relations.values():
        if relation.kind == "notesSlide" and relation.target in package:
            yield from _notes(package.xml(relation.target))


def _notes(slide: Element) -> Iterator[str]:
    bodies = (shape for shape in _shapes(_tree(slide)) if _placeholder(shape) == "body")
    lines = [line for shape in bodies for line in _paragraphs(shape)]
    if lines:
        yield from ("", "Notes:", *lines)


def _tree(slide: Element) -> Element:
    """Where the shapes of a slide are."""
    tree = slide.find("{*}cSld/{*}spTree")
    if tree is None:
        raise UnreadableDocument("bad_file")
    return tree


def _shapes(group: Element) -> Iterator[Element]:
    """Those with text of their own, out of all groups."""
    for child in group:
        name = local(child)
        properties = child.find("*/{*}cNvPr")
        if properties is not None and properties.get("hidden") in _TRUE:
            continue
        if name in ("sp", "graphicFrame"):
            yield child
        elif name in ("grpSp", "AlternateContent", "Choice"):
            yield from _shapes(child)


def _placeholder(shape: Element) -> str | None:
    """Which place of the layout it fills; None when it is a shape of its own."""
    place = shape.find("*/{*}nvPr/{*}ph")
    return None if place is None else place.get("type", "")


def _shape_lines(shape: Element, package: Package, relations: dict[str, Relation]) -> Iterator[str]:
    if local(shape) == "sp":
        yield from _paragraphs(shape, is_bulleted=_placeholder(shape) in _BULLETED)
        return
    for row in shape.iterfind(".//{*}tbl/{*}tr"):
        cells = [" ".join(" ".join(_paragraphs(cell)).split()) for cell in row if _begins(cell)]
        if any(cells):
            yield " | ".join(cells)
    for reference in shape.iterfind(".//{*}graphicData/*"):
        diagram = relations.get(attribute(reference, "dm"))
        if diagram is not None and diagram.target in package:
            for point in package.xml(diagram.target).iter("{*}pt"):
                yield from _paragraphs(point, is_bulleted=True)
        chart = relations.get(attribute(reference, "id"))
        if chart is not None and chart.kind == "chart" and chart.target in package:
            yield from chart_lines(package.xml(chart.target))


def _begins(cell: Element) -> bool:
    """A cell of a row, unless the one before reaches over it."""
    return local(cell) == "tc" and cell.get("hMerge") not in _TRUE


def _paragraphs(holder: Element, *, is_bulleted: bool = False) -> list[str]:
    """Of a shape, a cell or a point of a diagram; those that are not empty."""
    found = []
    paragraphs = holder.findall("*/{*}p")
    for paragraph in paragraphs:
        text = "".join(_runs(paragraph)).strip()
        if text:
            found.append(_mark(paragraph, is_bulleted and len(paragraphs) > 1) + text)
    return found


def _mark(paragraph: Element, is_bulleted: bool) -> str:
    properties = paragraph.find("{*}pPr")
    level = 0
    if properties is not None:
        own = {local(child) for child in properties}
        is_bulleted = "buNone" not in own and (is_bulleted or not own.isdisjoint(_BULLETS))
        level = min(int(properties.get("lvl", "0")), _DEEPEST)
    return "  " * level + "- " if is_bulleted else ""


def _runs(node: Element) -> Iterator[str]:
    for child in node:
        name = local(child)
        if name == "t":
            yield child.text or ""
        elif name == "br":
            yield "\n"
        elif name not in _NOT_TEXT and not child.get("type", "").startswith("slidenum"):
            yield from _runs(child)
