"""Numbers of a spreadsheet as people see them: `0.35` under the format `0%` is `35%` (ISO 29500-1, 18.8.30 and 31).

Dates and times are ISO 8601 whatever the format, as far as it shows them. Formats with conditions, fractions and the
like are read as the format General, which shows up to 15 digits.
"""

import datetime
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

GENERAL = "General"
BUILT_IN = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 14: "yyyy-mm-dd",
    15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss",
    22: "m/d/yy h:mm", 37: "#,##0;(#,##0)", 38: "#,##0;(#,##0)", 39: "#,##0.00;(#,##0.00)", 40: "#,##0.00;(#,##0.00)",
    45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0",
    **dict.fromkeys((*range(27, 32), 36, *range(50, 55), 57, 58), "yyyy-mm-dd"),
    **dict.fromkeys((*range(32, 36), 55, 56), "h:mm:ss"),
}  # fmt: skip
"""By number; those that are not written into the file."""
_TOKEN = re.compile(
    r"""
    "(?P<quoted>[^"]*)" | \\(?P<escaped>.) | \[(?P<bracket>[^\]]*)\] | (?P<filler>[_*].) | (?P<general>General)
    | (?P<date>AM/PM|A/P|[ymdhs]+) | (?P<digits>[0#?][0#?,]*(?:\.[0#?]*)?,*|\.[0#?]+) | (?P<exponent>E[+-][0#?]+)
    | (?P<literal>.)
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_CONDITION = ("<", ">", "=")
_FIRST_TRUE_DAY = 61  # Excel believes that there was a 29 February 1900
_DAYS = 2958466
"""Up to the end of the year 9999."""
_DAYS_TO_1904 = 1462
_DAY_SECONDS = 86400
_MOST_DECIMALS = 15
_MOST_DIGITS = 21
_LEAST_PLAIN = 1e-10
_PRECISE = Context(prec=_MOST_DIGITS + _MOST_DECIMALS + 1)


@dataclass(slots=True)
class _Section:
    """What stands between two semicolons."""

    before: str = ""
    after: str = ""
    digits: str = ""
    exponent: bool = False
    dates: str = ""
    """Letters of a date or time."""
    is_elapsed: bool = False
    is_general: bool = False

    def write(self, text: str) -> None:
        if self.digits or self.is_general:
            self.after += text
        else:
            self.before += text


def shown(value: float, code: str, *, since_1904: bool = False) -> str:
    """Empty where the format hides the number."""
    sections = _sections(code)
    section = sections[0]
    if value < 0 and len(sections) > 1:
        section = sections[1]
    elif value == 0 and len(sections) > 2:
        section = sections[2]
    if sections[0].dates:
        return _moment(value, sections[0], since_1904=since_1904) or general(value)
    number = general(abs(value)) if section.is_general else _digits(abs(value), section)
    text = f"{section.before}{number}{section.after}".strip()
    # A negative number may be told by its colour only.
    is_bare = value < 0 and number.strip("0., ") and "-" not in text and "(" not in text
    return f"-{text}" if is_bare else text


def general(value: float) -> str:
    if value == 0:
        return "0"
    text = f"{value:.15g}"
    if "e" in text and _LEAST_PLAIN <= abs(value) < 10**_MOST_DIGITS:
        return f"{Decimal(text):f}"
    return text


@lru_cache(maxsize=1000)
def _sections(code: str) -> list[_Section]:
    """At least one; a single general one for a code that has conditions or fractions."""
    sections = [_Section(is_general=not code)]
    for token in _TOKEN.finditer(code):
        if token["literal"] == ";":
            sections.append(_Section())
        elif not _take(sections[-1], token):
            return [_Section(is_general=True)]
    return sections


def _take(section: _Section, token: re.Match[str]) -> bool:
    """False for what is not understood."""
    kind, text = token.lastgroup, token[token.lastgroup or 0]
    if kind == "bracket":
        return _take_bracket(section, text)
    if kind == "digits":
        if section.digits:
            return False
        section.digits = text
    elif kind == "date":
        section.dates += text.lower() if "/" not in text else "h"
    elif kind == "general":
        section.is_general = True
    elif kind == "exponent":
        section.exponent = True
    elif text == "@":
        section.is_general = True
    elif text == "/" and kind == "literal" and not section.dates:
        return False
    elif kind != "filler":
        section.write(text)
    return True


def _take_bracket(section: _Section, text: str) -> bool:
    """A currency, a colour, hours beyond 24, or a condition, which is not understood."""
    if text.startswith("$"):
        section.write(text[1:].partition("-")[0])
    elif text and set(text.lower()) <= set("hms"):
        section.dates += text.lower()
        section.is_elapsed = True
    return not text.startswith(_CONDITION)


def _digits(value: float, section: _Section) -> str:
    """Of a number that is not negative, without what stands around it."""
    whole, _, fraction = section.digits.rstrip(",").partition(".")
    if not section.digits:
        return ""
    most = min(len(fraction), _MOST_DECIMALS)
    if section.exponent:
        return f"{value:.{most}E}"
    thousands = len(section.digits) - len(section.digits.rstrip(","))
    percents = (section.before + section.after).count("%")
    number = Decimal(f"{value:.15g}").scaleb(2 * percents - 3 * thousands)
    if number.adjusted() >= _MOST_DIGITS:
        return general(value)
    number = number.quantize(Decimal(1).scaleb(-most), ROUND_HALF_UP, _PRECISE)
    if not number and "0" not in section.digits:
        return ""
    text = f"{number:,f}" if "," in whole else f"{number:f}"
    left, _, right = text.partition(".")
    right = right[: fraction.count("0")] + right[fraction.count("0") :].rstrip("0")
    return left.zfill(min(whole.count("0"), _MOST_DIGITS)) + (f".{right}" if right else "")


def _moment(value: float, section: _Section, *, since_1904: bool) -> str | None:
    """None outside the calendar."""
    if abs(value) >= _DAYS:
        return None
    letters = set(section.dates)
    has_time = bool(letters & set("hs"))
    has_date = bool(letters & set("yd")) or not has_time
    since = _DAYS_TO_1904 * _DAY_SECONDS if since_1904 else 0
    day, seconds = divmod(round(value * _DAY_SECONDS) + since, _DAY_SECONDS)
    if not 0 <= day < _DAYS:
        return None
    if section.is_elapsed or (value < 1 and has_time):
        return _clock(round(value * _DAY_SECONDS))
    if not day:
        return None
    date = datetime.date(1899, 12, 30 if day >= _FIRST_TRUE_DAY else 31) + datetime.timedelta(days=day)
    shown_date = date.isoformat()[: 10 if "d" in letters else 7 if "m" in letters else 4]
    return " ".join([shown_date] * has_date + [_clock(seconds)] * has_time)


def _clock(seconds: int) -> str:
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}"
    return f"{text}:{seconds % 60:02d}" if seconds % 60 else text
