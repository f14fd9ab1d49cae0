"""Spellings that people use and no form foresees; and what looks alike and is none."""

import pytest

from app.privacy import MaskingMap, find, mask

FOUND = [
    ("PHONE", "", "98480.22347"),
    ("PHONE", "", "98480/22351"),
    ("PHONE", "", "98480_22352"),
    ("PHONE", "", "98480 223 44"),
    ("PHONE", "", "98-48-02-23-38"),
    ("PHONE", "", "98480\u30fb22338"),
    ("PHONE", "phone ", "98480\t22338"),
    ("PHONE", "phone ", "9848/02/2338"),
    ("PHONE", "ph", "9848022338"),
    ("AADHAAR", "", "2345_6789_0124"),
    ("AADHAAR", "", "2345/6789/0124"),
    ("AADHAAR", "Aadhaar ", "2345.6789.0125"),
    ("AADHAAR", "Aadhaar ", "2345 6789 01 24"),
    ("CARD", "", "4111.1111.1111.1111"),
    ("CARD", "", "4111/1111/1111/1111"),
    ("CARD", "", "4111 11 1111 1111 11"),
    ("IBAN", "", "de89 3704 0044 0532 0130 00"),
    ("IBAN", "iban ", "gb82 west 12345698765432"),
    ("IFSC", "ifsc ", "hdfc0001234"),
    ("API_KEY", "", "rgr_" + "aB3-" * 10 + "_x9"),
    ("API_KEY", "my password is ", "hunter2abc"),
    ("API_KEY", "passwd ", "hunter22"),
]
INTACT = [
    "98480\t22338", "amount 98480.22347", "9848.022338", "12345.67890", "path /98480/22351/x", "img_98480_22352",
    "61 72 83 94 55", "2345_6789_0125", "2345 6789 01 24", "4111.1111.1111.1112", "4 1 1 1 1111 1111 1111",
    "4111 11 1111 1111 12", "2024/11/26 10:30", "password is required", "password is something", "passwords2024 kept",
    "de89 3704 0044 0532 0130 01", "rgr_short", "max9848022338",
]  # fmt: skip


@pytest.mark.parametrize(("name", "before", "value"), FOUND, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize("sentence", ["{}", "Please note {}, and the rest.", "({})", "గమనించండి: {}."])
def test_is_found_whole(sentence: str, name: str, before: str, value: str) -> None:
    text = sentence.format(before + value)
    assert [(found.name, text[found.start : found.end]) for found in find(text)] == [(name, value)]


@pytest.mark.parametrize("text", INTACT)
def test_is_left_alone(text: str) -> None:
    assert find(text) == []


def test_an_extension_stays() -> None:
    assert mask("+919848022338ext5", MaskingMap()) == "<PHONE_1>ext5"


def test_another_spelling_is_the_same_value() -> None:
    spelled = "2345_6789_0124, 2345 6789 0124, 2345/6789/0124"
    assert mask(spelled, MaskingMap()) == "<AADHAAR_1>, <AADHAAR_1_2>, <AADHAAR_1_3>"
