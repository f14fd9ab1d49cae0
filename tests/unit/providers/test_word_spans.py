"""Spans by remembered words are those of the tokenizer over the whole text."""

import random

import pytest

from app.providers.embedding import tokens
from app.providers.embedding.tokens import WordSpans, spans, uncut
from app.providers.embedding.weights import model_folder

ALPHABET = (
    " \t\n\r\x0b\x0c\x1c\x1d\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff\u00ad\x00\x01"
    "aAbÀé漢字నమస్తే-.,'0ßıİ\u0301\u0300\ud800\U0001f600[]#"
)


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return uncut((model_folder() / "tokenizer.json").read_text(encoding="utf-8"))


def test_for_any_mixture_of_characters(tokenizer: object) -> None:
    remembered = WordSpans(tokenizer)
    drawn = random.Random(1)
    for _ in range(5000):
        text = "".join(drawn.choice(ALPHABET) for _ in range(drawn.randrange(30)))
        assert remembered(text) == [*spans(tokenizer, text)], text


def test_memory_is_bounded(tokenizer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_WORDS", 100)
    remembered = WordSpans(tokenizer)
    for first in range(0, 1000, 30):
        text = " ".join([*(f"word{n}" for n in range(first, first + 30)), "x" * 5000])
        assert remembered(text) == [*spans(tokenizer, text)]
        assert len(remembered._known) <= 100
        assert max(map(len, remembered._known)) <= tokens.LONGEST_WORD
