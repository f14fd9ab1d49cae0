"""Where the documents of these tests lie, and small files built on the spot."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = ROOT / "tests" / "data" / "documents"
SHARED = ROOT.parent / "shared" / "data"

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = """<?xml version="1.0"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/word/document.xml"
 ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>"""
_RELATIONS = f"""<?xml version="1.0"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>"""


def document(name: str) -> bytes:
    return (DOCUMENTS / name).read_bytes()


def docx(body: str, *, doctype: str = "", extra: Mapping[str, str | bytes] | None = None) -> bytes:
    """A .docx whose body is `body`; entries of `extra` are added or replace one of ours."""
    root = f'w:document xmlns:w="{_W}" xmlns:r="{_OFFICE}"'
    main = f'<?xml version="1.0"?>{doctype}<{root}><w:body>{body}</w:body></w:document>'
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": _RELATIONS,
        "word/document.xml": main,
        **(extra or {}),
    }
    return archive(parts)


def xlsx(fill: Callable[[Any], object]) -> bytes:
    """A workbook with one sheet, `Sheet`, and whatever `fill` does to it."""
    workbook = openpyxl.Workbook()
    fill(workbook)
    packed = BytesIO()
    workbook.save(packed)
    return packed.getvalue()


def sheet(*rows: Sequence[object]) -> bytes:
    def fill(workbook: Any) -> None:
        for row in rows:
            workbook.active.append(row)

    return xlsx(fill)


_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"
_NAMES = f'xmlns:p="{_P}" xmlns:a="{_A}" xmlns:r="{_OFFICE}"'


def relations(*targets: tuple[str, str, str]) -> str:
    """(identifier, last word of the type, target) each."""
    made = "".join(
        f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>' for name, kind, target in targets
    )
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{made}</Relationships>'


def package(kind: str, main: str, parts: Mapping[str, str | bytes]) -> bytes:
    """An OOXML package whose main part is of the content type with `kind` in it."""
    types = _TYPES.replace("word/document.xml", main).replace("wordprocessingml.document", kind)
    begin = {"[Content_Types].xml": types, "_rels/.rels": relations(("r1", "officeDocument", main))}
    return archive({**begin, **parts})


def pptx(slides: Sequence[str], *, extra: Mapping[str, str | bytes] | None = None) -> bytes:
    """Each slide is the inside of its tree of shapes; slide n is the part slide<n>.xml."""
    numbers = range(1, len(slides) + 1)
    listed = "".join(f'<p:sldId id="{255 + number}" r:id="r{number}"/>' for number in numbers)
    parts: dict[str, str | bytes] = {
        "ppt/presentation.xml": f"<p:presentation {_NAMES}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(*((f"r{n}", "slide", f"slides/slide{n}.xml") for n in numbers)),
    }
    for number, shapes in zip(numbers, slides, strict=True):
        parts[f"ppt/slides/slide{number}.xml"] = slide(shapes)
    return package("presentationml.presentation", "ppt/presentation.xml", parts | dict(extra or {}))


def slide(shapes: str, tag: str = "sld") -> str:
    return f"<p:{tag} {_NAMES}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:{tag}>"


def shape(*paragraphs: str, place: str = "") -> str:
    """`place` is the inside of a `p:ph`, such as `type="title"`; a paragraph is a text or XML."""
    holder = f"<p:ph {place}/>" if place else ""
    texts = "".join(p if p.startswith("<") else f"<a:p><a:r><a:t>{p}</a:t></a:r></a:p>" for p in paragraphs)
    marks = f"<p:nvSpPr><p:cNvPr/><p:nvPr>{holder}</p:nvPr></p:nvSpPr>"
    return f"<p:sp>{marks}<p:txBody>{texts}</p:txBody></p:sp>"


ODF = "urn:oasis:names:tc:opendocument:xmlns"
_ODF_NAMES = " ".join(f'xmlns:{name}="{ODF}:{name}:1.0"' for name in ("office", "text", "table", "style", "manifest"))
_ODF_NAMES += f' xmlns:draw="{ODF}:drawing:1.0"'


def odt(body: str, *, doctype: str = "", extra: Mapping[str, str | bytes] | None = None) -> bytes:
    content = f"<office:body><office:text>{body}</office:text></office:body>"
    parts: dict[str, str | bytes] = {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "content.xml": f"{doctype}<office:document-content {_ODF_NAMES}>{content}</office:document-content>",
        "META-INF/manifest.xml": f"<manifest:manifest {_ODF_NAMES}/>",
    }
    return archive(parts | dict(extra or {}))


def archive(parts: Mapping[str, str | bytes]) -> bytes:
    """The same bytes each time."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        for name, content in parts.items():
            method = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            target.writestr(zipfile.ZipInfo(name), content, method)
    return packed.getvalue()


def repacked(data: bytes, changes: Mapping[str, str | bytes | None]) -> bytes:
    """With parts replaced, added or, where None, left out."""
    with zipfile.ZipFile(BytesIO(data)) as packed:
        parts: dict[str, str | bytes | None] = {name: packed.read(name) for name in packed.namelist()}
    return archive({name: part for name, part in (parts | dict(changes)).items() if part is not None})


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def pdf_of_objects(objects: Sequence[str], *, trailer: str = "") -> bytes:
    """Object 1 is the catalog; the cross-reference table is right."""
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    start = len(out)
    rows = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{rows}".encode()
    out += f"trailer<</Size {len(objects) + 1}/Root 1 0 R{trailer}>>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def pdf(pages: Sequence[str]) -> bytes:
    """One line of ASCII text a page; an empty string is a page without text."""
    first_page = 4
    kids = " ".join(f"{first_page + 2 * index} 0 R" for index in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for index, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET" if text else ""
        objects += [
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {first_page + 2 * index + 1} 0 R>>",
            f"<</Length {len(content)}>>stream\n{content}\nendstream",
        ]
    return pdf_of_objects(objects)
