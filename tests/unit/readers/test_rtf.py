"""Rich Text Format: what is text, how bytes become letters, and files made to hurt."""

import pytest

from app.readers import rtf
from app.readers.errors import UnreadableDocument
from app.readers.limits import Limits
from tests.unit.readers.files import document

FONTS = (
    r"{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\fcharset204 Arial Cyr;}{\f2\fnil\fcharset128 MS Gothic;}"
    r"{\f3\fcharset1\cpg1253 Greek;}{\f4\fcharset250 Odd;}}"
)


def file(body: str, *, head: str = r"\ansi\ansicpg1252\deff0") -> bytes:
    return ("{\\rtf1" + head + FONTS + r"{\colortbl;\red0\green0\blue0;}" + body + "}").encode("latin-1")


def text(body: str, *, head: str = r"\ansi\ansicpg1252\deff0") -> str:
    return rtf.read(file(body, head=head)).text


def code_of(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        rtf.read(data, limits or Limits())
    return caught.value.code


def test_a_file_of_a_word_processor_with_telugu_a_list_and_a_table() -> None:
    made = rtf.read(document("leave-policy.rtf"))
    lines = [line.strip() for line in made.text.split("\n")]
    assert lines[:4] == [
        "# Leave policy",
        "Each employee has 20 days of paid leave a year. “Unused” days end on 31 March – ask the café 😀.",
        "## సెలవు విధానం",
        "ప్రతి ఉద్యోగికి సంవత్సరానికి 20 రోజుల వేతన సెలవు ఉంటుంది. శ్రీ స్త్రీ క్ష్మ.",
    ]
    assert lines[5:] == [
        *("•\tAsk your manager first.", "•\tWrite down the dates."),
        *("Kind | Days | చెల్లింపు", "Annual | 20 | అవును", "Care for children under the age of six | 10 | కాదు"),
        "Questions go to the office.",
    ]
    assert (made.kind, made.title, made.warnings) == ("rtf", "Leave policy – సెలవు విధానం", [])
    assert [page.number for page in made.pages] == [None]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (r"\u3108?\u3142?\u3122?\u3137?\u3095?\u3137?", "తెలుగు"),
        (r"\uc0\u3108\u3142 \u3122{\uc1\u3137x}y", "తెలుy"),
        (r"\uc2\u26085\'93\'fa\u26412\'96\'7bx", "日本x"),
        (r"\u8212\emdash -\u233\'e9-\u160\~.", "—-é-\u00a0."),
        (r"\u3108\par next", "త\nnext"),
        (r"\u-10179?\u-8704?\u128512?", "😀😀"),
        (r"\u-3913?x\u-3929?", "•x▪"),
        (r"\u99999999?\u?x\u-9999999?", "\ufffd\ufffdx\ufffd"),
        (r"\u55357?x", "\ufffdx"),
        (r"\u3093\u3149\zwj \u3127", "\u0c15\u0c4d\u200d\u0c37"),
    ],
)
def test_unicode_and_its_fallbacks(body: str, expected: str) -> None:
    assert text(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (r"caf\'e9 \'80 \'81", "café € \x81"),
        (r"{\f1 \'cf\'f0\'e8\'e2\'e5\'f2} \'e9", "Привет é"),
        (r"\f1\'cf\plain\'e9", "Пé"),
        (r"{\f2 \'83A\'83\'5c\'83\\\'93\'fa}", "アソソ日"),
        (r"\f3\'e1", "α"),
        (r"\f4\'e9", "é"),
        ("raw caf\xe9", "raw café"),
    ],
)
def test_bytes_are_read_with_the_page_of_their_font(body: str, expected: str) -> None:
    assert text(body) == expected


@pytest.mark.parametrize(
    ("head", "byte", "expected"),
    [
        (r"\ansi\ansicpg1251", "cf", "П"),
        (r"\mac", "8e", "é"),
        (r"\pc", "82", "é"),
        (r"\pca", "d5", "ı"),
        (r"\ansi\ansicpg65001", r"e0\'b0\'a4", "త"),
        (r"\ansi\ansicpg99999", "e9", "é"),
        (r"\ansi\ansicpg", "e9", "é"),
    ],
)
def test_the_document_says_its_code_page(head: str, byte: str, expected: str) -> None:
    assert text(rf"\f9\'{byte}", head=head) == expected


def test_tables_are_rows_and_what_is_in_a_cell_is_one_line() -> None:
    body = (
        r"before\par\trowd\cellx100\cellx200\pard\intbl Plan\cell Price\cell\row"
        r"\trowd\cellx100\cellx200\pard\intbl A\par second\line third\cell {\b 5}\cell\row"
        r"\trowd\pard\intbl\cell\cell\row"
        r"\pard\intbl outer \itap2 x\nestcell{\nonesttables\par}y\nestcell"
        r"{\*\nesttableprops\trowd\nestrow}{\nonesttables\par}\itap1\cell 6\cell\row\pard after\par"
    )
    assert text(body).split("\n") == ["before", "Plan | Price", "A second third | 5", "outer x y | 6", "after"]


def test_headings_are_marked_by_outline_level_or_the_name_of_their_style() -> None:
    sheet = (
        r"{\stylesheet{\ql\snext0 Normal;}{\s1\sbasedon0 heading 1;}{\s2\qc Heading 2;}{\s7 Title;}{\s9 Headings 1;}}"
    )
    body = (
        r"\pard\s7 Name\par\pard\plain\s1  One  {\b two}{\par}\pard text\par{\pard\outlinelevel2 Three\par}"
        r"\s9\outlinelevel9 other\par\s2\par\pard\outlinelevel8 deep\par"
    )
    assert text(sheet + body).split("\n") == ["# Name", "# One two", "text", "### Three", "other", "", "###### deep"]
    assert text(r"\pard\outlinelevel0 Head{\footnote note\par}\par") == "# Head\nnote\n"


def test_a_row_that_is_never_ended_is_kept() -> None:
    assert text(r"\pard\intbl a\cell b\cell\pard after") == "a | b\nafter"
    assert text(r"\pard\intbl a\cell b\cell") == "a | b"


def test_what_nobody_sees_is_left_out() -> None:
    body = (
        r"{\header top}{\footerf bottom}{\*\generator Maker 1.0;}{\info{\author Me}{\title The title}}"
        r"shown{\v hidden}{\deleted gone}{\revised  new}\v off\v0  on\deleted no\plain  yes{\mvf moved}"
        r"{\pict\pngblip 0f0f}{\object{\*\objclass Sheet}{\*\objdata 0f}{\objdata 0f}{\result seen}}"
        r"{\xe index}{\*\annotation note}"
        r"{\field{\*\fldinst HYPERLINK \"http://x.example/\"}{\fldrslt  link}}{\*\unknown{x}y}."
    )
    made = rtf.read(file(body))
    assert made.text == "shown new on yesseen link."
    assert made.title == "The title"


def test_text_boxes_follow_their_paragraph_and_notes_the_body() -> None:
    body = (
        r"one{\footnote A note.}{\shp{\*\shpinst{\sp{\sn name}{\sv value}}{\shptxt in the box\par two}}"
        r"{\shprslt{\*\do{\dptxbxtext in the box}}}} more\par last{\*\footnote Another.}"
        r"{\*\do\dobxpage{\dptxbxtext old box}}"
    )
    assert text(body).split("\n") == [
        *("one more", "in the box", "two", "last", "old box", "A note.", "Another."),
    ]


def test_marks_of_writing() -> None:
    assert text(r"a\tab b\line c\~d\_e\-f\'7b\{\}\\ \ldblquote q\rdblquote\emdash\endash\bullet\zwnj.") == (
        "a\tb\nc\u00a0d-ef{{}\\ “q”—–•\u200c."
    )
    assert text("line ends\r\n of the file mean\n nothing\\\nbut these\\\r\ndo") == (
        "line ends of the file mean nothing\nbut these\ndo"
    )
    assert text("one\\page two\\sect three") == "one\ntwo\nthree"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"plain text", "bad_file"),
        (b"\\rtf1 x", "bad_file"),
        (b"{\\html x}", "bad_file"),
        (file(""), "no_text"),
        (file(r"{\pict 00}"), "no_text"),
        (b"{\\rtf", "no_text"),
    ],
)
def test_nothing_to_read(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_white_space_and_a_mark_may_stand_before_and_anything_behind() -> None:
    assert rtf.read(b"\xef\xbb\xbf\r\n {\\rtf1 text} garbage {\\rtf1 more}\0\0").text == "text"


def test_a_file_that_was_cut_gives_what_is_left_and_says_so() -> None:
    whole = document("leave-policy.rtf")
    made = rtf.read(whole[: whole.index(b"Ask your")] + b"Ask yo")
    assert made.text.endswith("Ask yo")
    assert made.warnings == ["The file ends too early; something may be missing."]
    assert rtf.read(file(r"x{\shp{\*\shpinst{\shptxt box")[:-1]).text == "x\nbox"
    assert rtf.read(b"{\\rtf1 x\\").text == "x"


def test_pictures_are_skipped_whatever_is_inside() -> None:
    binary = b"{\\rtf1 a{\\pict\\bin9 }}}{{{\\'}} b{\\*\\objdata\\bin4 }{}}} c\\bin3 }}}d}"
    assert rtf.read(binary).text == "a b cd"
    assert rtf.read(b"{\\rtf1 a{\\pict " + b"0f" * 10**7 + b"} b}").text == "a b"
    assert rtf.read(b"{\\rtf1 a{\\pict\\bin20000000 " + b"{\\" * 10**7 + b"} b}").text == "a b"
    assert rtf.read(b"{\\rtf1 a\\bin9999999999 b}").text == "a"
    assert rtf.read(b"{\\rtf1 a\\bin-5 b}").text == "ab"


@pytest.mark.parametrize(
    "body",
    [
        "{" * 300_000 + "x" + "}" * 300_000,
        "x" + r"{\shp{\*\shpinst{\shptxt y\par" * 30_000,
        "x" + r'{\field{\*\fldinst{ HYPERLINK "' * 30_000,
        "x" + r"{\fonttbl" + r"{\f1" * 100_000,
        "x" + r"\cell" * 200_000,
        "x" + r"{\footnote y" * 50_000,
        r"\u3108?" * 200_000,
        r"\'e9" * 300_000,
        r"\*" * 300_000 + " x",
    ],
    ids=["groups", "boxes", "fields", "fonts", "cells", "notes", "unicode", "bytes", "stars"],
)
def test_depth_and_repetition_do_no_harm(body: str) -> None:
    assert rtf.read(file(body)).text


def test_text_is_bounded() -> None:
    assert code_of(file("word " * 1000), Limits(max_text_bytes=4000)) == "too_large"
