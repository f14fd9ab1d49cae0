"""Zips: told apart by what is in them, and checked before anything is unpacked."""

import struct
import zipfile
from io import BytesIO

import pytest

from app.readers import ARCHIVES, read
from app.readers.archive import MAX_ENTRIES
from app.readers.errors import SENTENCES, UnreadableDocument
from tests.unit.readers import files
from tests.unit.readers.files import document, repacked, shape, sheet
from tests.unit.readers.variants import damaged

LAUGHS = "<!DOCTYPE x [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
SECRET = '<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">]>'
REMOTE = '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'
BEHIND_A_COMMENT = f"<!-- {'x' * 5000} -->" + SECRET


def code_of(data: bytes, kind: str) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        read(data, kind)
    return caught.value.code


MADE = {
    "docx": files.docx(files.paragraph("text")),
    "xlsx": sheet(("text",)),
    "pptx": files.pptx([shape("text")]),
    "odt": files.odt("<text:p>text</text:p>"),
    "epub": document("leave-policy.epub"),
}


@pytest.mark.parametrize("claimed", sorted(ARCHIVES))
@pytest.mark.parametrize("kind", sorted(MADE))
def test_a_zip_is_read_as_what_it_is(kind: str, claimed: str) -> None:
    made = read(MADE[kind], claimed)
    assert made.kind == kind
    assert "text" in made.text or kind == "epub"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"a.txt": "x"}, "type_mismatch"),
        ({"[Content_Types].xml": "<Types/>", "word/document.xml": "<x/>"}, "type_mismatch"),
        ({"[Content_Types].xml": "application/vnd.ms-excel.sheet.binary.macroEnabled.main"}, "unsupported_type"),
        ({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<x/>"}, "unsupported_type"),
        ({"mimetype": "application/zip"}, "type_mismatch"),
        ({"mimetype": "application/vnd.oasis.opendocument.text"}, "bad_file"),
        ({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": "<x/>"}, "bad_file"),
        ({"content.xml": "<x>", "META-INF/manifest.xml": "<x/>"}, "bad_file"),
        ({"META-INF/container.xml": "<x/>"}, "bad_file"),
    ],
)
@pytest.mark.parametrize("claimed", sorted(ARCHIVES))
def test_other_zips_are_refused_whatever_they_are_called(parts: dict[str, str], code: str, claimed: str) -> None:
    assert code_of(files.archive(parts), claimed) == code


@pytest.mark.parametrize("kind", ["xlsx", "pptx"])
def test_packages_with_macros_are_read_without_them(kind: str) -> None:
    whole = MADE[kind]
    with zipfile.ZipFile(BytesIO(whole)) as archive:
        types = archive.read("[Content_Types].xml").decode()
    plain, macro = {
        "xlsx": ("openxmlformats-officedocument.spreadsheetml.sheet.main", "ms-excel.sheet.macroEnabled.main"),
        "pptx": (
            "openxmlformats-officedocument.presentationml.presentation.main",
            "ms-powerpoint.presentation.macroEnabled.main",
        ),
    }[kind]
    assert plain in types
    made = read(repacked(whole, {"[Content_Types].xml": types.replace(plain, macro)}), kind)
    assert (made.kind, made.text) == (kind, "text")


MAIN_PARTS = {
    "xlsx": ("xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/styles.xml", "[Content_Types].xml"),
    "pptx": ("ppt/presentation.xml", "ppt/slides/slide1.xml", "_rels/.rels"),
    "odt": ("content.xml",),
}


@pytest.mark.parametrize(
    "doctype", [LAUGHS, SECRET, REMOTE, BEHIND_A_COMMENT], ids=["laughs", "secret", "remote", "behind"]
)
@pytest.mark.parametrize(("kind", "part"), [(kind, part) for kind, parts in MAIN_PARTS.items() for part in parts])
def test_no_part_that_is_read_may_define_entities(kind: str, part: str, doctype: str) -> None:
    with zipfile.ZipFile(BytesIO(MADE[kind])) as archive:
        _, _, content = archive.read(part).decode().rpartition("?>")
    attacked = repacked(MADE[kind], {part: doctype + content.replace("text<", "&secret;&b;<")})
    if (part, doctype) == ("[Content_Types].xml", BEHIND_A_COMMENT):
        assert read(attacked, kind).text == "text"  # not parsed
    else:
        assert code_of(attacked, kind) == "bad_file"


def listed_twice(data: bytes) -> bytes:
    """The directory's last entry names the packed bytes of the one before."""
    changed = bytearray(data)
    at = changed.rindex(b"PK\x01\x02")
    before = changed.rindex(b"PK\x01\x02", 0, at)
    changed[at + 42 : at + 46] = changed[before + 42 : before + 46]
    return bytes(changed)


def with_entry(data: bytes, name: str, **attributes: int) -> bytes:
    packed = BytesIO(data)
    entry = zipfile.ZipInfo(name)
    for attribute, value in attributes.items():
        setattr(entry, attribute, value)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(entry, "target", entry.compress_type)
    return packed.getvalue()


def flagged(data: bytes) -> bytes:
    """Its first entry is marked as encrypted."""
    changed = bytearray(data)
    at = changed.index(b"PK\x01\x02")
    struct.pack_into("<H", changed, at + 8, 1)
    return bytes(changed)


@pytest.mark.parametrize("kind", sorted(MADE))
def test_each_kind_of_zip_is_checked_before_it_is_unpacked(kind: str) -> None:
    whole = MADE[kind]
    zeros = {"media/zeros.bin": bytes(20_000_000)}
    many = {f"media/{number}": b"" for number in range(MAX_ENTRIES)}
    assert code_of(repacked(whole, zeros), kind) == "archive_bomb"
    assert code_of(repacked(whole, many), kind) == "archive_bomb"
    assert code_of(listed_twice(whole), kind) == "archive_bomb"
    assert code_of(flagged(whole), kind) == "encrypted"
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = with_entry(whole, "mimetype" if kind in ("odt", "epub") else "[Content_Types].xml")
    assert code_of(twice, kind) == "bad_file"


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("link", {"external_attr": 0o120777 << 16}),
        ("../up", {}),
        ("a/../../up", {}),
        ("..\\up", {}),
        ("/absolute", {}),
        ("C:/absolute", {}),
        ("packed", {"compress_type": zipfile.ZIP_LZMA}),
        ("packed", {"compress_type": zipfile.ZIP_BZIP2}),
    ],
)
@pytest.mark.parametrize("kind", sorted(MADE))
def test_entries_that_no_office_program_writes_are_refused(kind: str, name: str, attributes: dict[str, int]) -> None:
    assert "text" in read(with_entry(MADE["odt"], "a..b/c.txt"), "odt").text
    assert code_of(with_entry(MADE[kind], name, **attributes), kind) == "bad_file"


@pytest.mark.parametrize("name", ["leave-policy.xlsx", "leave-policy.pptx", "leave-policy.odt"])
def test_damaged_files_end_as_a_document_or_with_a_code(name: str) -> None:
    outcomes = set()
    for data in damaged(document(name)):
        try:
            made = read(data, name[-4:].lstrip("."))
            outcomes.add(made.kind)
        except UnreadableDocument as exc:
            outcomes.add(exc.code)
    assert {"bad_file", name[-4:].lstrip(".")} <= outcomes
    assert outcomes <= SENTENCES.keys() | ARCHIVES


@pytest.mark.parametrize("kind", ["xlsx", "pptx", "odt"])
def test_no_bytes_and_no_zip(kind: str) -> None:
    assert [code_of(data, kind) for data in (b"", b"x", b"PK\x03\x04")] == ["empty_file", "bad_file", "bad_file"]
