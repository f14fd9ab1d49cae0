"""Which lines at page edges go, and above all which stay."""

import pytest

from app.readers import pdf
from app.readers.furniture import without_furniture
from tests.unit.readers.files import SHARED

BODY = (
    "Text of page {}, which is its own.\r\nIt has a second line about {} as well.\r\nAnd it ends here, after {} words."
)
NUMBERS = ("seven", "twelve", "forty", "ninety", "eleven", "thirty")


def pages(above: str, below: str, count: int = 6) -> list[str]:
    """`{n}` in the lines above and below the body is the number of the page."""
    made = []
    for number in range(1, count + 1):
        body = BODY.replace("{}", NUMBERS[number - 1])
        parts = (above.replace("{n}", str(number)), body, below.replace("{n}", str(number)))
        made.append("\r\n".join(part for part in parts if part))
    return made


def bodies(count: int = 6) -> list[str]:
    return [" ".join(page.split()) for page in pages("", "", count)]


def cut(texts: list[str]) -> list[str]:
    return [" ".join(text.split()) for text in without_furniture(texts)]


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("Northwind Employee Handbook", ""),
        ("", "Page {n} of 90"),
        ("", "{n}"),
        ("", "- {n} -"),
        ("", "p. {n}"),
        ("Handbook | {n}", "{n} Handbook"),
        ("Contoso Ltd\r\nConfidential, for internal use only", "Handbook 2024 | {n}"),
        ("  \r\n Contoso   Ltd \r\n\r\n", "\r\n{n} / 6\r\n"),
        ("{n} Annual report of Contoso", "PAGE {n}"),
        ("సెలవు విధానం పుస్తకం", "పేజీ {n}"),
    ],
)
def test_headers_footers_and_page_numbers_stay_on_the_first_page_only(above: str, below: str) -> None:
    found = cut(pages(above, below))
    assert found[1:] == bodies()[1:]
    assert found[0] == " ".join(pages(above, below)[0].split())


def test_even_and_odd_pages_may_differ() -> None:
    texts = [
        f"Handbook of Contoso {number}\n{body}" if number % 2 else f"{number} Chapter about leave\n{body}"
        for number, body in enumerate(bodies(), start=11)
    ]
    assert cut(texts)[2:] == bodies()[2:]


def test_page_numbers_that_begin_late_or_miss_a_page_go() -> None:
    texts = pages("", "")
    for at in (2, 3, 5):
        texts[at] += f"\n{at - 1}"
    assert cut(texts) == [*bodies()[:2], bodies()[2] + " 1", *bodies()[3:]]


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("", ""),
        ("Question {n}", ""),
        ("Q{n}.", "Exercise {n}:"),
        ("({n}) In the case of leave,", ""),
        ("{n}. What is covered", ""),
        ("", "•"),
        ("", "***"),
    ],
)
def test_headings_list_items_and_marks_stay(above: str, below: str) -> None:
    assert without_furniture(pages(above, below)) == pages(above, below)


def test_numbers_of_a_table_at_page_ends_stay() -> None:
    texts = [f"{body}\n{total}" for body, total in zip(bodies(), (250, 17, 990, 4, 66, 12), strict=True)]
    assert without_furniture(texts) == texts
    rows = [
        f"Total {total} {left}\n{body}"
        for body, total, left in zip(bodies(), range(6), (9, 8, 1, 7, 5, 3), strict=True)
    ]
    assert without_furniture(rows) == rows


def test_a_heading_that_opens_few_of_many_pages_stays() -> None:
    texts = [f"Page text number {number} {'x' * number}" for number in range(30)]
    for at in (3, 4, 5, 12):
        texts[at] = "Key points\n" + texts[at]
    assert without_furniture(texts) == texts


def test_the_same_line_inside_a_page_stays() -> None:
    texts = [f"{body}\nExceptions\n{body}" for body in bodies()]
    assert without_furniture(texts) == texts


def test_two_pages_are_too_few_and_copies_of_a_page_are_no_headers() -> None:
    two = pages("Northwind Handbook", "{n}", 2)
    assert without_furniture(two) == two
    copies = ["\n".join(f"The sentence number {word} of it." for word in NUMBERS * 3)] * 5
    assert without_furniture(copies) == copies
    assert without_furniture([]) == []


def test_a_page_that_holds_little_else_stays_whole() -> None:
    certificates = [f"Certificate of completion, awarded to\n{name}" for name in ("Asha", "Ravi", "Mina", "John")]
    assert without_furniture(certificates) == certificates


def test_more_lines_than_a_header_has_stay() -> None:
    form = "\n".join(f"Field {word} of the form" for word in ("one", "two", "three", *NUMBERS))
    texts = [f"{form}\n{body * 5}" for body in bodies()]
    assert without_furniture(texts) == texts


def test_nothing_is_taken_from_real_documents_without_headers() -> None:
    folder = SHARED / "northwind-pdf-pages" / "pdf"
    if not folder.exists():
        pytest.skip("not present: northwind-pdf-pages")
    for path in sorted(folder.glob("*.pdf")):
        texts = [page.text for page in pdf.read(path.read_bytes()).pages]
        assert without_furniture(texts) == texts


def test_a_real_booklet_loses_its_page_numbers_and_nothing_else() -> None:
    path = SHARED / "documents" / "files" / "failure-after-repair.pdf"
    if not path.exists():
        pytest.skip(f"not present: {path.name}")
    made = pdf.read(path.read_bytes())
    lines = [line.strip() for page in made.pages for line in page.text.split("\n")]
    assert [page.number for page in made.pages] == list(range(1, 77))
    assert sum(line.endswith("Cancer Council") and line[:1].isdigit() for line in lines) == 1
    assert lines.count("Key points") == 3
