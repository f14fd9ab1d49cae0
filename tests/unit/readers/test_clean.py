import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.readers.clean import clean, cleaned_document
from app.readers.document import PAGE_BREAK, Page
from app.readers.errors import UnreadableDocument


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc\x0bd\x0ce", "a\nb\nc\nd\ne"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("nul\0\x01\x1b[31mred", "nul[31mred"),
        ("lone\ud800surrogate\udfff", "lonesurrogate"),
        ("hidden\U000e0049\U000e0047order", "hiddenorder"),
        ("bidi\u202etxt\u2066\u200f", "biditxt"),
        ("\ufeffzero\u200bwidth\u2060", "zerowidth"),
        ("క్\u200cష క్\u200dష", "క్\u200cష క్\u200dష"),
        ("soft\u00adhyphen\u00a0nbsp 😀 ﬁ e\u0301", "soft\u00adhyphen\u00a0nbsp 😀 ﬁ e\u0301"),
    ],
)
def test_what_goes_and_what_stays(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_cleaned_text_can_be_stored_and_holds_no_page_break(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert "\0" not in cleaned
    assert PAGE_BREAK not in cleaned
    assert clean(cleaned) == cleaned


def test_titles_are_one_short_line() -> None:
    made = cleaned_document("txt", [Page(1, "x")], title=" a\n\x00b " + "c" * 1000)
    assert made.title is not None
    assert made.title.startswith("a b ccc")
    assert len(made.title) == 300
    assert cleaned_document("txt", [Page(1, "x")], title=" \n ").title is None


@pytest.mark.parametrize("text", ["", " \n\t\r\n", "\u200b\0", "\u00a0\u3000"])
def test_white_space_alone_is_no_text(text: str) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        cleaned_document("txt", [Page(None, text)])
    assert caught.value.code == "no_text"
