"""One file a language; a new one is a file and a line in the registry."""

import re

from app.core.errors import Invalid
from app.languages.en import ENGLISH
from app.languages.hi import HINDI
from app.languages.language import Language
from app.languages.te import TELUGU

LANGUAGES: dict[str, Language] = {language.code: language for language in (ENGLISH, TELUGU, HINDI)}

_SCRIPTS = {"te": re.compile(r"[\u0c00-\u0c7f]+"), "hi": re.compile(r"[\u0900-\u097f]+")}
_NOT_LATIN = re.compile(r"[\u0900-\u097f\u0c00-\u0c7f]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]+")
_ENOUGH = 20_000
"""Code points that decide the language of a longer text."""

__all__ = ["LANGUAGES", "Language", "detect", "get_language"]


def get_language(code: str) -> Language:
    """Invalid(code="unsupported_language") when there is none."""
    language = LANGUAGES.get(code)
    if language is None:
        raise Invalid("unsupported_language", "This language is not supported.", pointer="/lang")
    return language


def detect(text: str, default: str = "en") -> str:
    """The language of the script that most letters are in; `default` when no known script occurs."""
    sample = text if text.isascii() else text[:_ENOUGH]
    if sample.isascii() or not _NOT_LATIN.search(sample):  # most texts: nothing to count
        return "en" if _LATIN.search(sample) else default
    counts = {code: sum(map(len, script.findall(sample))) for code, script in _SCRIPTS.items()}
    counts["en"] = sum(map(len, _LATIN.findall(sample)))
    best = max(counts, key=lambda code: counts[code])
    return best if counts[best] else default
