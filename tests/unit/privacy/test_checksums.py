"""Against numbers that others have published, and: one wrong digit is always noticed."""

import string

import pytest

from app.privacy import checksums

ALPHANUMERIC = string.digits + string.ascii_uppercase
RIGHT = [
    (checksums.verhoeff, "2363", string.digits),
    (checksums.verhoeff, "1428570", string.digits),
    (checksums.verhoeff, "234567890124", string.digits),
    (checksums.luhn, "79927398713", string.digits),
    (checksums.luhn, "378282246310005", string.digits),
    (checksums.gstin, "27AAPFU0939F1ZV", ALPHANUMERIC),
    (checksums.gstin, "36ABCPE1234F1ZC", ALPHANUMERIC),
    (checksums.iban, "DE89370400440532013000", string.digits),
    (checksums.iban, "GB82WEST12345698765432", string.digits),
    (checksums.mod_11_10, "86095742719", string.digits),
    (checksums.mod_11_10, "136695976", string.digits),
    (checksums.nir, "255081416802538", string.digits),
    (checksums.nif, "12345678Z", string.ascii_uppercase),
    (checksums.nif, "X1234567L", string.ascii_uppercase),
    (checksums.codice_fiscale, "RSSMRA85T10A562S", string.ascii_uppercase),
]


@pytest.mark.parametrize(("check", "value", "alphabet"), RIGHT)
def test_right_and_no_other_last_character(check, value, alphabet):
    assert [char for char in alphabet if check(value[:-1] + char)] == [value[-1]]


@pytest.mark.parametrize(("check", "value"), [(check, value) for check, value, _ in RIGHT if value.isdigit()])
def test_any_single_wrong_digit(check, value):
    for at in range(len(value)):
        wrong = [value[:at] + digit + value[at + 1 :] for digit in string.digits if digit != value[at]]
        assert not any(map(check, wrong))


def test_verhoeff_sees_neighbours_that_changed_places():
    value = "234567890124"
    swapped = [value[:at] + value[at + 1] + value[at] + value[at + 2 :] for at in range(len(value) - 1)]
    assert not any(checksums.verhoeff(other) for other in swapped if other != value)
