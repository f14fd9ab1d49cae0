"""Twice the text is twice the work, however it was made to hurt."""

import sys
import time
from collections.abc import Callable
from functools import partial

import pytest

from app.privacy import MaskingMap, Restorer, mask

SIZE = 100_000
LONGEST_SECONDS = 4.0
"""Twenty times the target, for machines that are busy; what is not linear takes minutes."""
HOSTILE = {
    "a!": "a" * (SIZE - 1) + "!",
    "digits": "5" * SIZE,
    "@": "@" * SIZE,
    "1-": "1-" * (SIZE // 2),
    "12 ": "12 " * (SIZE // 3),
    "1 line ends": "1\n" * (SIZE // 2),
    "1 no-break": "1\u00a0" * (SIZE // 2),
    "1 zero width": "1\u200b" * (SIZE // 2),
    "a@a.": "a@a." * (SIZE // 4),
    "x(at)y.": "x (at) y." * (SIZE // 9),
    "name!": ("a" * 250 + "!aa@ok ") * (SIZE // 257),
    "1.": "1." * (SIZE // 2),
    ":": ":" * SIZE,
    "11/": "11/" * (SIZE // 3),
    "98480_": "98480_" * (SIZE // 6),
    "password is ": "password is " * (SIZE // 12),
    "ph98": "ph98" * (SIZE // 4),
    "1:": "1:" * (SIZE // 2),
    "A1": "A1" * (SIZE // 2),
    "A 1": "A 1 " * (SIZE // 4),
    "eyJ": "eyJ" * (SIZE // 3),
    "eyJa.": "eyJabcdef." * (SIZE // 10),
    "private keys": "-----BEGIN PRIVATE KEY-----" * (SIZE // 27),
    "key=": "key=" * (SIZE // 4),
    "%20": "%20" * (SIZE // 3),
    "<": "<" * SIZE,
    "<PHONE_": "<PHONE_" * (SIZE // 7),
    "IBAN": "DE89 3704 0044 0532 0130 01 " * (SIZE // 28),
    "Aadhaar": "2345 6789 0124 " * (SIZE // 15),
    "labels": "account 123456789, " * (SIZE // 19),
}


def calls(work: Callable[[], object]) -> int:
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", HOSTILE)
def test_work_grows_like_the_text(name):
    text = HOSTILE[name][: SIZE // 5]
    half = calls(partial(mask, text[: len(text) // 2], MaskingMap()))
    whole = calls(partial(mask, text, MaskingMap()))
    assert whole < 2.2 * half + 2000


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_takes_long(name):
    began = time.process_time()
    mask(HOSTILE[name], MaskingMap())
    assert time.process_time() - began < LONGEST_SECONDS


def test_a_stream_of_single_characters():
    known = MaskingMap()
    restorer = Restorer(known)
    began = time.process_time()
    for char in "<" * 20_000 + "<PHONE_1" * 5_000:
        restorer.feed(char)
    assert time.process_time() - began < LONGEST_SECONDS
