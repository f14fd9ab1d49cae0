"""Plain text, Markdown and HTML."""

import random
import time
import zlib
from types import ModuleType

import pytest

from app.readers import csv, html, md, txt
from app.readers.encoding import decode
from app.readers.errors import UnreadableDocument
from tests.unit.readers.files import document

TELUGU = "ఆంధ్ర ప్రదేశ్ రాజధాని ఏది?\nఅమరావతి. "
HINDI = "भारत की राजधानी क्या है?\nनई दिल्ली। "
JAPANESE = "日本の首都はどこですか。 東京です。\n"
WIDE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("text", ["Plain English text.\n", TELUGU, HINDI, JAPANESE, "Ünïcödé – “quotes” 😀 x\n"])
def test_each_unicode_encoding_is_recognised(encoding: str, text: str) -> None:
    assert decode((text * 20).encode(encoding)).removeprefix("\ufeff") == text * 20


def test_windows_1252_is_what_remains() -> None:
    assert decode("L’été à 3,50 €".encode("cp1252")) == "L’été à 3,50 €"
    assert decode(b"open \x81 byte") == "open \x81 byte"


@pytest.mark.parametrize(
    "data", [b"a\0b", b"abc\0de\0", b"abc\0ef", b"one stray\0NUL in a line of text" * 50, b"x" * 4999 + b"\0"]
)
def test_stray_nul_bytes_do_not_make_it_utf16(data: bytes) -> None:
    assert decode(data).replace("\0", "") == data.replace(b"\0", b"").decode()


@pytest.mark.parametrize(
    "name",
    ["fake-text-utf-16.txt", "fake-text-utf-16-le.txt", "fake-text-utf-16-be.txt", "fake-text-utf-32.txt"],
)
def test_the_same_text_in_other_encodings_reads_the_same(name: str) -> None:
    expected = txt.read(document("fake-text.txt")).text.split()
    assert txt.read(document(name)).text.split() == expected


@pytest.mark.parametrize("reader", [txt, md, csv])
@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 50,
        random.Random(1).randbytes(20_000),
        zlib.compress(random.Random(2).randbytes(20_000)),
        b"\xff\xfe" + b"\x00\xdc" * 500,
    ],
    ids=["every byte", "random", "compressed", "half surrogates"],
)
def test_what_is_no_text_is_a_bad_file(reader: ModuleType, data: bytes) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        reader.read(data)
    assert caught.value.code == "bad_file"


@pytest.mark.parametrize(
    "data",
    [
        "L\u2019\u00e9t\u00e9 \u00e0 3,50 \u20ac\n".encode("cp1252") * 50,
        "\u65e5\u672c\u306e\u9996\u90fd\u3001\u6771\u4eac\u3002\n".encode("shift_jis") * 50,
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440\n".encode("koi8_r") * 50,
        TELUGU.encode("utf-16") * 20,
        HINDI.encode("utf-16-le") * 20,
        b"name\0value\0other\0" * 50,
        b"N\bNA\bAM\bME\bE\n",
        b"\x1b[1mbold\x1b[0m \a\n" * 50,
        b"page one\f" * 50 + b"\x1a",
        b"a word" + b"\0" * 1000 + b"and another",
    ],
    ids=["cp1252", "shift_jis", "koi8", "telugu utf-16", "hindi utf-16", "NUL between", "overstrike", "ansi",
         "form feeds", "some NULs"],
)  # fmt: skip
def test_what_is_text_in_some_way_is_read(data: bytes) -> None:
    assert txt.read(data).text.strip()


def test_text_is_kept_exactly_but_for_line_ends() -> None:
    text = "  indented\n\n\ttabbed  \n a\u0301 ﬁ \u00a0\n"
    made = txt.read(text.replace("\n", "\r\n").encode())
    assert (made.kind, made.text, made.pages[0].number) == ("txt", text, None)


@pytest.mark.parametrize("reader", [txt, md, html])
def test_nothing_and_white_space_have_their_codes(reader: object) -> None:
    for data, code in ((b"", "empty_file"), (b" \n\t\n", "no_text"), (b"\xef\xbb\xbf", "no_text")):
        with pytest.raises(UnreadableDocument) as caught:
            reader.read(data)  # type: ignore[attr-defined]
        assert caught.value.code == code


def test_a_million_lines_and_one_huge_line_are_quick() -> None:
    began = time.perf_counter()
    assert len(txt.read(b"a\n" * 10**6).text) == 2 * 10**6
    assert len(txt.read(b"word " * 10**6).text) == 5 * 10**6
    with pytest.raises(UnreadableDocument, match="no_text"):
        txt.read(b"\n" * 10**6)
    assert time.perf_counter() - began < 2


def test_markdown_stays_as_written_and_its_first_heading_is_the_title() -> None:
    made = md.read(document("umlauts-non-utf8.md"))
    assert made.text == md.read(document("umlauts-utf8.md")).text
    assert made.text.startswith("## können\n")
    assert made.title == "können"
    assert md.read(b"no heading").title is None


def test_html_keeps_what_is_read_and_drops_what_runs() -> None:
    made = html.read(
        b"<html><head><title>The  page</title><style>p{}</style></head><body><script>evil()</script>"
        b"<h1>Head</h1><p>One <b>bold</b>\n word.<br>Next</p><!-- note --><ul><li>a<li>b</ul>"
        b"<noscript>no</noscript><template>t</template>tail &amp; &eacute;</body></html>"
    )
    assert made.text.split("\n\n") == ["# Head", "One bold word.\nNext", "a\nb", "tail & é"]
    assert (made.title, made.kind) == ("The page", "html")


def test_html_tables_are_rows_and_layout_tables_are_lines() -> None:
    rows = b"<table><tr><th>Plan<th> Price <tr><td>A<td><p>1</p><p>2</p><tr><td><td></table>"
    assert html.read(rows).text == "Plan | Price\nA | 1 2"
    layout = b"<table><tr><td>menu</td><td>" + rows + b"</td></tr><tr><td>one<br><br>two</td></tr></table>"
    assert [line for line in html.read(layout).text.split("\n") if line] == [
        *("menu", "Plan | Price", "A | 1 2", "one", "two"),
    ]


def test_html_preformatted_lines_keep_their_indentation() -> None:
    assert html.read(b"<p>x</p><pre>def f():\n    return 1\n</pre>y").text == "x\n\ndef f():\n    return 1\n\ny"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('<meta charset="iso-8859-1"><p>“é” €'.encode("cp1252"), "“é” €"),
        ('<meta http-equiv=x content="text/html; charset=shift_jis"><p>日本'.encode("shift_jis"), "日本"),
        ("<?xml version='1.0' encoding='utf-8'?><html><body>é".encode(), "é"),
        ("<p>తెలుగు".encode("utf-16"), "తెలుగు"),
        ('<meta charset="hex"><p>é'.encode(), "é"),
        ('<meta charset="no-such-thing"><p>é'.encode(), "é"),
        ('<meta charset="idna"><p>é'.encode(), "é"),
    ],
)
def test_html_says_its_own_encoding(data: bytes, text: str) -> None:
    assert html.read(data).text == text


def test_html_of_the_set_reads_windows_1252() -> None:
    assert "15,50 €" in html.read(document("fake-html-cp1252.html")).text


def test_html_nested_deeply_neither_recurses_nor_stalls() -> None:
    began = time.perf_counter()
    assert html.read(b"<div>" * 1500 + b"deep").text == "deep"
    with pytest.raises(UnreadableDocument, match="no_text"):  # libxml2 stops at a depth of 2048
        html.read(b"<div>" * 10**5 + b"too deep")
    assert time.perf_counter() - began < 5
