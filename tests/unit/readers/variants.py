"""One small file of each kind, and damaged copies of it.

`python -m tests.unit.readers.variants <kind>` reads them all and prints how often each outcome came; a process of
its own, for what ends a process or never ends.
"""

import json
import random
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BytesIO

from app.readers import read
from app.readers.errors import UnreadableDocument
from tests.unit.readers.files import document

SAMPLES = {
    "pdf": "crazyones.pdf",
    "docx": "docx-tables.docx",
    "doc": "simple.doc",
    "txt": "fake-text-utf-16.txt",
    "md": "umlauts-utf8.md",
    "html": "fake-html-cp1252.html",
    "rtf": "leave-policy.rtf",
    "epub": "leave-policy.epub",
}
TRUNCATIONS, FLIPS, INSIDE = 20, 40, 30
_ZIP = b"PK\x03\x04"
_TYPE = "application/vnd.openxmlformats-officedocument.{}.main+xml"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    f'<Relationship Id="r1" Type="{_OFFICE}/{{}}" Target="{{}}"/></Relationships>'
)
_CELLS = "<row r='1'><c r='A1' t='inlineStr'><is><t>{}</t></is></c><c r='B1'><v>20</v></c></row>"
_SHEET = f"<worksheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'><sheetData>{_CELLS}"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_SHAPE = "<p:sp><p:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></p:txBody></p:sp>"
_ODF = "urn:oasis:names:tc:opendocument:xmlns"
_MAIL = (
    b"From: a@example.com\r\nSubject: =?utf-8?b?4LC44LGG?=\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n'
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E0=B0=B8 text\r\n--b\r\nContent-Type: text/html\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nPHA+cmljaDwvcD4=\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner\r\n\r\ninner text\r\n--b--\r\n"
)


def sample(kind: str) -> bytes:
    return document(SAMPLES[kind]) if kind in SAMPLES else _MADE[kind]


def packed(parts: Mapping[str, str | bytes]) -> bytes:
    """The same bytes each time."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in parts.items():
            target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _ooxml(kind: str, main: str, parts: Mapping[str, str]) -> bytes:
    types = (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/{main}" ContentType="{_TYPE.format(kind)}"/></Types>'
    )
    return packed({"[Content_Types].xml": types, "_rels/.rels": _RELATIONS.format("officeDocument", main), **parts})


_MADE = {
    "eml": _MAIL,
    "csv": 'పేరు;రోజులు\n"Annual; leave";20\nCare;10\n'.encode() * 5,
    "xlsx": _ooxml(
        "spreadsheetml.sheet",
        "xl/workbook.xml",
        {
            "xl/workbook.xml": "<workbook xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'"
            f" xmlns:r='{_OFFICE}'><sheets><sheet name='సెలవు' sheetId='1' r:id='r1'/></sheets></workbook>",
            "xl/_rels/workbook.xml.rels": _RELATIONS.format("worksheet", "worksheets/sheet1.xml"),
            "xl/worksheets/sheet1.xml": _SHEET.format("Annual leave") + "</sheetData></worksheet>",
        },
    ),
    "pptx": _ooxml(
        "presentationml.presentation",
        "ppt/presentation.xml",
        {
            "ppt/presentation.xml": "<p:presentation xmlns:p='http://schemas.openxmlformats.org/presentationml/2006/main'"
            f" xmlns:r='{_OFFICE}'><p:sldIdLst><p:sldId id='256' r:id='r1'/></p:sldIdLst></p:presentation>",
            "ppt/_rels/presentation.xml.rels": _RELATIONS.format("slide", "slides/slide1.xml"),
            "ppt/slides/slide1.xml": "<p:sld xmlns:p='http://schemas.openxmlformats.org/presentationml/2006/main'"
            f" xmlns:a='{_DRAWING}'><p:cSld><p:spTree>{_SHAPE.format('సెలవు')}</p:spTree></p:cSld></p:sld>",
        },
    ),
    "odt": packed(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<o:document-content xmlns:o='{_ODF}:office:1.0' xmlns:t='{_ODF}:text:1.0'><o:body><o:text>"
            "<t:h>Leave</t:h><t:p>సెలవు <t:s/>రేపు</t:p></o:text></o:body></o:document-content>",
        }
    ),
}


def damaged(whole: bytes) -> Iterator[bytes]:
    """Cut, with bytes changed, and for archives with bytes changed in one of their parts. The same ones each time."""
    chance = random.Random(len(whole))
    for _ in range(TRUNCATIONS):
        yield whole[: chance.randrange(len(whole))]
    for _ in range(FLIPS):
        yield _flipped(whole, chance)
    if whole.startswith(_ZIP):
        for _ in range(INSIDE):
            yield _with_a_broken_part(whole, chance)


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 20))):
        changed[chance.randrange(len(changed))] = chance.choice((0, 0xFF, chance.randrange(256)))
    return bytes(changed)


def _with_a_broken_part(whole: bytes, chance: random.Random) -> bytes:
    with zipfile.ZipFile(BytesIO(whole)) as opened:
        parts: dict[str, str | bytes] = {name: opened.read(name) for name in opened.namelist()}
    name = chance.choice([name for name, content in parts.items() if content])
    content = bytes(parts[name])  # type: ignore[arg-type]
    parts[name] = chance.choice((_flipped(content, chance), content[: chance.randrange(len(content))]))
    return packed(parts)


def main(kind: str) -> None:
    outcomes: Counter[str] = Counter()
    whole = sample(kind)
    for variant in (whole, *damaged(whole)):
        try:
            read(variant, kind)
            outcomes["ready"] += 1
        except UnreadableDocument as exc:
            outcomes[exc.code] += 1
        except Exception:
            sys.stderr.write(f"{kind}: {len(variant)} bytes, checksum {zlib.crc32(variant):08x}\n")
            raise
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1])
