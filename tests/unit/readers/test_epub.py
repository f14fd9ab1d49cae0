"""EPUB: reading order, what is left out, protection, and broken or hostile packages."""

from collections.abc import Mapping, Sequence

import pytest

from app.readers import epub
from app.readers.errors import UnreadableDocument
from app.readers.limits import Limits
from tests.unit.readers.files import archive, document

CONTAINER = (
    '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">'
    '<rootfiles><rootfile full-path="{}" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
XHTML = (
    '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "xhtml11.dtd">'
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>{}</title><script/><style>p {{}}</style></head>'
    "<body>{}</body></html>"
)
ENCRYPTION = (
    '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"'
    ' xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptedData>{}'
    '<e:CipherData><e:CipherReference URI="{}"/></e:CipherData></e:EncryptedData></encryption>'
)
FONTS = '<e:EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/>'
AES = '<e:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>'


def item(name: str, extra: str = "", media: str = "application/xhtml+xml") -> str:
    return f'<item id="{name}" href="{name}" media-type="{media}" {extra}/>'


def package(items: Sequence[str], spine: Sequence[str], *, title: str = "The book", guide: str = "") -> str:
    order = "".join(f'<itemref idref="{name}"/>' for name in spine)
    return (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></metadata>'
        f"<manifest>{''.join(items)}</manifest><spine>{order}</spine><guide>{guide}</guide></package>"
    )


def book(
    chapters: Mapping[str, str],
    *,
    opf: str | None = None,
    extra: Mapping[str, str | bytes] | None = None,
    folder: str = "OEBPS/",
) -> bytes:
    """Each chapter is the inside of a body; `extra` adds or replaces entries."""
    made = opf or package([item(name) for name in chapters], list(chapters))
    parts: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER.format(f"{folder}content.opf"),
        f"{folder}content.opf": made,
    }
    parts |= {folder + name: XHTML.format(name, body) for name, body in chapters.items()}
    return archive(parts | dict(extra or {}))


def code_of(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        epub.read(data, limits or Limits())
    return caught.value.code


def test_a_book_of_a_word_processor_with_telugu_and_a_table() -> None:
    made = epub.read(document("leave-policy.epub"))
    paragraphs = made.text.split("\n\n")
    assert paragraphs[:4] == [
        "Leave policy",
        "Each employee has 20 days of paid leave a year. “Unused” days end on 31 March – ask the café 😀.",
        "సెలవు విధానం",
        "ప్రతి ఉద్యోగికి సంవత్సరానికి 20 రోజుల వేతన సెలవు ఉంటుంది. శ్రీ స్త్రీ క్ష్మ.",
    ]
    assert "Kind | Days | చెల్లింపు\nAnnual | 20 | అవును\nCare for children under the age of six | 10 | కాదు" in paragraphs
    assert (made.kind, made.title, made.warnings) == ("epub", "Leave policy – సెలవు విధానం", [])
    assert [page.number for page in made.pages] == [None]


def test_chapters_come_in_the_order_of_the_spine_and_once() -> None:
    names = ["a.xhtml", "b.xhtml", "c.xhtml"]
    opf = package([item(name) for name in names], ["c.xhtml", "a.xhtml", "c.xhtml", "gone"])
    chapters = {name: f"<h1>Head {name[0]}</h1><p>Text&nbsp;{name[0]}<br/>next</p>" for name in names}
    assert epub.read(book(chapters, opf=opf)).text.replace("\u00a0", " ") == (
        "# Head c\n\nText c\nnext\n\n# Head a\n\nText a\nnext"
    )


def test_contents_lists_styles_and_media_are_left_out() -> None:
    items = [
        item("nav.xhtml", 'properties="scripted nav"'),
        item("toc.xhtml"),
        item("text.xhtml"),
        item("cover.svg", media="image/svg+xml"),
        item("toc.ncx", media="application/x-dtbncx+xml"),
    ]
    names = ("nav.xhtml", "toc.xhtml", "cover.svg", "toc.ncx", "text.xhtml")
    guide = '<reference type="toc" href="toc.xhtml"/><reference type="toc" href="text.xhtml#contents"/>'
    chapters = {"nav.xhtml": "<nav>Contents</nav>", "toc.xhtml": "<p>Chapter 1</p>", "text.xhtml": "<p>Body</p>"}
    whole = book(chapters, opf=package(items, names, guide=guide), extra={"OEBPS/cover.svg": "<svg>x</svg>"})
    assert epub.read(whole).text == "Body"


def test_names_are_resolved_like_addresses() -> None:
    opf = package([item("../Text/%C3%A9t%C3%A9%201.xhtml#start")], ["../Text/%C3%A9t%C3%A9%201.xhtml#start"])
    whole = book({}, opf=opf, extra={"Text/été 1.xhtml": XHTML.format("", "<p>found</p>")}, folder="OPS/")
    assert epub.read(whole).text == "found"


def test_chapters_that_are_missing_are_told() -> None:
    opf = package([item("a.xhtml"), item("b.xhtml")], ["a.xhtml", "b.xhtml"])
    made = epub.read(book({"a.xhtml": "<p>here</p>"}, opf=opf))
    assert (made.text, made.warnings) == ("here", ["1 of 2 chapters are missing."])
    assert code_of(book({}, opf=opf)) == "bad_file"


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", "utf-8"), ("utf-16", "utf-16"), ("cp1251", "windows-1251"), ("shift_jis", "Shift_JIS")],
)
def test_a_chapter_says_its_encoding(encoding: str, said: str) -> None:
    word = "日本" if encoding == "shift_jis" else "Привет"
    chapter = f'<?xml version="1.0" encoding="{said}"?><html><body><p>{word}</p></body></html>'
    assert epub.read(book({"a.xhtml": ""}, extra={"OEBPS/a.xhtml": chapter.encode(encoding)})).text == word


def test_protected_chapters_are_encrypted_and_mangled_fonts_are_not() -> None:
    chapters = {"a b.xhtml": "<p>read</p>"}
    opf = package([item("a%20b.xhtml")], ["a%20b.xhtml"])

    def protected(method: str, uri: str) -> bytes:
        return book(chapters, opf=opf, extra={"META-INF/encryption.xml": ENCRYPTION.format(method, uri)})

    assert epub.read(protected(FONTS, "OEBPS/font.otf")).text == "read"
    assert epub.read(protected(AES, "OEBPS/picture.jpg")).text == "read"
    assert code_of(protected(AES, "OEBPS/a%20b.xhtml")) == "encrypted"
    assert code_of(protected("", "OEBPS/./a%20b.xhtml")) == "encrypted"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"PK\x03\x04 no archive at all", "bad_file"),
        (document("leave-policy.epub")[:2000], "bad_file"),
        (archive({"mimetype": "application/epub+zip"}), "bad_file"),
        (book({"a.xhtml": "<p>x</p>"}, extra={"META-INF/container.xml": "<container/>"}), "bad_file"),
        (book({"a.xhtml": "<p>x</p>"}, extra={"META-INF/container.xml": "no xml"}), "bad_file"),
        (book({"a.xhtml": "<p>x</p>"}, extra={"OEBPS/content.opf": b"\0\xff"}), "bad_file"),
        (book({}), "bad_file"),
        (book({"a.xhtml": "<p> </p>"}), "no_text"),
        (book({"a.xhtml": "<p>x</p>"}, extra={"OEBPS/zeros.bin": bytes(20_000_000)}), "archive_bomb"),
        (book({"a.xhtml": "<p>" + "x" * 20_000_000}), "archive_bomb"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_and_broken_books(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_no_entity_is_resolved() -> None:
    """Neither in the package, which is XML, nor in a chapter."""
    doctype = '<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd"><!ENTITY lol "lollollol">]>'
    opf = package([item("a.xhtml")], ["a.xhtml"], title="T &secret; &lol;").replace("<package", doctype + "<package")
    chapter = doctype + "<html><body><p>before &secret; &lol; after</p></body></html>"
    made = epub.read(book({"a.xhtml": ""}, opf=opf, extra={"OEBPS/a.xhtml": chapter}))
    shown = f"{made.title} {made.text}"
    assert all(word in shown for word in ("T", "before", "after"))
    assert "root:" not in shown
    assert "lollol" not in shown


def test_text_is_bounded() -> None:
    chapters = {f"{number}.xhtml": f"<p>{'word ' * 100}</p>" for number in range(10)}
    assert code_of(book(chapters), Limits(max_text_bytes=3000)) == "too_large"
