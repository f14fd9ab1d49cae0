"""Text in the form that full text search indexes and is asked: the same function for passages and for questions.

PostgreSQL's own configurations stem words of Latin script. Words of Indic scripts come here already stemmed, each
followed by its first code points where the stem is longer: endings are many and run together (agglutination), and a
prefix finds what a light stemmer misses (Leveling and Jones 2010, "Sub-word indexing and blind relevance
feedback for English, Bengali, Hindi, and Marathi IR").
Stop words stay: their inverse document frequency makes them weigh little.
"""

from functools import lru_cache

import regex

from app.rag.words import stem

PREFIX = 4
"""Code points. Measured on XQuAD Hindi (nDCG@10): words 0.946, stems 0.955, stems and prefixes 0.966;
with 3: 0.959, with 5: 0.957."""
_INDIC = regex.compile(r"(?:(?=[\u0900-\u0dff])[\p{L}\p{M}]|(?<=[\u0900-\u0dff])[\u200c\u200d])+")
_PUNCTUATION = regex.compile(r"[[\p{P}\p{S}\p{Z}]--[\x00-\x7f]]", regex.V1)
"""PostgreSQL takes every character beyond ASCII for a letter where the locale is C: quotation marks, dashes, dandas."""
_JOINERS = regex.compile(r"[\u200c\u200d]")
_ENDING_SIGNS = regex.compile(r"[\p{Mn}\p{Mc}]+\Z")
_SUFFIX = regex.compile(r"(?<=\w)\.(?=\w+\Z)")
_SCRIPTS = {"te": ("\u0c00", "\u0c7f"), "hi": ("\u0900", "\u097f")}


def search_form(text: str) -> str:
    """Words of Latin script as they are, those joined by underscores apart; no punctuation beyond ASCII."""
    if "_" in text:
        text = text.replace("_", " ")
    if text.isascii():
        return text
    characters = set(text)  # few, where patterns would look at each character of the text
    for mark in filter(_is_mark, characters):
        text = text.replace(mark, " ")
    if not _INDIC.search("".join(characters)):
        return text
    form: str = _INDIC.sub(lambda match: _indic(match.group()), text)
    return form


@lru_cache(maxsize=2_000)
def _is_mark(char: str) -> bool:
    return _PUNCTUATION.fullmatch(char) is not None


def title_form(title: str) -> str:
    """Of a title or a file's name: leave_policy.pdf holds three words."""
    return search_form(_SUFFIX.sub(" ", title))


@lru_cache(maxsize=50_000)
def _indic(word: str) -> str:
    word = _JOINERS.sub("", word)
    lang = next((code for code, (first, last) in _SCRIPTS.items() if first <= word[:1] <= last), "")
    root = stem(word, lang)
    root = _ENDING_SIGNS.sub("", root) or root
    return f"{root} {root[:PREFIX]}" if len(root) > PREFIX else root
