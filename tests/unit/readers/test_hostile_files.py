"""Files made to hurt: each ends as a document or with its code, nobody is called, and the child bears the cost."""

import json
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from app.readers import READERS, read
from app.readers.document import Document
from app.readers.errors import SENTENCES, UnreadableDocument
from app.readers.isolated import read_isolated
from app.readers.limits import Limits
from tests.unit.readers import variants
from tests.unit.readers.files import ROOT, archive, document, docx, paragraph, pdf_of_objects

ENTITIES = '<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">]>'
REMOTE = '<!DOCTYPE x SYSTEM "http://{}/evil.dtd">'
LAUGHS = "<!DOCTYPE x [<!ENTITY a 'lol'>" + "".join(
    f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
LAUGHS += "]>"
LIMITS = Limits(wall_seconds=40, cpu_seconds=30)


async def outcome(tmp_path: Path, data: bytes, kind: str) -> str:
    path = tmp_path / "file"
    path.write_bytes(data)
    try:
        await read_isolated(path, kind, LIMITS)
    except UnreadableDocument as exc:
        return exc.code
    return "ready"


@pytest.mark.parametrize("kind", READERS)
def test_damaged_files_of_each_kind_end_as_a_document_or_with_a_code(kind: str) -> None:
    command = [sys.executable, "-m", "tests.unit.readers.variants", kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)
    assert outcomes["ready"]
    assert outcomes.keys() - {"ready"} <= SENTENCES.keys()
    inside = variants.sample(kind).startswith(b"PK")
    assert sum(outcomes.values()) == 1 + variants.TRUNCATIONS + variants.FLIPS + inside * variants.INSIDE


def pdf_page(content: str, filters: str = "", *, catalog: str = "", length: int | None = None) -> bytes:
    return pdf_of_objects(
        [
            f"<</Type/Catalog/Pages 2 0 R{catalog}>>",
            "<</Type/Pages/Kids[3 0 R]/Count 1>>",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
            f"<</Length {len(content) if length is None else length}{filters}>>stream\n{content}\nendstream",
            "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R>>",
            "<</Length 9>>stream\nbegincmap\nendstream",
        ]
    )


SHOWN = "BT /F1 12 Tf (shown) Tj ET"


def deflated(data: bytes, times: int = 1) -> str:
    for _ in range(times):
        data = zlib.compress(data, 9)
    return data.decode("latin-1")


def in_circles(text: bytes) -> bytes:
    """A cross-reference table whose predecessor is itself, and a page tree whose leaf is its own root."""
    whole = pdf_page(text.decode())
    start = whole[whole.rindex(b"startxref\n") + 10 :].split()[0]
    return whole.replace(b"/Root 1 0 R", b"/Root 1 0 R/Prev " + start).replace(
        b"[3 0 R]/Count 1", b"[2 0 R 3 0 R]/Count 2"
    )


FLATE = "/Filter/FlateDecode"
PDFS = {
    "circles": in_circles(SHOWN.encode()),
    "bomb in a page": pdf_page(deflated(b" " * 100_000_000), FLATE),
    "bomb of text": pdf_page(deflated(b"BT /F1 1 Tf " + b"(word) Tj " * 200_000 + b"ET"), FLATE),
    "bomb in a bomb": pdf_page(deflated(b" " * 100_000_000, 2), "/Filter[/FlateDecode/FlateDecode]"),
    "chain of filters": pdf_page(deflated(SHOWN.encode()), "/Filter[" + "/FlateDecode" * 5000 + "]"),
    "run length bomb": pdf_page("\x81 " * 2_000_000, "/Filter/RunLengthDecode"),
    "predictor": pdf_page(deflated(b" " * 10_000_000), FLATE + "/DecodeParms<</Predictor 15/Columns 2000000000>>"),
    "length beyond the file": pdf_page(SHOWN, length=2**31 - 1),
    "negative length": pdf_page(SHOWN, length=-1),
    "length of itself": pdf_page(SHOWN).replace(b"/Length 26", b"/Length 4 0 R"),
    "outlines in circles": pdf_page(SHOWN, catalog="/Outlines 7 0 R/Dests 1 0 R/Names 1 0 R"),
    "deep array": pdf_page(SHOWN, catalog="/X" + "[" * 100_000 + "]" * 100_000),
    "nested marks": pdf_page("q " * 1_000_000 + SHOWN),
    "zero widths": b"%PDF-1.5\n1 0 obj<</Type/XRef/W[0 0 0]/Size 99999999/Root 1 0 R/Length 0>>stream\n\nendstream\n"
    b"endobj\nstartxref\n9\n%%EOF",
    "endless map": pdf_page(SHOWN).replace(
        b"begincmap\n", b"begincmap\n1 beginbfrange <00000000> <ffffffff> <0041> endbfrange\n" * 1000
    ),
    "no end": pdf_page(SHOWN).partition(b"%%EOF")[0],
    "actions": pdf_page(SHOWN, catalog="/OpenAction<</S/Launch/F(/bin/sh)>>/AA<</WC<</S/JavaScript/JS(x)>>>>"),
    "forms": pdf_page(SHOWN, catalog="/AcroForm<</XFA[(template) 4 0 R]/Fields[3 0 R]>>/NeedsRendering true"),
}


READABLE = {
    *("circles", "length beyond the file", "negative length", "length of itself", "outlines in circles", "deep array"),
    *("nested marks", "no end", "actions", "forms"),
}


@pytest.mark.parametrize("name", sorted(READABLE))
async def test_what_is_wrong_beside_the_text_of_a_pdf_does_not_cost_the_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(PDFS[name])
    assert (await read_isolated(path, "pdf", LIMITS)).pages[0].text == "shown"


@pytest.mark.parametrize("name", sorted(PDFS.keys() - READABLE))
async def test_hostile_pdfs_end(tmp_path: Path, name: str) -> None:
    ready = {"ready"} if name in ("bomb of text", "endless map") else set()
    expected = {"no_text", "bad_file", "too_large", "too_many_pages", "parser_timeout", "parser_crashed"}
    assert await outcome(tmp_path, PDFS[name], "pdf") in expected | ready


@pytest.mark.parametrize("attack", [ENTITIES + "<x>&secret;</x>", LAUGHS + "<x>&i;</x>", REMOTE + "<x/>"])
@pytest.mark.parametrize("part", ["settings", "numbering", "theme/theme1", "footnotes"])
def test_no_part_of_a_docx_may_define_entities(part: str, attack: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(docx(paragraph("x"), extra={f"word/{part}.xml": attack}), "docx")
    assert caught.value.code == "bad_file"


@pytest.fixture
def listener() -> Iterator[tuple[str, Callable[[], bool]]]:
    """An address that a file may point to, and whether anybody came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        host, port = server.getsockname()

        def called() -> bool:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield f"{host}:{port}", called


def test_the_listener_would_notice(listener: tuple[str, Callable[[], bool]]) -> None:
    address, called = listener
    host, _, port = address.partition(":")
    assert not called()
    socket.create_connection((host, int(port))).close()
    assert called()


OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
POINTING = (
    *("attachedTemplate", "image", "footnotes", "frame", "hyperlink", "oleObject", "subDocument", "settings", "slide"),
    *("worksheet", "externalLink", "sharedStrings", "notesSlide", "chart", "core-properties"),
)


def calling_package(kind: str, address: str) -> bytes:
    """The sample, with relations of all sorts to a place outside, and an image and a section from there (odt)."""
    there = f"http://{address}/x"
    relations = "".join(
        f'<Relationship Id="e{at}" TargetMode="External" Type="{OFFICE}/{name}" Target="{there}"/>'
        for at, name in enumerate(POINTING)
    )
    linked = f'<t:section><t:section-source l:href="{there}" xmlns:l="http://www.w3.org/1999/xlink"/></t:section>'
    with zipfile.ZipFile(BytesIO(variants.sample(kind))) as opened:
        parts: dict[str, str | bytes] = {
            name: opened.read(name)
            .replace(b"</Relationships>", relations.encode() + b"</Relationships>")
            .replace(b"</o:text>", linked.encode() + b"</o:text>")
            for name in opened.namelist()
        }
    return variants.packed(parts)


def calling_html(address: str) -> bytes:
    there = f"http://{address}/x"
    return (
        f'<!DOCTYPE html SYSTEM "{there}"><html><head><base href="{there}"><link rel="stylesheet" href="{there}">'
        f'<meta http-equiv="refresh" content="0;url={there}"><script src="{there}"></script></head><body>x'
        f'<img src="{there}"><iframe src="{there}"></iframe><xi:include href="{there}"/><object data="{there}"/>'
    ).encode()


def calling_epub(address: str) -> bytes:
    there = f"http://{address}/x.xhtml"
    opf = (
        f'<!DOCTYPE package SYSTEM "{there}"><package xmlns="http://www.idpf.org/2007/opf"><manifest>'
        f'<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
        f'<item id="b" href="{there}" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    container = '<container><rootfiles><rootfile full-path="content.opf"/></rootfiles></container>'
    return archive({"content.opf": opf, "a.xhtml": calling_html(address), "META-INF/container.xml": container})


def calling_rtf(address: str) -> bytes:
    field = f'{{\\field{{\\*\\fldinst INCLUDETEXT "http://{address}/x"}}{{\\fldrslt x}}}}'
    return (
        f"{{\\rtf1{{\\*\\template http://{address}/t.dot}}{{\\object\\objautlink{{\\*\\objdata 00}}}}{field}}}".encode()
    )


def calling_eml(address: str) -> bytes:
    body = (
        f'Content-Type: message/external-body; access-type=URL; URL="http://{address}/x"\n\nContent-Type: text/plain\n'
    )
    html = f"--b\nContent-Type: text/html\n\n{calling_html(address).decode()}\n"
    return f"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n{body}\n\n{html}--b--".encode()


def calling_pdf(address: str) -> bytes:
    there = f"(http://{address}/x)"
    return pdf_page(
        SHOWN,
        catalog=f"/OpenAction<</S/URI/URI{there}>>/URI<</Base{there}>>/AA<</O<</S/SubmitForm/F<</FS/URL/F{there}>>>>>>",
    ).replace(b"/Length 26", f"/Length 26/F<</FS/URL/F{there}>>".encode())


CALLING: dict[str, Callable[[str], bytes]] = {
    **{kind: partial(calling_package, kind) for kind in ("docx", "xlsx", "pptx", "odt")},
    "html": calling_html,
    "epub": calling_epub,
    "rtf": calling_rtf,
    "eml": calling_eml,
    "pdf": calling_pdf,
}


@pytest.mark.parametrize("kind", CALLING)
def test_nothing_that_a_file_points_to_is_called(kind: str, listener: tuple[str, Callable[[], bool]]) -> None:
    address, called = listener
    assert isinstance(read(CALLING[kind](address), kind), Document)
    assert not called()


def doc_with_fat(change: Callable[[int, int], int], *, header: dict[int, int] | None = None) -> bytes:
    """simple.doc with each entry of its allocation table replaced by `change(index, entry)`."""
    data = bytearray(document("simple.doc"))
    table = 512 * (1 + struct.unpack_from("<I", data, 76)[0])
    for index in range(128):
        (entry,) = struct.unpack_from("<I", data, table + 4 * index)
        struct.pack_into("<I", data, table + 4 * index, change(index, entry))
    for at, value in (header or {}).items():
        struct.pack_into("<I", data, at, value)
    return bytes(data)


def same(_: int, entry: int) -> int:
    return entry


DOCS = {
    "each sector follows itself": doc_with_fat(lambda index, _: index),
    "two sectors in a circle": doc_with_fat(lambda index, _: index ^ 1),
    "all lead to the first": doc_with_fat(lambda *_: 0),
    "directory in a circle": doc_with_fat(lambda index, entry: index if index == 1 else entry, header={48: 1}),
    "2**31 table sectors": doc_with_fat(same, header={44: 2**31 - 1}),
    "2**31 table sectors more": doc_with_fat(same, header={68: 0, 72: 2**31 - 1}),
    "2**31 short sectors": doc_with_fat(same, header={60: 0, 64: 2**31 - 1}),
    "sectors of 2**30 bytes": doc_with_fat(same, header={28: 0xFFFE | 30 << 16}),
    "directory beyond the end": doc_with_fat(same, header={48: 2**31}),
}


@pytest.mark.parametrize("name", DOCS)
async def test_hostile_docs(tmp_path: Path, name: str) -> None:
    assert await outcome(tmp_path, DOCS[name], "doc") in {
        *("ready", "bad_file", "unsupported_type", "too_large", "parser_crashed", "parser_timeout"),
    }


def overlapping() -> bytes:
    """Ten entries of the directory point to the same packed data."""
    whole = bytearray(archive({f"word/{name}.xml": "x" * 5000 for name in range(10)}))
    at, places = 0, []
    while (at := whole.find(b"PK\x01\x02", at)) >= 0:
        places.append(at)
        at += 4
    for place in places:
        whole[place + 42 : place + 46] = bytes(4)
    return bytes(whole)


@pytest.mark.parametrize("kind", [kind for kind in READERS if variants.sample(kind).startswith(b"PK")])
@pytest.mark.parametrize(
    "data",
    [
        overlapping(),
        archive({"[Content_Types].xml": "x"}) * 2,
        b"PK\x05\x06" + bytes(18),
        b"PK\x05\x06" + b"\xff" * 18,
        archive({"x": "y"}).replace(b"\x14\x00", b"\xff\x00"),
    ],
    ids=["overlapping", "twice", "empty", "numbers", "version"],
)
def test_hostile_archives(kind: str, data: bytes) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(data, kind)
    assert caught.value.code in ("bad_file", "archive_bomb", "type_mismatch")


TEXTS = {
    "one line of 5 MB": b"x" * 5_000_000,
    "a million lines": b"\n" * 999_999 + b"x",
    "zeros": b"a" + b"\0" * 1_000_000 + b"b",
    "combining marks": ("a" + "\u0301\u0334\u0489" * 200_000).encode(),
    "escape sequences": b"\x1b[31m\x1b]0;title\x07text" * 10_000,
    "directions": "\u202etxt\u2066abc".encode() * 10_000,
    "half a character": "తెలుగు".encode()[:-1],
}
NO_TEXT = bytes(range(256)) * 1000


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("kind", ["txt", "md", "html"])
async def test_hostile_texts_are_read(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(TEXTS[name])
    made = await read_isolated(path, kind, LIMITS)
    made.text.encode()
    assert not {"\0", "\x1b", "\u202e", "\u2066"} & set(made.text)


@pytest.mark.parametrize(("kind", "outcome"), [("txt", "bad_file"), ("md", "bad_file"), ("html", "ready")])
async def test_what_is_no_text_is_refused_or_harmless(tmp_path: Path, kind: str, outcome: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(NO_TEXT)
    try:
        made = await read_isolated(path, kind, LIMITS)
    except UnreadableDocument as exc:
        assert exc.code == outcome  # noqa: PT017
    else:
        assert outcome == "ready"
        assert "\0" not in made.text
