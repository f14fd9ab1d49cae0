import pytest

from app.rag.search_words import search_form, title_form


def words(text: str) -> set[str]:
    return set(search_form(text).split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("కార్యాలయం", "కార్యాలయానికి"), ("సెలవు", "సెలవులకు"), ("ఉద్యోగి", "ఉద్యోగులకు"), ("कर्मचारी", "कर्मचारियों"),
        ("छुट्टी", "छुट्टियाँ"), ("பணியாளர்", "பணியாளர்களுக்கு"), ("কর্মচারী", "কর্মচারীদের"),
    ],
)  # fmt: skip
def test_inflected_forms_of_a_word_meet(one: str, other: str) -> None:
    assert words(one) & words(other)


def test_different_words_do_not_meet() -> None:
    assert not words("కార్యాలయం") & words("సెలవు")
    assert not words("छुट्टी") & words("वेतन")


def test_punctuation_and_joiners_are_no_part_of_a_word() -> None:
    assert words("है।") == words("है")
    assert words("क्\u200dया") == words("क्या")
    assert words("the “annual leave”—and… more") == {"the", "annual", "leave", "and", "more"}
    assert search_form("€5 ≈ 6\u2003a।b") == " 5   6 a b"
    assert words("“छुट्टी” – ‘leave’") == words("छुट्टी leave")


def test_latin_words_are_left_to_postgresql() -> None:
    assert search_form("Employees get 30 days.") == "Employees get 30 days."
    assert search_form("leave_policy") == "leave policy"
    assert title_form("Leave_policy.pdf") == "Leave policy pdf"
