""".docx and .doc."""

import os
import struct

import pytest

from app.readers import archive, doc, docx
from app.readers.archive import MAX_ENTRIES
from app.readers.errors import UnreadableDocument
from tests.unit.readers import files
from tests.unit.readers.files import document, paragraph

ENTITIES = """<!DOCTYPE w:document [<!ENTITY secret SYSTEM "file:///etc/passwd">]>"""
LAUGHS = "<!DOCTYPE x [<!ENTITY a 'lol'>" + "".join(
    f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
LAUGHS += "]>"


def code_of(data: bytes, reader: object = docx) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        reader.read(data)  # type: ignore[attr-defined]
    return caught.value.code


def test_docx_headings_lists_and_paragraphs_are_lines() -> None:
    made = docx.read(document("simple.docx"))
    assert made.text.startswith("# These are a few of my favorite things:\n")
    assert (made.kind, [page.number for page in made.pages]) == ("docx", [None])


def test_docx_tables_come_in_order_as_rows() -> None:
    lines = docx.read(document("docx-tables.docx")).text.split("\n")
    assert lines[:3] == ["Simple uniform table", "Header Col 1 | Header Col 2", "Lorem ipsum | A link example"]
    assert "d | e | f g&t | h | i" in lines  # the inner table stands in its cell, once
    assert lines.index("Nested Table") > 2


def test_docx_text_in_shapes_is_read_once_and_page_headers_never() -> None:
    assert docx.read(document("docx-shapes.docx")).text.count("<floating-shape>") == 1
    assert docx.read(document("docx-hdrftr.docx")).text == "Main document"


def test_docx_reads_what_python_docx_leaves_out() -> None:
    body = (
        f"<w:sdt><w:sdtContent>{paragraph('in a content control')}</w:sdtContent></w:sdt>"
        "<w:p><w:ins><w:r><w:t>inserted</w:t></w:r></w:ins><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        "<w:r><w:tab/><w:t>tab</w:t><w:br/><w:t>break</w:t><w:noBreakHyphen/></w:r></w:p>"
        "<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr></w:p>"
        f"<w:tbl><w:sdt><w:sdtContent><w:tr><w:tc>{paragraph('a')}{paragraph('b')}</w:tc><w:sdt><w:sdtContent>"
        f"<w:tc>{paragraph('c')}</w:tc></w:sdtContent></w:sdt></w:tr></w:sdtContent></w:sdt></w:tbl>"
    )
    assert docx.read(files.docx(body)).text == "in a content control\ninserted\ttab\nbreak-\n\na b | c"


def test_docx_footnotes_follow_the_body() -> None:
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="n"'
        ' Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"'
        ' Target="footnotes.xml"/></Relationships>'
    )
    extra = {
        "word/_rels/document.xml.rels": relations,
        "word/footnotes.xml": f'<w:notes xmlns:w="{word}"><w:note>{paragraph("note")}</w:note></w:notes>',
    }
    assert docx.read(files.docx(paragraph("body"), extra=extra)).text == "body\nnote"


def test_docx_keeps_telugu_joiners_and_drops_hidden_orders() -> None:
    assert docx.read(files.docx(paragraph("క్\u200dష\u202e\U000e0041"))).text == "క్\u200dష"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"PK\x03\x04 no archive at all", "bad_file"),
        (document("simple.docx")[:20000], "bad_file"),
        (files.docx(""), "no_text"),
        (files.docx("<w:p>"), "bad_file"),
        (files.archive({"xl/workbook.xml": "<x/>", "[Content_Types].xml": "<Types/>"}), "bad_file"),
        (files.archive({"word/document.xml": "<x/>"}), "bad_file"),
        (
            files.docx("x", extra={"_rels/.rels": files.relations(("r1", "x", "y")).replace('Target="y"', "")}),
            "bad_file",
        ),
        (files.docx(paragraph("&secret;"), doctype=ENTITIES), "bad_file"),
        (files.docx(paragraph("&i;"), doctype=LAUGHS), "bad_file"),
        (files.docx("x", extra={"word/styles.xml": LAUGHS + "<x>&i;</x>"}), "bad_file"),
        (files.docx("x", extra={"[Content_Types].xml": LAUGHS + "<x>&i;</x>"}), "bad_file"),
        (files.docx("x", extra={"word/styles.xml": (ENTITIES + "<x/>").encode("utf-16")}), "bad_file"),
        (files.docx(paragraph("x"), extra={"word/media/zeros.bin": bytes(20_000_000)}), "archive_bomb"),
        (files.docx(paragraph("x") * 300_000), "archive_bomb"),
        (files.docx("x", extra={f"word/{n}.bin": b"" for n in range(MAX_ENTRIES + 1)}), "archive_bomb"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_and_broken_docx(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_a_bomb_beside_data_that_does_not_shrink_is_a_bomb() -> None:
    padding = os.urandom(1_000_000)
    extra = {"word/media/noise.bin": padding, "word/media/zeros.bin": bytes(20_000_000)}
    assert code_of(files.docx(paragraph("x"), extra=extra)) == "archive_bomb"


def test_the_sum_of_what_is_unpacked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = files.docx(paragraph("x"), extra={"word/media/noise.bin": os.urandom(10_000)})
    assert docx.read(whole).text == "x"
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 10_000)
    assert code_of(whole) == "archive_bomb"


def test_docx_entities_stay_unresolved_behind_a_long_comment() -> None:
    """The check of the first 4096 bytes can be passed; the parser must not resolve anything either."""
    doctype = f"<!-- {'x' * 5000} -->" + ENTITIES
    made = docx.read(files.docx(paragraph("before &secret; after"), doctype=doctype))
    assert made.text.startswith("before")
    assert "root:" not in made.text


def test_docx_larger_than_it_declares_is_not_unpacked() -> None:
    whole = files.docx(paragraph("x"), extra={"word/styles.xml": "<x>" + "y" * 50_000 + "</x>"})
    size = struct.pack("<I", 50_007)
    assert whole.count(size) == 2
    assert code_of(whole.replace(size, struct.pack("<I", 9))) == "bad_file"


def test_docx_with_a_remote_template_and_image_reads_without_following_them() -> None:
    relation = '<Relationship Id="{}" TargetMode="External" Type="{}" Target="{}"/>'
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
    external = "".join(
        relation.format(f"e{index}", kind + name, target)
        for index, (name, target) in enumerate(
            [
                ("attachedTemplate", "http://169.254.169.254/t.dotm"),
                ("image", "file:///etc/passwd"),
                ("footnotes", "\\\\host\\share"),
            ]
        )
    )
    names = "http://schemas.openxmlformats.org/package/2006/relationships"
    extra = {"word/_rels/document.xml.rels": f'<Relationships xmlns="{names}">{external}</Relationships>'}
    assert docx.read(files.docx(paragraph("only this"), extra=extra)).text == "only this"


def test_doc_reads_the_same_text_as_its_docx_twin() -> None:
    words = doc.read(document("simple.doc")).text.replace("•", "").split()
    assert words == docx.read(document("simple.docx")).text.lstrip("# ").replace("•", "").split()


def test_doc_tables_are_rows_and_fields_give_their_result() -> None:
    made = doc.read(document("fake-doc-emphasized-text.doc"))
    lines = [line.strip() for line in made.text.split("\n")]
    assert lines[:2] == ["Header Col 1  | Header Col 2", "A bold italic bold-italic example | A Link example"]
    assert "HYPERLINK" not in made.text
    assert (made.kind, made.pages[0].number) == ("doc", None)


def patched(at: int, value: int) -> bytes:
    """simple.doc with a 16-bit field of its file information block changed."""
    data = bytearray(document("simple.doc"))
    start = data.index(struct.pack("<HH", 0xA5EC, 257))
    struct.pack_into("<H", data, start + at, value)
    return bytes(data)


def renamed(name: str) -> bytes:
    """simple.doc with its main stream under another name."""
    data = bytearray(document("simple.doc"))
    entry = data.index("WordDocument".encode("utf-16-le"))
    data[entry : entry + 64] = name.encode("utf-16-le").ljust(64, b"\0")
    struct.pack_into("<H", data, entry + 64, 2 * len(name) + 2)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"short", "bad_file"),
        (patched(10, 0x0100 | 0x0200), "encrypted"),
        (patched(10, 0x8000 | 0x0200), "encrypted"),
        (patched(2, 0x0068), "unsupported_type"),
        (patched(0, 0x1234), "unsupported_type"),
        (renamed("EncryptedPackage"), "encrypted"),
        (renamed("Workbook"), "unsupported_type"),
        (renamed("PowerPoint Document"), "unsupported_type"),
        (renamed("Unheard-of"), "bad_file"),
        (document("simple.docx"), "bad_file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_protected_old_and_foreign_doc(data: bytes, code: str) -> None:
    assert code_of(data, doc) == code


def test_truncated_and_scrambled_doc_never_end_otherwise_than_with_a_code() -> None:
    whole = document("simple.doc")
    outcomes = set()
    variants = [whole[:length] for length in range(600, len(whole), 997)]
    variants += [whole[:at] + b"\xff" * 8 + whole[at + 8 :] for at in range(512, 4096, 61)]
    for variant in variants:
        try:
            doc.read(variant)
            outcomes.add("ready")
        except UnreadableDocument as exc:
            outcomes.add(exc.code)
    assert "bad_file" in outcomes
    assert outcomes <= {"ready", "bad_file", "encrypted", "unsupported_type", "no_text", "too_large"}
