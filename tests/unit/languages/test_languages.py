import pytest

from app.core.errors import Invalid
from app.languages import LANGUAGES, detect, get_language


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_every_language_speaks_its_own_script(code):
    language = get_language(code)
    assert language.code == code
    for sentence in (language.welcome, language.no_answer, language.plain_no_model, *language.stop_words):
        assert detect(sentence, default="none") == code, sentence


def test_text_search_configurations_are_those_of_postgresql():
    assert {code: language.text_search for code, language in LANGUAGES.items()} == {
        "en": "english",
        "te": "english",
        "hi": "english",
    }


@pytest.mark.parametrize("code", ["xx", "", "en_US", "te; DROP TABLE chunks", "EN"])
def test_an_unknown_language_is_an_error_with_a_stable_code(code):
    with pytest.raises(Invalid) as caught:
        get_language(code)
    assert caught.value.code == "unsupported_language"
    assert not code or code not in caught.value.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How many days of leave do I have?", "en"),
        ("నాకు ఎన్ని రోజుల సెలవు ఉంది?", "te"),
        ("मुझे कितने दिन की छुट्टी मिलती है?", "hi"),
        ("PF గురించి చెప్పండి", "te"),
        ("HR policy में छुट्टियाँ कितनी हैं और वे कैसे मिलती हैं", "hi"),
        ("café naïve", "en"),
        ("“Café” – 5 €", "en"),
        ("“5 €” म", "hi"),
        ("1" * 30_000 + " one", "en"),
    ],
)
def test_detect_goes_by_the_script_of_most_letters(text, expected):
    assert detect(text, default="none") == expected


@pytest.mark.parametrize("text", ["", "12345 !?", "“5 €” – 6", "你好", "👍🏽", "مرحبا"])
def test_detect_falls_back_where_no_known_script_is_seen(text):
    assert detect(text, default="none") == "none"
