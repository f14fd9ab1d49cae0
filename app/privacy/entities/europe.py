"""European numbers: VAT, and those of people in Germany, France, Spain and Italy."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from app.privacy import checksums
from app.privacy.characters import GAP
from app.privacy.entity import Entity, Span, code
from app.privacy.folding import Folded
from app.privacy.labels import labelled
from app.privacy.numbers import Number, Rule, number

_GAPS = re.compile(f"[{GAP}.]")
_VAT_FORMS = {
    "AT": "U\\d{8}", "BE": "[01]\\d{9}", "BG": "\\d{9,10}", "CY": "\\d{8}[A-Z]", "CZ": "\\d{8,10}", "DE": "\\d{9}",
    "DK": "\\d{8}", "EE": "\\d{9}", "EL": "\\d{9}", "ES": "[A-Z0-9]\\d{7}[A-Z0-9]", "FI": "\\d{8}",
    "FR": "[A-HJ-NP-Z0-9]{2}\\d{9}", "HR": "\\d{11}", "HU": "\\d{8}", "IE": "\\d[A-Z0-9+*]\\d{5}[A-Z]{1,2}",
    "IT": "\\d{11}",
    "LT": "\\d{9}(?:\\d{3})?", "LU": "\\d{8}", "LV": "\\d{11}", "MT": "\\d{8}", "NL": "\\d{9}B\\d{2}", "PL": "\\d{10}",
    "PT": "\\d{9}", "RO": "\\d{2,10}", "SE": "\\d{12}", "SI": "\\d{8}", "SK": "\\d{10}", "XI": "\\d{9}(?:\\d{3})?",
}  # fmt: skip
_VAT = re.compile(
    f"(?:{'|'.join(_VAT_FORMS)})(?<![0-9A-Za-z]..)(?:[{GAP}.]{{0,2}}[A-Z]{{0,2}}[0-9]){{2,12}}[A-Z]{{0,2}}(?![0-9A-Za-z])",
    re.DOTALL,
)
_NIR = code("S", "DD", "DD", "CT", "DDD", "DDD", "DD", S="[12]", C="2", T="[AB]")
_NIF = code("DDDDDDDD", "A")
_NIE = code("X", "DDDDDDD", "A", X="[XYZ]")
_CODICE = code("AAA", "AAA", "NNANN", "ANNNA")
_OMOCODIA = "LMNPQRSTUV"
"""Letters for 0 to 9 where two people would have the same code."""
_O = f"[0-9{_OMOCODIA}]"
_CODICE_FORM = re.compile(f"[A-Z]{{6}}{_O}{{2}}[ABCDEHLMPRST]{_O}{{2}}[A-Z]{_O}{{3}}[A-Z]")


def _fr(body: str) -> bool:
    if not (body[:2].isdigit() and checksums.luhn(body[2:])):
        return False
    return (12 + 3 * (int(body[2:]) % 97)) % 97 == int(body[:2])


def _at(body: str) -> bool:
    digits = body[1:]
    total = sum(sum(divmod(int(digit) * (1 + place % 2), 10)) for place, digit in enumerate(digits[:7]))
    return (96 - total) % 10 == int(digits[7])


_VAT_CHECKS: dict[str, Callable[[str], bool]] = {
    "AT": _at,
    "BE": lambda body: 97 - int(body[:8]) % 97 == int(body[8:]),
    "DE": checksums.mod_11_10,
    "FR": _fr,
    "IT": checksums.luhn,
}
"""Those of other countries need a label."""


def _vat(folded: Folded) -> Iterator[Span]:
    for match in folded.codes(_VAT):
        value = _GAPS.sub("", match.group())
        country, body = value[:2], value[2:]
        if re.fullmatch(_VAT_FORMS[country], body) is None:
            continue
        check = _VAT_CHECKS.get(country)
        if (check is not None and check(body)) or labelled(folded.text, *match.span(), "vat"):
            yield match.span()


def _steuer_id(candidate: Number) -> bool:
    """Of the first ten digits exactly one stands there twice or three times."""
    digits = candidate.digits
    counts = sorted(Counter(digits[:10]).values(), reverse=True)
    return digits[0] != "0" and counts[0] in (2, 3) and counts[1] == 1 and checksums.mod_11_10(digits)


def _nir_number(candidate: Number) -> bool:
    return _nir_form(candidate.digits) and checksums.nir(candidate.digits)


def _nir_form(value: str) -> bool:
    """Sex, year, month; 20 to 42 and from 50 on stand for an unknown one."""
    month = int(value[3:5])
    return value[0] in "12" and (1 <= month <= 12 or 20 <= month <= 42 or month >= 50)


def _checked(pattern: re.Pattern[str], check: Callable[[str], bool]) -> Callable[[Folded], Iterator[Span]]:
    def find(folded: Folded) -> Iterator[Span]:
        for match in folded.codes(pattern):
            if check(_GAPS.sub("", match.group())):
                yield match.span()

    return find


def _nif(folded: Folded) -> Iterator[Span]:
    yield from _checked(_NIF, checksums.nif)(folded)
    yield from _checked(_NIE, checksums.nif)(folded)


def _codice(value: str) -> bool:
    return _CODICE_FORM.fullmatch(value) is not None and checksums.codice_fiscale(value)


VAT = Entity("VAT", _vat)
STEUER_ID = number("STEUER_ID", Rule(frozenset({(11,), (2, 3, 3, 3)}), _steuer_id))
NIR = number("NIR", Rule(frozenset({(15,), (13, 2), (1, 2, 2, 2, 3, 3, 2)}), _nir_number))
NIR_CORSICA = Entity("NIR", _checked(_NIR, lambda value: _nir_form(value) and checksums.nir(value)))
NIF = Entity("NIF", _nif)
CODICE_FISCALE = Entity("CODICE_FISCALE", _checked(_CODICE, _codice))
