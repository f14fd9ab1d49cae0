"""What looks like a value of each kind and is none: wrong check digits, wrong letters, no label where one is needed."""

import string
from collections.abc import Callable
from random import Random

from app.evaluation.masking import values
from app.evaluation.masking.values import UPPER, digits, grouped, letters
from app.privacy import checksums


def failing(make: Callable[[], str], *checks: Callable[[str], bool]) -> str:
    """The first that none of the checks takes for right."""
    while True:
        value = make()
        if not any(check(value) for check in checks):
            return value


def other_last(rng: Random, value: str, alphabet: str = string.digits) -> str:
    """The same with another last character."""
    return value[:-1] + rng.choice([char for char in alphabet if char != value[-1].upper()])


def aadhaar(rng: Random) -> str:
    wrong = failing(lambda: digits(rng, 12, "2345678"), checksums.verhoeff)
    return rng.choice((wrong, grouped(wrong, 4, 4, 4), grouped(wrong, 4, 4, 4, by="-"), digits(rng, 12, "01")))


def card(rng: Random) -> str:
    wrong = failing(lambda: digits(rng, 16, "456"), checksums.luhn)
    timestamp = str(rng.randint(1_600_000_000_000, 1_799_999_999_999))
    return rng.choice((wrong, grouped(wrong, 4, 4, 4, 4), digits(rng, 19, "19"), timestamp))


def vid(rng: Random) -> str:
    return "virtual ID " + failing(lambda: digits(rng, 16, "1789"), checksums.verhoeff, checksums.luhn)


def pan(rng: Random) -> str:
    value = values.pan(rng)
    wrong = value[:3] + rng.choice("DEIKMNOQRSUVWXYZ") + value[4:]
    return rng.choice((wrong, letters(rng, 5) + digits(rng, 5), value[:9] + digits(rng, 1), "X" + value))


def gstin(rng: Random) -> str:
    value = values.gstin(rng)
    return rng.choice((other_last(rng, value, string.digits + UPPER), "45" + value[2:], value[:13] + "Y" + value[14:]))


def tan(rng: Random) -> str:
    return rng.choice((values.tan(rng), "TAN " + letters(rng, 5) + digits(rng, 5)))


def iban(rng: Random) -> str:
    return other_last(rng, values.iban(rng).replace(" ", ""))


def ifsc(rng: Random) -> str:
    wrong = letters(rng, 4) + digits(rng, 7, "123456789")
    return rng.choice((wrong, "product code " + values.ifsc(rng), values.ifsc(rng).lower(), values.ifsc(rng)[:-1]))


def upi(rng: Random) -> str:
    return rng.choice(
        ("foo@bar", f"hi @{rng.choice(('ramesh', 'team', 'sbi'))}", "root@server", "@property", "a @ sbi")
    )


def email(rng: Random) -> str:
    return rng.choice(("foo@bar", "@mention", "a@b", "user@.com", "price@5.50", "x@y..z", "3 @ 4.50"))


def phone(rng: Random) -> str:
    return rng.choice(
        (digits(rng, 10, "12345"), digits(rng, 9, "6789"), "2021 2022 2023", grouped(digits(rng, 10, "12345"), 5, 5))
    )


def account(rng: Random) -> str:
    bare = digits(rng, rng.choice((9, 13, 14, 17, 18)), "1")
    return rng.choice((bare, f"order {bare}", f"UTR {bare}", f"account for invoice {bare}"))


def passport(rng: Random) -> str:
    return rng.choice((values.passport(rng), "passport " + letters(rng, 1) + digits(rng, 6)))


def licence(rng: Random) -> str:
    return rng.choice((values.licence(rng), "driving licence QQ09 20110012345"))


def voter(rng: Random) -> str:
    return rng.choice((values.voter(rng), "voter " + letters(rng, 3) + digits(rng, 6)))


def vehicle(rng: Random) -> str:
    return rng.choice((values.vehicle(rng), f"car QQ{digits(rng, 2)}AB{digits(rng, 4)}"))


def udyam(rng: Random) -> str:
    return rng.choice((values.udyam(rng)[:-1], values.udyam(rng).replace("UDYAM", "UDYOG"), values.udyam(rng) + "0"))


def cin(rng: Random) -> str:
    value = values.cin(rng)
    return rng.choice((f"X{value[1:]}", f"{value[:6]}QQ{value[8:]}", f"{value[:12]}ABC{value[15:]}"))


def steuer_id(rng: Random) -> str:
    return failing(lambda: digits(rng, 11, "12345"), checksums.mod_11_10)


def nir(rng: Random) -> str:
    return other_last(rng, values.nir(rng).replace(" ", ""))


def nif(rng: Random) -> str:
    return other_last(rng, values.nif(rng), UPPER)


def codice_fiscale(rng: Random) -> str:
    return other_last(rng, values.codice_fiscale(rng), UPPER)


def vat(rng: Random) -> str:
    wrong = failing(lambda: digits(rng, 9, "123456789"), checksums.mod_11_10)
    return rng.choice(("DE" + wrong, f"PL{digits(rng, 10, '12345')}", "QQ" + digits(rng, 9)))


def ip(rng: Random) -> str:
    short = ".".join(str(rng.randint(0, 9)) for _ in range(4))
    large = f"{rng.randint(256, 999)}.{rng.randint(1, 9)}.{rng.randint(1, 9)}.7"
    return rng.choice((f"version {short}", large, f"1.{short}", "127.0.0.1", "::1", "std::map", "12:30:45"))


def mac(rng: Random) -> str:
    return rng.choice(
        (values.mac(rng)[:-3], "00:" + values.mac(rng).replace("-", ":"), "12-34-56-78-90-12", "09:15:30")
    )


def api_key(rng: Random) -> str:
    word = rng.choice(("key: to the building at 5", "sk-learn", "token=5", "password: required", "api_key=unchanged"))
    return rng.choice((word, "task-" + "".join(rng.choices(string.ascii_lowercase, k=30))))


def aws_key(rng: Random) -> str:
    value = values.aws_key(rng)
    return rng.choice((value[:-1], value.lower(), "X" + value, value + "Q"))


def jwt(rng: Random) -> str:
    value = values.jwt(rng)
    return rng.choice((value.rpartition(".")[0], value.replace(".", ""), "eyJ.eyJ.x", "key" + value))


def private_key(rng: Random) -> str:
    return values.private_key(rng).replace("PRIVATE", rng.choice(("PUBLIC", "SESSION")))
