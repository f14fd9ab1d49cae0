"""What opens something: keys of services, tokens, private keys. The worst that a model can be sent."""

import re
from collections.abc import Iterable, Iterator

from app.privacy.entity import Entity, Span, as_written
from app.privacy.folding import Folded
from app.privacy.labels import kinds, last_word

_B64 = "[0-9A-Za-z_-]"
_ALNUM = "[0-9A-Za-z]"
_KEYS = (
    ("sk-", f"{_B64}{{20,256}}+"),
    ("ghp_", f"{_ALNUM}{{36,255}}+"),
    ("gho_", f"{_ALNUM}{{36,255}}+"),
    ("ghu_", f"{_ALNUM}{{36,255}}+"),
    ("ghs_", f"{_ALNUM}{{36,255}}+"),
    ("ghr_", f"{_ALNUM}{{36,255}}+"),
    ("github_pat_", "[0-9A-Za-z_]{22,255}+"),
    ("glpat-", f"{_B64}{{20,64}}+"),
    ("xox", "[abeoprs]-[0-9A-Za-z-]{10,250}+"),
    ("AIza", f"{_B64}{{35}}"),
    ("sk_live_", f"{_ALNUM}{{16,128}}+"),
    ("sk_test_", f"{_ALNUM}{{16,128}}+"),
    ("rk_live_", f"{_ALNUM}{{16,128}}+"),
    ("rzp_live_", f"{_ALNUM}{{14}}"),
    ("rzp_test_", f"{_ALNUM}{{14}}"),
    ("hf_", f"{_ALNUM}{{30,64}}+"),
    ("npm_", f"{_ALNUM}{{36}}"),
    ("pypi-", f"{_B64}{{50,256}}+"),
    ("SG.", rf"{_B64}{{22}}\.{_B64}{{43}}"),
    ("rgc_", f"{_B64}{{43}}"),
    ("rgr_", f"{_B64}{{43}}"),
)
_AWS_KEYS = tuple(
    (mark, "[A-Z2-7]{16}(?![0-9A-Za-z])")
    for mark in ("AKIA", "ASIA", "AGPA", "AIDA", "AROA", "AIPA", "ANPA", "ANVA", "ABIA", "ACCA")
)
_TOKENS = (("eyJ", rf"{_B64}{{5,8192}}+\.{_B64}{{4,16384}}+\.{_B64}{{0,2048}}+"),)
_PRIVATE = (
    (
        "-----BEGIN",
        r"(?:\s[A-Z0-9]{1,12}){0,3}\sPRIVATE\sKEY-----(?:[0-9A-Za-z+/=\s\\,:]|-(?!-))*+"
        r"(?:-----END(?:\s[A-Z0-9]{1,12}){0,3}\sPRIVATE\sKEY-----)?",
    ),
)
_VALUE = r"[ ]?[\"'`]?(?:(?:Bearer|Basic)[ ])?([0-9A-Za-z_\-/+.~=!@#$%^&*]{8,512}+)"
_NAMED = tuple(re.compile(mark + _VALUE) for mark in ("=", ":"))
_SAID = re.compile(
    r"(?<![0-9A-Za-z])(?:passw(?:or)?d|passcode|pwd) (?:is |was )?[\"'`]?"
    r"([0-9A-Za-z_\-/+.~=!@#$%^&*]{7,127}[0-9A-Za-z_\-/+~=!@#$%^&*])",
    re.IGNORECASE,
)
"""In a sentence, as people write it."""
_SAID_WORDS = ("assw", "ASSW", "asscode", "ASSCODE", "wd ", "WD ")
_BEARER = ("earer ", re.compile(r"earer ([0-9A-Za-z_\-/+.~=]{16,4096}+)"))
_PASSWORDS = ("passw", "pwd", "పాస్వ", "पासव")
_LEAST = 16
"""Characters of what is called a key or a token; a password may have eight."""

Marked = tuple[tuple[str, re.Pattern[str]], ...]


def _marked(forms: Iterable[tuple[str, str]]) -> Marked:
    """Each begins with words of its own, which tell at once whether it can be there at all."""
    return tuple(
        (mark, re.compile(f"{re.escape(mark)}(?<![0-9A-Za-z_]{re.escape(mark)}){rest}")) for mark, rest in forms
    )


def _forms(forms: Marked, folded: Folded) -> Iterator[Span]:
    for mark, pattern in forms:
        if mark in folded.text:
            yield from (match.span() for match in pattern.finditer(folded.text))


def _named(folded: Folded) -> Iterator[Span]:
    """api_key = ..., "password": "...", Authorization: Bearer ...: a letter and a digit at least."""
    text = folded.text
    for pattern in _NAMED:
        for match in pattern.finditer(text):
            name = last_word(text, match.start())
            long_enough = name.startswith(_PASSWORDS) or len(match.group(1)) >= _LEAST
            if long_enough and "secret" in kinds(name) and _mixed(match.group(1)):
                yield match.span(1)
    if any(word in text for word in _SAID_WORDS):
        yield from (match.span(1) for match in _SAID.finditer(text) if _mixed(match.group(1)))
    mark, bearer = _BEARER
    if mark in text:
        yield from (match.span(1) for match in bearer.finditer(text) if _mixed(match.group(1)))


def _mixed(value: str) -> bool:
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


_API = _marked(_KEYS)
_AWS = _marked(_AWS_KEYS)
_JWT = _marked(_TOKENS)
_PEM = _marked(_PRIVATE)


def _api_key(folded: Folded) -> Iterator[Span]:
    yield from _forms(_API, folded)
    yield from _named(folded)


API_KEY = Entity("API_KEY", _api_key, canonical=as_written)
AWS_KEY = Entity("AWS_KEY", lambda folded: _forms(_AWS, folded), canonical=as_written)
JWT = Entity("JWT", lambda folded: _forms(_JWT, folded), canonical=as_written)
PRIVATE_KEY = Entity("PRIVATE_KEY", lambda folded: _forms(_PEM, folded), canonical=as_written)
