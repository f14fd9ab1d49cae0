import time

import pytest
from hypothesis import given, settings

from app.rag.layout import Kind, blocks, heading_text
from app.rag.sentences import sentences
from tests.unit.rag.texts import texts


def cut(text: str) -> list[str]:
    return [" ".join(text[start:end].split()) for start, end in sentences(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Staff get leave.", "They must ask first!", "Is it paid?", "Yes."],
        ["Dr. Rao and Mr. J. R. Smith met at 9 a.m. on Monday.", "They agreed."],
        ["It costs Rs. 500 or $1,000.50 a month.", "Version 2.1 is free."],
        ["Use a form, e.g. the blue one, i.e. no. 7, for this.", "See Fig. 3 for more."],
        ["We sell pens, ink, etc.", "The shop is open."],
        ["The plan (Ltd. and Inc. firms only) is new.", "It pays 4.5% p.a. in all."],
        ["He said “Stop.”", "Then he left…", "And so on?!", "Indeed."],
        ["Offices in the U.S. are closed.", "Call us at 5 p.m.", "We wait."],
        ["Write to hr@contoso.com or see www.contoso.com/leave.html today.", "Thanks."],
        ["आवेदन प्रबंधक को भेजें।", "डॉ. राव को भी बताएँ।", "क्या यह ठीक है?", "हाँ।"],
        ["ఉద్యోగులకు సెలవు ఉంటుంది.", "దరఖాస్తు పంపాలి.", "ఎప్పుడు?"],
    ],
    ids=lambda expected: expected[0][:20],
)
def test_sentences_of_a_paragraph(expected):
    assert cut(" ".join(expected)) == expected


def test_chinese_needs_no_space_between_sentences():
    assert cut("今天去公园。天气很好!") == ["今天去公园。", "天气很好!"]


def test_wrapped_lines_are_joined_and_headings_and_items_are_not():
    page = (
        "Leave Policy\n"
        "Every member of staff has twenty days of leave in each calendar year, which must be\n"
        "taken before the end of March. Days that are left over are lost unless the manager has\n"
        "agreed to keep them.\n"
        "Who approves it?\n"
        "• Your manager, for up to ten\n"
        "days in a row\n"
        "• The director\n"
        "1. Fill in the form.\n"
        "Contact Us"
    )
    assert cut(page) == [
        "Leave Policy",
        "Every member of staff has twenty days of leave in each calendar year, which must be taken "
        "before the end of March.",
        "Days that are left over are lost unless the manager has agreed to keep them.",
        "Who approves it?",
        "• Your manager, for up to ten days in a row",
        "• The director",
        "1. Fill in the form.",
        "Contact Us",
    ]
    assert [block.kind for block in blocks(page)] == [
        Kind.HEADING,
        Kind.TEXT,
        Kind.LEAD,
        Kind.ITEM,
        Kind.ITEM,
        Kind.ITEM,
        Kind.TEXT,
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("## Leave and pay", Kind.HEADING),
        ("LEAVE POLICY", Kind.HEADING),
        ("3.2 Sick leave of staff", Kind.HEADING),
        ("Chapter 4 Pay", Kind.HEADING),
        ("Benefits for Out-of-Network Providers", Kind.HEADING),
        ("సెలవుల విధానం", Kind.HEADING),
        ("the end of a sentence", Kind.TEXT),
        ("Leave is Paid.", Kind.TEXT),
        ("Tips for all members of staff:", Kind.LEAD),
        ("- Sick Leave", Kind.ITEM),
        ("| Plan | Price |", Kind.ITEM),
    ],
)
def test_kinds_of_lines_that_stand_alone(line, kind):
    text = f"{line}\n\nAll members of staff have a right to leave from the day on which they begin to work."
    assert blocks(text)[0].kind is kind


def test_marks_of_headings_are_not_part_of_their_text():
    assert heading_text("##  Leave\n and *pay* ##") == "Leave and *pay"


@settings(max_examples=150, deadline=None)
@given(texts)
def test_sentences_cover_the_text_in_order(text):
    spans = sentences(text)
    assert [at for span in spans for at in span] == sorted(at for span in spans for at in span)
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    covered = {at for start, end in spans for at in range(start, end)}
    assert all(char.isspace() for at, char in enumerate(text) if at not in covered)


@pytest.mark.parametrize("unit", [".", ". ", "a.", '."', '"', "e.g. ", "1. ", "A. ", "(", "#", "- ", "\u2028", "i "])
def test_no_text_makes_it_slow(unit):
    began = time.perf_counter()
    sentences(unit * (300_000 // len(unit)) + "a")
    assert time.perf_counter() - began < 3
