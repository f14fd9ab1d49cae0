""".csv, and how rows of any spreadsheet become lines."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.rag.chunking import split
from app.readers import csv
from app.readers.errors import UnreadableDocument
from app.readers.limits import Limits
from app.readers.number_formats import BUILT_IN, shown
from app.readers.tables import Row, table_lines
from tests.unit.readers.files import document


def rows(*lines: str) -> list[str]:
    """What becomes of rows whose cells are parted by commas, where no header is expected."""
    made = (Row({at: text for at, text in enumerate(line.split(",")) if text}) for line in lines)
    return list(table_lines(made, header_expected=False))


def text_of(source: str | bytes) -> str:
    return csv.read(source if isinstance(source, bytes) else source.encode()).text


def code_of(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        csv.read(data, limits or Limits())
    return caught.value.code


def test_each_row_names_its_columns() -> None:
    made = csv.read(document("leave-policy.csv"))
    assert made.text.split("\n") == [
        "- Office | Kind of leave | Days | Note",
        "- Office: హైదరాబాద్ | Kind of leave: Annual | Days: 20 | Note: Unused days end on 31 March; ask first.",
        "- Office: Pune | Kind of leave: Annual | Days: 18",
        '- Office: Pune | Kind of leave: Care | Days: 10 | Note: Children "under six"',
    ]
    assert (made.kind, made.title, [page.number for page in made.pages]) == ("csv", None, [None])


def test_a_row_far_below_the_header_is_found_whole_in_one_passage() -> None:
    source = "Plan,Price,Support\n" + "".join(f"Plan {n},{n + 9},phone and chat\n" for n in range(300))
    chunks = split([(None, text_of(source))], lambda text: [(m, m + 1) for m in range(0, len(text), 4)], max_tokens=254)
    assert len(chunks) > 10
    found = next(chunk for chunk in chunks if "Plan 222 " in chunk.text)
    assert "- Plan: Plan 222 | Price: 231 | Support: phone and chat" in found.text.split("\n")
    assert all(chunk.text.startswith("- Plan") and chunk.heading is None for chunk in chunks)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    lines = (("name", "price"), ("Gold", "1.5"), ("Silver, old; used", "2.5"))
    source = "\r\n".join(delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in row) for row in lines)
    assert text_of(source) == "- name | price\n- name: Gold | price: 1.5\n- name: Silver, old; used | price: 2.5"


def test_decimal_commas_do_not_part_cells() -> None:
    lines = text_of("name;price\nGold;1,5\nSilver;2,5\n").split("\n")
    assert lines == ["- name | price", "- name: Gold | price: 1,5", "- name: Silver | price: 2,5"]


@pytest.mark.parametrize("said", ["sep=;\n", "sep=;\r\n", '"sep=;"\n', "SEP=;\n"])
def test_the_first_line_may_say_the_delimiter(said: str) -> None:
    assert text_of(f"{said}a,b;c,d\n1,2;3,4\n") == "- a,b | c,d\n- a,b: 1,2 | c,d: 3,4"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_recognised(encoding: str) -> None:
    assert text_of("Stück;Preis\nÖl;3,50\n".encode(encoding)) == "- Stück | Preis\n- Stück: Öl | Preis: 3,50"


def test_quoted_cells_hold_line_breaks_delimiters_and_quotes() -> None:
    source = 'question,answer\nHow?,"Like this,\nand\r\n ""that""."\nWho?, "Me, or you"\n'
    assert text_of(source).split("\n")[1:] == [
        '- question: How? | answer: Like this, and "that".',
        "- question: Who? | answer: Me, or you",
    ]


def test_stray_quotes_cost_no_row() -> None:
    source = 'a,b,c\n1,"open,3\n4,5,6\n7,8" pipe,9\n10,"x" y,12\n' + "13,14,15\n" * 600
    lines = text_of(source).split("\n")[1:]
    assert lines[:4] == [
        '- a: 1 | b: "open | c: 3',
        "- a: 4 | b: 5 | c: 6",
        '- a: 7 | b: 8" pipe | c: 9',
        '- a: 10 | b: "x" y | c: 12',
    ]
    assert len(lines) == 604


def test_two_stray_quotes_far_apart_do_not_swallow_the_rows_between() -> None:
    assert len(text_of('a,b\n"x,1\n' + "y,2\n" * 600 + 'z",3\n').split("\n")) == 603


def test_ragged_rows_keep_what_they_have() -> None:
    assert text_of("a,b,c\n1,2\n1,,3\n1,2,3,4\n,,\n").split("\n")[1:4] == [
        *("- a: 1 | b: 2", "- a: 1 | c: 3", "- a: 1 | b: 2 | c: 3 | 4"),
    ]


def test_no_bytes_and_no_text() -> None:
    assert [code_of(data) for data in (b"", b"\n\n", b",,,\n,,\n", b'""\n')] == ["empty_file"] + ["no_text"] * 3


def test_large_files_are_read_or_refused_and_never_stall() -> None:
    began = time.perf_counter()
    long = "word, " * 200_000 + "end"
    assert text_of(f'id,text\n1,"{long}"\n2,x\n') == f"- id | text\n- id: 1 | text: {long}\n- id: 2 | text: x"
    assert code_of(b"id,name,price\n" + b"1,Gold,49\n" * 10_000, Limits(max_text_bytes=100_000)) == "too_large"
    assert text_of(b'"' * 1_000_001)
    assert text_of(b',"\n' * 30_000)
    assert text_of(b"1" + b" " * 100_000 + b"x,2\n" * 3)
    assert time.perf_counter() - began < 20


@given(st.text(alphabet='ab1 ,;\t|"\r\né', max_size=200), st.sampled_from(["utf-8", "utf-16", "cp1252"]))
def test_no_letter_of_any_text_is_lost(source: str, encoding: str) -> None:
    try:
        made = csv.read(source.encode(encoding))
    except UnreadableDocument as exc:
        assert exc.code in ("empty_file", "no_text")  # noqa: PT017 (both outcomes are right)
    else:
        assert all(made.text.count(letter) >= source.count(letter) for letter in "ab1é")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Region,2023,2024", "North,1,2", "South,3,4"], "- Region: North | 2023: 1 | 2024: 2"),
        ([",price,seats", "Gold,49,1", "Silver,29,2"], "- Gold | price: 49 | seats: 1"),
        (["id,plan_name", "a1,Gold", "b2,Silver Plus"], "- id: a1 | plan_name: Gold"),
        (["Paid?,Note:,Sum", "yes,x,1", "no,y,2"], "- Paid? yes | Note: x | Sum: 1"),
        (["Term,Definition", "Leave,Time away from work that is paid", "Care,Time for children who are ill"],
         "- Term: Leave | Definition: Time away from work that is paid"),
        (["City,Country,Head", "Berlin,Germany,Anna"], "- City: Berlin | Country: Germany | Head: Anna"),
        (["Plan,Since,Price", "Gold,2024-03-05,$ 49.00"], "- Plan: Gold | Since: 2024-03-05 | Price: $ 49.00"),
    ],
    ids=["years", "nameless first", "identifiers", "questions", "glossary", "only words", "dates"],
)  # fmt: skip
def test_a_header_is_recognised(lines: list[str], expected: str) -> None:
    assert rows(*lines)[1] == expected


@pytest.mark.parametrize(
    "lines",
    [
        ["1,2,3", "4,5,6"],
        ["Gold,49,yes", "Silver,29,no"],
        ["2024-01-05,a,b", "2024-01-06,c,d"],
        ["Company,Northwind", "Founded,1999", "Head,Anna"],
        ["Contact,Anna", "Phone,+1 555 0100"],
        ["a@example.com,Anna,x", "b@example.com,Bert,y"],
        ["Name,Name,Sum of all", "a,b,c"],
        ["only,one row"],
    ],
)  # fmt: skip
def test_rows_without_a_header_are_not_given_one(lines: list[str]) -> None:
    assert rows(*lines) == ["- " + line.replace(",", " | ") for line in lines]


def test_titles_stand_above_and_notes_below_a_table() -> None:
    lines = [
        "Price list 2024",
        "all prices in euro",
        "Plan,Price,Seats",
        "Gold,49,1",
        "Cheap ones",
        "Silver,29,2",
        "Source: us",
    ]
    assert rows(*lines) == [
        *(
            "Price list 2024",
            "all prices in euro",
            "- Plan | Price | Seats",
            "- Plan: Gold | Price: 49 | Seats: 1",
            "Cheap ones",
        ),
        *("- Plan: Silver | Price: 29 | Seats: 2", "Source: us"),
    ]


def test_empty_rows_part_tables_and_a_table_may_go_on() -> None:
    table = ["Plan,Price,Seats", "Gold,49,1", "", "", "Silver,29,2", "", "Contact,Anna", "Room,Nine"]
    other = ["", "City,People,Since", "Pune,12,2001"]
    assert rows(*table, *other) == [
        *(
            "- Plan | Price | Seats",
            "- Plan: Gold | Price: 49 | Seats: 1",
            "",
            "- Plan: Silver | Price: 29 | Seats: 2",
            "",
        ),
        *(
            "- Contact | Anna",
            "- Room | Nine",
            "",
            "- City | People | Since",
            "- City: Pune | People: 12 | Since: 2001",
        ),
    ]


def test_a_header_of_two_rows_is_one_name_for_each_column() -> None:
    lines = rows(",Q1,,Q2,", "Region,Price,Units,Price,Units", "North,1,2,3,4", "South,5,6,7,8")
    assert lines[0] == "- Region | Q1 Price | Q1 Units | Q2 Price | Q2 Units"
    assert lines[1] == "- Region: North | Q1 Price: 1 | Q1 Units: 2 | Q2 Price: 3 | Q2 Units: 4"


def test_a_list_is_lines() -> None:
    assert rows("one", "two", "three") == ["one", "two", "three"]


CELLS = st.sampled_from(["", "ab", "bc", "cd", "1", "2024", "2023", "Q1", "x y"])


@example([(["ab", "bc"], False, True), (["cd", "", "Q1"], False, False), (["1", "1", "1"], False, False)], True)
@example(
    [(["", "ab", "bc"], False, True), (["cd", "", "", "Q1"], False, False), (["1", "", "", "1"], False, False)], True
)
@given(st.lists(st.tuples(st.lists(CELLS, max_size=5), st.booleans(), st.booleans()), max_size=8), st.booleans())
def test_no_cell_of_any_table_is_lost(table: list[tuple[list[str], bool, bool]], header_expected: bool) -> None:
    made = [Row({at: text for at, text in enumerate(texts) if text}, *marks) for texts, *marks in table]
    lines = "\n".join(table_lines(made, header_expected=header_expected))
    assert all(text in lines for row in made for text in row.cells.values())


@pytest.mark.parametrize(
    ("value", "code", "expected"),
    [
        (0.1 + 0.2, "General", "0.3"),
        (49.0, "General", "49"),
        (-0.0, "General", "0"),
        (1e20, "General", "100000000000000000000"),
        (1e-9, "General", "0.000000001"),
        (5.0, "", "5"),
        (2.665, "0.00", "2.67"),
        (0.35, "0%", "35%"),
        (1234.5, "#,##0.00", "1,234.50"),
        (1234567, '0.0,,"M"', "1.2M"),
        (3, '0 "items"', "3 items"),
        (0.5, "0.##", "0.5"),
        (7, "00000", "00007"),
        (12345.678, "0.00E+00", "1.23E+04"),
        (1234.5, '"$"#,##0.00', "$1,234.50"),
        (49, "#,##0.00 [$€-407]", "49.00 €"),
        (99, "[$₹-4009] #,##0", "₹ 99"),
        (-1234.5, '_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)', "$(1,234.50)"),
        (0, '_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)', "$-"),
        (-5, "0;[Red]0", "-5"),
        (-0.001, "0.00", "0.00"),
        (5, ";;;", ""),
        (3.14, "[>5]0;0.0", "3.14"),
        (0.5, "# ?/?", "0.5"),
        (5551234567, "(###) ###-####", "5551234567"),
        (45356, "yyyy-mm-dd", "2024-03-05"),
        (45356, "[$-F800]dddd, mmmm dd, yyyy", "2024-03-05"),
        (45356, 'yyyy"年"m"月"d"日"', "2024-03-05"),
        (45356, "mmm-yy", "2024-03"),
        (45356.604166667, "m/d/yy h:mm", "2024-03-05 14:30"),
        (45356.99999999, "yyyy-mm-dd hh:mm", "2024-03-06 00:00"),
        (0.5, "h:mm AM/PM", "12:00"),
        (1.5, "[h]:mm:ss", "36:00"),
        (1, "yyyy-mm-dd", "1900-01-01"),
        (2958465, "yyyy-mm-dd", "9999-12-31"),
        (2958466, "yyyy-mm-dd", "2958466"),
        (-1, "yyyy-mm-dd", "-1"),
    ],
)  # fmt: skip
def test_numbers_are_shown_as_people_see_them(value: float, code: str, expected: str) -> None:
    assert shown(value, code) == expected


def test_numbers_count_from_1904_where_the_workbook_says_so() -> None:
    assert shown(45356 - 1462, "yyyy-mm-dd", since_1904=True) == "2024-03-05"
    assert shown(0, "yyyy-mm-dd", since_1904=True) == "1904-01-01"


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.one_of(
        st.sampled_from(sorted(BUILT_IN.values())), st.text(alphabet='0#?.,%Eehmsyd[]"\\_*;/@ -+$<1G', max_size=30)
    ),
    st.booleans(),
)
def test_any_number_is_shown_in_any_format(value: float, code: str, since_1904: bool) -> None:
    assert len(shown(value, code, since_1904=since_1904)) < 500
