import time

import pytest

from app.core.errors import Kind
from app.readers import READERS
from app.readers.errors import SENTENCES, UnreadableDocument
from app.readers.sniff import ALLOWED_SUFFIXES, HEAD_BYTES, normalise_filename, sniff
from app.readers.suffixes import KIND_BY_SUFFIX, MEDIA_TYPES
from tests.unit.readers.files import archive, document, docx, odt, paragraph, pdf, pptx, shape, sheet

EXE = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00"
HTML_PAGE = b"<!DOCTYPE html><html><body>hello</body></html>"
MAIL = b"Return-Path: <a@example.com>\r\nReceived: from x\r\nSubject: hello\r\n\r\nhello"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.pdf", pdf(["x"]), "pdf"),
        ("A.PDF", pdf(["x"]), "pdf"),
        ("junk-before-header.pdf", b"\n\n-- spool --\n%PDF-1.4\n", "pdf"),
        ("a.docx", docx(paragraph("x")), "docx"),
        ("google-export.docx", document("eng_spa_mult.doc"), "docx"),
        ("eng_spa_mult.doc", document("eng_spa_mult.doc"), "docx"),
        ("simple.doc", document("simple.doc"), "doc"),
        ("encrypted.docx", OLE, "doc"),
        ("a.txt", b"hello", "txt"),
        (".txt", b"hello", "txt"),
        ("about-pdf.txt", b"A PDF begins with %PDF-1.7.", "txt"),
        ("starts-with-letters.txt", b"MZ is the mark of Mark Zbikowski.", "txt"),
        ("utf16.txt", "నమస్తే".encode("utf-16"), "txt"),
        ("latin1.md", document("umlauts-non-utf8.md"), "md"),
        ("a.markdown", b"# hello", "md"),
        ("html-inside.md", b'<p align="center">hello</p>', "md"),
        ("a.html", HTML_PAGE, "html"),
        ("a.htm", b"<p>hello", "html"),
        ("a.csv", b"name,price\nGold,49\n", "csv"),
        ("A.TSV", "పేరు\tధర\n".encode("utf-16"), "csv"),
        ("mail-like.csv", b"name:,price\nGold,49\n", "csv"),
        ("a.xlsx", sheet(("x",)), "xlsx"),
        ("a.pptx", pptx([shape("x")]), "pptx"),
        ("a.odt", odt("<text:p>x</text:p>"), "odt"),
        ("libreoffice.xlsx", document("leave-policy.xlsx"), "xlsx"),
        ("libreoffice.pptx", document("leave-policy.pptx"), "pptx"),
        ("libreoffice.odt", document("leave-policy.odt"), "odt"),
        ("a.epub", document("leave-policy.epub"), "epub"),
        ("a.rtf", document("leave-policy.rtf"), "rtf"),
        ("marked.rtf", b"\xef\xbb\xbf\n{\\rtf1 hello}", "rtf"),
        ("rtf.doc", b"{\\rtf1 hello}", "rtf"),
        ("a.eml", MAIL, "eml"),
        ("mailbox.eml", b"From a@example.com Tue Mar 5\nSubject: x\n\nx", "eml"),
        ("utf16.eml", MAIL.decode().encode("utf-16"), "eml"),
        ("mail.txt", MAIL, "txt"),
        # The content counts, where the head of the file shows it.
        ("docx.xlsx", docx(paragraph("x")), "docx"),
        ("docx.odt", docx(paragraph("x")), "docx"),
        ("spreadsheet.docx", archive({"xl/workbook.xml": b"x"}), "xlsx"),
        ("presentation.doc", pptx([shape("x")]), "pptx"),
        ("text.docx", odt("<text:p>x</text:p>"), "odt"),
        ("book.odt", document("leave-policy.epub"), "epub"),
        ("encrypted.xlsx", OLE, "doc"),
        ("old.pptx", OLE, "doc"),
        # Where it does not, the name does until the file is read.
        ("late.xlsx", archive({"[Content_Types].xml": b"x" * 9, "a.xml": b"x"}), "xlsx"),
        ("late.doc", archive({"[Content_Types].xml": b"x"}), "docx"),
        ("packed-mimetype.epub", archive({"META-INF/container.xml": b"x", "mimetype": b"x"}), "epub"),
        ("theme-first.pptx", archive({"theme1.xml": b"x"}), "pptx"),
    ],
)
def test_content_and_name_together_give_the_kind(name: str, head: bytes, kind: str) -> None:
    assert sniff(head[:HEAD_BYTES], name) == kind


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("exe.pdf", EXE),
        ("exe.docx", EXE),
        ("exe.txt", EXE),
        ("text.pdf", b"just text"),
        ("pdf.docx", pdf(["x"])),
        ("pdf.txt", pdf(["x"])),
        ("pdf.html", pdf(["x"])),
        ("docx.pdf", docx(paragraph("x"))),
        ("docx.txt", docx(paragraph("x"))),
        ("zip.docx", archive({"holiday.jpg": b"x"})),
        ("zip.xlsx", archive({"holiday.jpg": b"x"})),
        ("zip.odt", archive({"notes.txt": b"x"})),
        ("zip.epub", archive({"a.zip": b"x"})),
        ("ods.odt", archive({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"})),
        ("ods.xlsx", archive({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"})),
        ("docx.rtf", docx(paragraph("x"))),
        ("docx.csv", docx(paragraph("x"))),
        ("xlsx.csv", sheet(("x",))),
        ("html.csv", HTML_PAGE),
        ("pdf.csv", pdf(["x"])),
        ("text.xlsx", b"name,price\n"),
        ("text.odt", b"hello"),
        ("text.rtf", b"hello"),
        ("rtf.txt", b"{\\rtf1 hello}"),
        ("rtf.docx", b"{\\rtf1 hello}"),
        ("text.eml", b"hello, this is no message\n"),
        ("html.eml", HTML_PAGE),
        ("ole.eml", OLE),
        ("empty-zip.docx", archive({})),
        ("doc.txt", OLE),
        ("html.txt", HTML_PAGE),
        (
            "html-after-comments.txt",
            b"\xef\xbb\xbf<?xml version='1.0'?> <!-- a --> <!-- b --> <HTML lang=en>",
        ),
        ("html-utf16.txt", HTML_PAGE.decode().encode("utf-16")),
        ("html.md", HTML_PAGE),
        ("polyglot.pdf", HTML_PAGE + b"%PDF-1.4"),
        ("image.pdf", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_content_that_belies_its_name_is_a_mismatch(name: str, head: bytes) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        sniff(head[:HEAD_BYTES], name)
    assert (caught.value.code, caught.value.kind) == ("type_mismatch", Kind.UNSUPPORTED)


@pytest.mark.parametrize(
    "name",
    [
        "a.exe",
        "a.svg",
        "a.zip",
        "a.docm",
        "a.xls",
        "a.xlsm",
        "a.xlsb",
        "a.ppt",
        "a.ods",
        "a.odp",
        "a.msg",
        "README",
        "x.pdf.exe",
        "a.",
        "",
        "a.pdf/x",
        "exe.\u202efdp",
    ],
)
def test_other_suffixes_are_unsupported_whatever_is_inside(name: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        sniff(pdf(["x"]), name)
    assert (caught.value.code, caught.value.kind) == ("unsupported_type", Kind.UNSUPPORTED)


def test_each_kind_has_a_reader_and_a_media_type() -> None:
    assert set(KIND_BY_SUFFIX.values()) == READERS.keys() == MEDIA_TYPES.keys()


def test_the_sentence_for_unsupported_types_names_what_is_allowed() -> None:
    assert all(suffix in SENTENCES["unsupported_type"] for suffix in ALLOWED_SUFFIXES)


def test_no_bytes_are_an_empty_file() -> None:
    with pytest.raises(UnreadableDocument) as caught:
        sniff(b"", "a.pdf")
    assert (caught.value.code, caught.value.kind) == ("empty_file", Kind.INVALID)


def test_thousands_of_comments_do_not_stall_the_html_check() -> None:
    began = time.perf_counter()
    sniff((b"<!---->" * 1000)[:HEAD_BYTES], "a.txt")
    sniff((b"<!--" * 2000)[:HEAD_BYTES], "a.txt")
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd.txt", "passwd.txt"),
        ("..\\..\\x.pdf", "x.pdf"),
        ("/abs.txt", "abs.txt"),
        ("C:\\x.docx", "x.docx"),
        ("a\0.txt", "a.txt"),
        (".txt", ".txt"),
        ("con.txt", "con.txt"),
        ("%2e%2e%2f.txt", "%2e%2e%2f.txt"),
        ("exe.\u202efdp", "exe.fdp"),
        ("😀.txt", "😀.txt"),
        ("cafe\u0301.txt", "caf\u00e9.txt"),
        ("caf\u00e9.txt", "caf\u00e9.txt"),
        ('a"; filename="b.txt', 'a"; filename="b.txt'),
        ("a\r\nSet-Cookie: x.txt", "aSet-Cookie: x.txt"),
        ("-rf.txt", "-rf.txt"),
        ("$(id).txt", "$(id).txt"),
        ("~/.ssh/x.txt", "x.txt"),
        ("  padded.txt  ", "padded.txt"),
        ("folder/", "folder"),
        ("క్\u200dష.txt", "క్\u200dష.txt"),
        ("tag\U000e0041s\ufeff\ud800.txt", "tags.txt"),
        ("", "document"),
        ("..", "document"),
        ("/", "document"),
        ("\u202e\u200b", "document"),
    ],
)
def test_names_are_safe_to_show(name: str, shown: str) -> None:
    assert normalise_filename(name) == shown


@pytest.mark.parametrize("name", ["n" * 300 + ".pdf", "తె" * 200 + ".pdf", "a/" + "😀" * 100 + ".pdf"])
def test_long_names_are_cut_before_the_suffix(name: str) -> None:
    shown = normalise_filename(name)
    assert 240 < len(shown.encode()) <= 255
    assert shown.endswith(".pdf")


@pytest.mark.parametrize("name", ["n" * 300, "a." + "b" * 300])
def test_long_names_without_a_true_suffix_are_cut_at_the_end(name: str) -> None:
    assert normalise_filename(name) == name[:255]
