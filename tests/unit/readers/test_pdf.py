import unicodedata
import zlib

import pytest

from app.readers import pdf
from app.readers.errors import UnreadableDocument
from app.readers.hyphens import resolve_hyphens
from app.readers.limits import Limits
from tests.unit.readers import files
from tests.unit.readers.files import SHARED, document

# Page count, then how some of the pages begin, as another library (pypdf) reads them.
HANDBOOKS: dict[str, tuple[int, dict[int, str]]] = {
    "PerksPlus.pdf": (4, {3: "Overview Introducing PerksPlus"}),
    "Benefit_Options.pdf": (4, {3: "Welcome to Contoso", 4: "offers a wider range of prescription drug coverage"}),
    "employee_handbook.pdf": (11, {7: "Privacy Privacy Policy At Contoso", 11: "15. Director of Research"}),
    "role_library.pdf": (31, {17: "Qualifications: • Bachelor’s degree", 31: "Contoso Electronics is seeking"}),
    "Northwind_Standard_Benefits_Details.pdf": (
        104,
        {7: "It is also important to ask your provider", 52: "You’ll also need to make", 104: "4. Review your policy"},
    ),
    "Northwind_Health_Plus_Benefits_Details.pdf": (
        109,
        {8: "Balance billing protection does not", 60: "• Do your research: Before", 109: "• Ask your doctor about"},
    ),
}


def code_of(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        pdf.read(data, limits or Limits())
    return caught.value.code


def test_pages_are_numbered_from_one_and_keep_their_place() -> None:
    made = pdf.read(files.pdf(["one", "", "three"]))
    assert [(page.number, page.text) for page in made.pages] == [(1, "one"), (2, ""), (3, "three")]
    assert made.kind == "pdf"
    assert made.warnings == ["1 of 3 pages hold no text."]
    assert made.text == "one\fthree".replace("\f", "\f\f")


def test_the_text_is_that_of_its_expected_twin() -> None:
    expected = unicodedata.normalize("NFKC", document("crazyones.txt").decode())  # it holds ligatures
    assert pdf.read(document("crazyones.pdf")).text.split() == expected.split()


@pytest.mark.parametrize("name", ["r2-empty-password.pdf", "r6-empty-password.pdf"])
def test_an_empty_user_password_is_tried(name: str) -> None:
    assert "pdf encryption test" in pdf.read(document(name)).text


def test_a_real_password_is_told() -> None:
    assert code_of(document("r3-user-password.pdf")) == "encrypted"


def test_an_unknown_way_of_encrypting_is_encrypted() -> None:
    protected = files.pdf(["x"]).replace(b"/Root 1 0 R", b"/Root 1 0 R/Encrypt<</Filter/Acme.Rights/V 9>>")
    assert code_of(protected) == "encrypted"


def test_a_broken_cross_reference_is_repaired() -> None:
    assert pdf.read(document("issue-297.pdf")).text == "test example"
    whole = files.pdf(["kept"])
    assert pdf.read(whole[: whole.rindex(b"startxref")]).text == "kept"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"%PDF-1.4\nnothing", "bad_file"),
        (b"MZ\x90\0" * 100, "bad_file"),
        (files.pdf(["", ""]), "no_text"),
    ],
)
def test_files_without_anything_to_read(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_limits_on_pages_and_text() -> None:
    assert code_of(files.pdf(["x"] * 4), Limits(max_pages=3)) == "too_many_pages"
    assert code_of(files.pdf(["x" * 100] * 4), Limits(max_text_bytes=300)) == "too_large"
    assert len(pdf.read(files.pdf(["x"] * 3), Limits(max_pages=3)).pages) == 3


def test_loops_in_the_page_tree_and_the_cross_references_end() -> None:
    page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"
    loop = files.pdf_of_objects(
        ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[2 0 R 3 0 R]/Count 2/Parent 2 0 R>>", page]
    )
    assert code_of(loop) in ("bad_file", "no_text")
    whole = files.pdf(["text"])
    at = whole.rindex(b"startxref\n") + len(b"startxref\n")
    start = whole[at:].split()[0].decode()
    kept = files.pdf(["text"]).replace(b"/Root 1 0 R", f"/Root 1 0 R/Prev {start}".encode())
    assert pdf.read(kept).text == "text"


def test_a_page_count_of_a_million_is_refused_before_it_is_walked() -> None:
    lie = files.pdf(["x"]).replace(b"/Count 1", b"/Count 1000000")
    assert code_of(lie) in ("too_many_pages", "bad_file")


def test_a_deflate_bomb_stays_within_bounds() -> None:
    packed = zlib.compress(b" " * 50_000_000, 9).decode("latin-1")
    bomb = files.pdf_of_objects(
        [
            "<</Type/Catalog/Pages 2 0 R>>",
            "<</Type/Pages/Kids[3 0 R]/Count 1>>",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>",
            f"<</Length {len(packed)}/Filter/FlateDecode>>stream\n{packed}\nendstream",
        ]
    )
    assert code_of(bomb) == "no_text"


def test_active_content_is_not_text() -> None:
    active = files.pdf(["visible"]).replace(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>>>",
    )
    assert pdf.read(active).text == "visible"


def test_headers_and_footers_stay_on_their_first_page_and_pages_keep_their_numbers() -> None:
    subjects = ["leave and holidays", "pay and bonuses", "", "the office and its rooms"]
    bodies = [subject and f"This page of the book is about {subject}, in some detail" for subject in subjects]
    lines = ") Tj 0 -20 Td ("
    made = pdf.read(
        files.pdf(
            [
                lines.join(("Handbook of Contoso", body, f"Page {number} of 4")) if body else ""
                for number, body in enumerate(bodies, start=1)
            ]
        )
    )
    assert [(page.number, page.text.strip()) for page in made.pages] == [
        (1, f"Handbook of Contoso\n{bodies[0]}\nPage 1 of 4"),
        *((number, body) for number, body in enumerate(bodies[1:], start=2)),
    ]
    assert made.warnings == ["1 of 4 pages hold no text."]


@pytest.mark.parametrize(
    ("pages", "resolved"),
    [
        (["no mark"], ["no mark"]),
        (["in\ufffenetwork care; in-network"], ["in-network care; in-network"]),
        (["im\ufffeportant", "It is important."], ["important", "It is important."]),
        (["out\ufffeof-pocket", "Out-of-pocket costs"], ["out-of-pocket", "Out-of-pocket costs"]),
        (["long\ufffeterm"], ["long-term"]),
        (["im\ufffeportant ap\ufffeplication", "important"], ["important application", "important"]),
        (["im\ufffeportant 2020\ufffe2021 Jean\ufffeLuc", "important"], ["important 2020-2021 Jean-Luc", "important"]),
        (["dangling \ufffe mark\ufffe"], ["dangling - mark-"]),
    ],
)
def test_hyphens_at_line_ends(pages: list[str], resolved: list[str]) -> None:
    assert resolve_hyphens(pages) == resolved


@pytest.mark.parametrize("name", HANDBOOKS)
def test_page_numbers_of_real_handbooks(name: str) -> None:
    path = SHARED / "northwind-pdf-pages" / "pdf" / name
    if not path.exists():
        pytest.skip(f"not present: {path.name}")
    count, beginnings = HANDBOOKS[name]
    made = pdf.read(path.read_bytes())
    assert [page.number for page in made.pages] == list(range(1, count + 1))
    for number, beginning in beginnings.items():
        assert " ".join(made.pages[number - 1].text.split()).startswith(beginning)
    assert "\ufffe" not in made.text


def test_in_network_keeps_its_hyphen_at_line_ends() -> None:
    path = SHARED / "northwind-pdf-pages" / "pdf" / "Northwind_Standard_Benefits_Details.pdf"
    if not path.exists():
        pytest.skip(f"not present: {path.name}")
    text = pdf.read(path.read_bytes()).text.casefold()
    assert "innetwork" not in text
    assert "in-network" in text
