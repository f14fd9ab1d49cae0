from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.rag.citations import Citation, MarkerFilter, strip_unknown, supports, verify


@dataclass(frozen=True)
class Source:
    n: int
    text: str
    title: str = "Handbook"
    page: int | None = 1
    score: float = 1.0


LEAVE = Source(1, "Full-time employees receive 20 days of paid leave in each calendar year.")
PHONE = Source(2, "The help desk answers the phone from 9 to 5 on working days.")
TELUGU = Source(3, "ఉద్యోగులకు సంవత్సరానికి 20 రోజుల సెలవు ఉంటుంది.")
SOURCES = [LEAVE, PHONE, TELUGU]


def cited(content: str) -> list[tuple[int, str]]:
    return [(citation.n, content[citation.start : citation.end]) for citation in verify(content, SOURCES)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Employees receive 20 days of leave. [1]", [(1, "Employees receive 20 days of leave.")]),
        ("Employees receive 20 days of leave [1].", [(1, "Employees receive 20 days of leave")]),
        ("Hello there. Employees receive paid leave [1]", [(1, "Employees receive paid leave")]),
        (
            "Employees receive paid leave [1] and the help desk answers the phone [2].",
            [(1, "Employees receive paid leave"), (2, "and the help desk answers the phone")],
        ),
        ("Employees receive paid leave [1][2].", [(1, "Employees receive paid leave")]),
        ("Employees receive paid leave. [2, 1]", [(1, "Employees receive paid leave.")]),
        ("ఉద్యోగులకు 20 రోజుల సెలవు ఉంటుంది. [3]", [(3, "ఉద్యోగులకు 20 రోజుల సెలవు ఉంటుంది.")]),
    ],
)
def test_a_marker_closes_the_sentence_before_it(content, expected):
    assert cited(content) == expected


@pytest.mark.parametrize(
    "content",
    [
        "Employees receive 25 days of paid leave. [1]",
        "Employees receive 20 days of leave. [2]",
        "Employees receive 20 days of leave. [9]",
        "Employees receive 20 days of leave. [99999]",
        "Employees receive 20 days of leave.",
        "The moon is made of green cheese. [1]",
        "[1]",
        "[1] Employees receive 20 days of leave.",
        ". . . [1]",
        "",
    ],
)
def test_what_no_passage_bears_out_is_not_a_citation(content):
    assert verify(content, SOURCES) == []


def test_numbers_are_compared_by_value():
    price = Source(1, "The fee is $1,000.00 a year, or ₹५०० a month.")
    assert supports(price, "The fee is 1000 a year.")
    assert supports(price, "The fee is 500 a month.")
    assert not supports(price, "The fee is 1000.50 a year.")


def test_the_title_is_part_of_the_source():
    assert supports(Source(1, "It has 20 days.", title="Leave policy of Contoso"), "The leave policy has 20 days.")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Yes [1]. No [9].", "Yes [1]. No."),
        ("Yes [1, 9, 2].", "Yes [1, 2]."),
        ("Yes[9][1]", "Yes[1]"),
        ("Yes [7, 9].", "Yes."),
        ("In [2019] and [a] and [] it was [1,2].", "In [2019] and [a] and [] it was [1,2]."),
        ("[[9]]", "[…]"),
        ("[[9]8] and [1[9], 8]", "[…8] and [1…, 8]"),
        ("A【9】 b【1†source】 c［2］ d[^9] e[1-3] f[ 9 ] g[२] h[2][9-11]", "A b[1] c[2] d e[1, 2] f g[2] h[2]"),
    ],
)
def test_unknown_markers_are_removed(content, expected):
    assert strip_unknown(content, {1, 2}) == expected


ANSWERS = st.lists(
    st.sampled_from(
        ["[1]", " [9]", "[1, 9]", "[", "]", " ", ",", "1", "23", "[[", "a", "म", "[2019]", "【", "】", "-", "†", "^"]
    )
).map("".join)


@settings(max_examples=300, deadline=None)
@given(ANSWERS, st.lists(st.integers(1, 4)))
def test_the_filter_of_a_stream_removes_the_same(answer, sizes):
    markers = MarkerFilter({1, 2})
    out, at = [], 0
    for size in [*sizes, len(answer)]:
        out.append(markers.feed(answer[at : at + size]))
        at += size
    out.append(markers.flush())
    assert "".join(out) == strip_unknown(answer, {1, 2})


@pytest.mark.parametrize(
    ("fed", "shown"),
    [
        ("Hello", "Hello"),
        ("a [1", "a"),
        ("a [1, ", "a"),
        ("a [b", "a [b"),
        ("a [1234", "a [1234"),
        ("x[9]y", "xy"),
    ],
)
def test_the_filter_holds_back_only_the_start_of_a_marker(fed, shown):
    assert MarkerFilter({1}).feed(fed) == shown


def test_the_filter_does_not_hoard():
    markers = MarkerFilter({1})
    out = "".join(markers.feed(char) for char in "[" * 5_000 + "1, " * 5_000)
    assert len(out) >= 19_000


def test_citations_compare_by_value():
    assert verify("Employees receive paid leave. [1]", SOURCES) == [Citation(1, 0, 29)]
