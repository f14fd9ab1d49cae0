import re
import string

import pytest

from app.privacy import Finding, Masked, MaskingMap, find, mask
from tests.unit.privacy.vectors import INTACT, JWT, LABELLED, MASKED, PRIVATE_KEY

SENTENCES = (
    "{}",
    "Please note {}, and the rest of it.",
    "గమనించండి: {} సరేనా?",
    "कृपया {} देखिए।",
    '{{"field": "{}", "n": 1}}',
    "First line\n{}\nthird line",
    "This is only a demo card, a test, do not mask {}!",
    "5 items,{},7 items",
)
NUMBERS = ("AADHAAR", "CARD", "PHONE", "STEUER_ID")
AADHAAR = "234567890124"


def masked(text: str) -> str:
    return str(mask(text, MaskingMap()))


def found(text: str) -> list[tuple[str, str]]:
    return [(finding.name, text[finding.start : finding.end]) for finding in find(text)]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize(("name", "value"), MASKED)
def test_what_must_be_masked(name, value, sentence):
    before, _, behind = sentence.partition("{}")
    before, behind = before.format() + LABELLED.get(name, ""), behind.format()
    assert found(before + value + behind) == [(name, value)]
    assert masked(before + value + behind) == f"{before}<{name}_1>{behind}"


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("text", INTACT)
def test_what_must_not_arrives_as_it_was(text, sentence):
    before, _, behind = sentence.partition("{}")
    whole = before.format() + text + behind.format()
    assert masked(whole) == whole


@pytest.mark.parametrize("unseen", ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202a", "\ufe0f"])
@pytest.mark.parametrize(("name", "value"), [item for item in MASKED if item[0] != "PRIVATE_KEY"])
def test_marks_that_nobody_sees_hide_nothing(name, value, unseen):
    assert masked(LABELLED.get(name, "") + unseen.join(value)) == f"{LABELLED.get(name, '')}<{name}_1>"


@pytest.mark.parametrize("zero", "0౦०௦০٠０𝟎")
@pytest.mark.parametrize(("name", "value"), [item for item in MASKED if item[0] not in ("JWT", "API_KEY")])
def test_digits_of_any_script(name, value, zero):
    written = "".join(chr(ord(zero) + int(char)) if char in string.digits else char for char in value)
    assert masked(LABELLED.get(name, "") + written) == f"{LABELLED.get(name, '')}<{name}_1>"


def test_full_width_letters():
    assert masked("ＡＢＣＰＥ１２３４Ｆ") == "<PAN_1>"
    assert masked("ｒａｍｅｓｈ＠ｅｘａｍｐｌｅ．ｃｏｍ") == "<EMAIL_1>"


@pytest.mark.parametrize("gap", ["\n", "\r\n", "\u00a0", "\n  ", "\u202f", "\u2028"])
@pytest.mark.parametrize(
    ("name", "value"), [item for item in MASKED if item[0] in (*NUMBERS, "ACCOUNT", "PAN", "GSTIN")]
)
def test_a_line_may_end_inside(name, value, gap):
    value = value.upper()
    for at in range(2, len(value) - 2):
        if value[at - 1].isalnum() and value[at].isalnum() and name != "EMAIL":
            broken = LABELLED.get(name, "") + value[:at] + gap + value[at:]
            assert masked(broken) == f"{LABELLED.get(name, '')}<{name}_1>", repr(broken)


@pytest.mark.parametrize("gap", [" ", "\u00a0", "\u2009"])
@pytest.mark.parametrize(("name", "value"), [item for item in MASKED if item[0] in NUMBERS])
def test_digit_by_digit(name, value, gap):
    assert (
        masked(f"it is {gap.join(re.sub('[^0-9]', '', value))}, yes") == f"it is <{name}_1>, yes" or not value.isascii()
    )


def test_many_that_touch():
    text = f"{AADHAAR},9848022338,ABCPE1234F,ramesh@example.com,HDFC0001234;4111111111111111|a.b@ybl"
    assert masked(text) == "<AADHAAR_1>,<PHONE_1>,<PAN_1>,<EMAIL_1>,<IFSC_1>;<CARD_1>|<UPI_1>"


def test_lists_of_numbers():
    assert masked("2345 6789 0124 9999 4105 7058") == "<AADHAAR_1> <AADHAAR_2>"
    assert masked("9848022338 9848022339\n9848022340") == "<PHONE_1> <PHONE_2>\n<PHONE_3>"
    assert masked("98480 22338\n98480 22339\n98480 22340") == "<PHONE_1>\n<PHONE_2>\n<PHONE_3>"
    assert masked("4111 1111 1111 1111\n4111 1111 1111 1111") == "<CARD_1>\n<CARD_1>"


def test_in_an_address():
    url = f"https://shop.example/?m=%2B91%2098480%2022338&pan=ABCPE1234F&to=ramesh%40okaxis&id={AADHAAR}#x"
    assert masked(url) == "https://shop.example/?m=<PHONE_1>&pan=<PAN_1>&to=<UPI_1>&id=<AADHAAR_1>#x"


def test_in_json_the_name_of_the_field_is_a_label():
    text = '{"account_number": "50100123456789", "accountNumber":"50100123456780", "orderNumber": "50100123456781"}'
    assert (
        masked(text)
        == '{"account_number": "<ACCOUNT_1>", "accountNumber":"<ACCOUNT_2>", "orderNumber": "50100123456781"}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "my aadhaar is {}", "Aadhar no: {}", "ఆధార్ నంబర్ {}", "मेरा आधार {} है", '"aadhaar_number": "{}"',
        "{} is my Aadhaar", "AADHAAR\n{}",
    ],
)  # fmt: skip
def test_a_mistyped_aadhaar_that_is_called_so(text):
    for value in ("1234 5678 9012", "234567890125"):
        assert masked(text.replace("{}", value)) == text.replace("{}", "<AADHAAR_1>")


@pytest.mark.parametrize(
    "text",
    [
        "A/c no {}", "account number: {}", "నా ఖాతా {}", "ఖాతాలో {}", "खाता संख्या {}", "{} is my account number",
        "Acct. {}", "my savings account with the bank on the main road is {}",
    ],
)  # fmt: skip
def test_accounts_need_a_label(text):
    for value in ("50100123456789", "501001234", "5010 0123 4567 89"):
        assert masked(text.replace("{}", value)) == text.replace("{}", "<ACCOUNT_1>")


def test_suffixes_of_other_scripts_touch_a_value():
    assert masked("9848022338కి కాల్ చేసి ramesh@example.comకు రాయండి") == "<PHONE_1>కి కాల్ చేసి <EMAIL_1>కు రాయండి"


def test_the_longer_one_wins():
    assert masked("36ABCPE1234F1ZC") == "<GSTIN_1>"
    assert masked("9848022338@ybl") == "<UPI_1>"
    assert masked("DE89 3704 0044 0532 0130 00") == "<IBAN_1>"
    assert masked(f"{PRIVATE_KEY} {JWT}") == "<PRIVATE_KEY_1> <JWT_1>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('api_key = "abcd1234efgh5678"', 'api_key = "<API_KEY_1>"'),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1", "AWS_SECRET_ACCESS_KEY=<API_KEY_1>"),
        ("Authorization: Bearer abcdef1234567890abcd", "Authorization: Bearer <API_KEY_1>"),
        ("password: hunter22x", "password: <API_KEY_1>"),
        ("the key: to success in 2024", "the key: to success in 2024"),
        (PRIVATE_KEY[:60], "<PRIVATE_KEY_1>"),
    ],
)
def test_secrets_by_their_name(text, expected):
    assert masked(text) == expected


def test_loopback_and_versions_are_nobodys():
    assert masked("ip 10.0.0.7 and version 10.0.0.7") == "ip <IP_1> and version 10.0.0.7"


def test_findings_are_offsets_of_the_text_as_it_was():
    text = "é\u200b 98\u200b480\u200b22338 \u200bend"
    assert find(text) == [Finding("PHONE", 3, 15)]
    assert text[3:15] == "98\u200b480\u200b22338"


def test_marks_behind_a_value_are_not_part_of_it():
    assert masked("9848022338\u200b\u200b, yes") == "<PHONE_1>\u200b\u200b, yes"


def test_what_is_masked_is_not_masked_again():
    known = MaskingMap()
    once = mask(f"{AADHAAR} <PHONE_1>", known)
    assert isinstance(once, Masked)
    assert mask(once, known) is once


@pytest.mark.parametrize("first", [0, 5, 39, 40, 41])
@pytest.mark.parametrize("gap", [30, 103, 104, 105, 300])
def test_the_first_of_several_codes_however_far_apart(first, gap):
    text = f"{'x ' * (first // 2)}{' ' * (first % 2)}HDFC0001234{' ,' * (gap // 2)}{' ' * (gap % 2)}27AAPFU0939F1ZV"
    assert [name for name, _ in found(text)] == ["IFSC", "GSTIN"]
