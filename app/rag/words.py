"""Words of a text in a form that can be compared: lower case, endings off, numbers without separators."""

import unicodedata
from functools import lru_cache

import regex

from app.languages import LANGUAGES

_WORD = regex.compile(r"\p{Nd}+(?:[.,]\p{Nd}+)*|[\p{L}\p{M}\p{N}\u200c\u200d]+")
_ENGLISH = (
    "ations",
    "ation",
    "ments",
    "ment",
    "ings",
    "ing",
    "edly",
    "ies",
    "ied",
    "ers",
    "ely",
    "ed",
    "er",
    "ly",
    "es",
)
_HINDI = ("ियों", "ाओं", "ुओं", "ियाँ", "ियां", "ाएँ", "ाएं", "ों", "ें", "ीं", "ाँ", "ां", "े", "ी", "ि", "ा", "ो")
_TELUGU = "లలోని లలోకి లలో లకు లను లతో లపై లోని లోకి లో కోసం నుండి నుంచి తో పై కు కి ను ని లు ల"
_ENDINGS = {"hi": _HINDI, "te": tuple(_TELUGU.split())}
_SHORTEST = {"hi": 3, "te": 4}
"""Code points that must remain."""


def terms(text: str, lang: str) -> list[str]:
    """Every word in order, stemmed; numbers as digits: 1,000.50 is 1000.50."""
    return [_term(word, lang) for word in _WORD.findall(_fold(text))]


def content_terms(text: str, lang: str) -> list[str]:
    """Without stop words."""
    stop = _stop_words(lang)
    return [_term(word, lang) for word in _WORD.findall(_fold(text)) if word not in stop]


@lru_cache(maxsize=16)
def _stop_words(lang: str) -> frozenset[str]:
    """The language's own and the English ones, which turn up in texts of any language."""
    known = [LANGUAGES[code] for code in {lang, "en"} if code in LANGUAGES]
    return frozenset(_fold(word) for language in known for word in language.stop_words)


def numbers(text: str) -> set[str]:
    """What is written in digits."""
    return {_term(word, "") for word in _WORD.findall(_fold(text)) if word[0].isdecimal()}


def _fold(text: str) -> str:
    """Apostrophes and the possessive go: employee's and employees are one word."""
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text).replace("’", "'")
    return folded.lower().replace("'s", "").replace("'", "")


@lru_cache(maxsize=50_000)
def _term(word: str, lang: str) -> str:
    if word[0].isdecimal():
        return _number(word)
    return _stem_english(word) if word.isascii() else stem(word, lang)


def stem(word: str, lang: str) -> str:
    """Without one ending of the language, where enough of the word remains; Hindi and Telugu."""
    for ending in _ENDINGS.get(lang, ()):
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST[lang]:
            return word[: -len(ending)]
    return word


def _number(word: str) -> str:
    """Indic digits become ASCII; a comma groups thousands, a zero fraction says nothing."""
    digits = "".join(str(unicodedata.decimal(char, 0)) if char.isdecimal() else char for char in word)
    whole, _, fraction = digits.replace(",", "").partition(".")
    return f"{whole}.{fraction}" if fraction.strip("0") else whole


def _stem_english(word: str) -> str:
    """Light: endings of inflection and the most frequent ones of derivation (after Porter 1980, one step)."""
    if len(word) <= 3:
        return word
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-3] + "y" if word.endswith("ies") and len(word) > 4 else word[:-1]
    for ending in _ENGLISH:
        if word.endswith(ending) and len(word) - len(ending) >= 4 - (ending in ("ed", "ing")):
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word.rstrip("ey") if len(word) > 3 and len(word.rstrip("ey")) >= 3 else word
