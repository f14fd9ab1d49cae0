"""Values of each kind that are right: random, with true check digits, in the spellings that people use."""

import string
from collections.abc import Callable
from random import Random

from app.privacy import checksums

Maker = Callable[[Random], str]
UPPER = string.ascii_uppercase
STATES = ("AP", "TS", "TG", "KA", "MH", "TN", "DL", "KL", "GJ", "UP", "WB", "RJ")
_ALNUM = string.digits + UPPER
_BASE64 = string.ascii_letters + string.digits
_ISSUERS = (
    ("4", 16),
    ("51", 16),
    ("55", 16),
    ("2221", 16),
    ("34", 15),
    ("37", 15),
    ("36", 14),
    ("60", 16),
    ("6521", 16),
)
_HANDLES = ("okhdfcbank", "oksbi", "okicici", "okaxis", "ybl", "ibl", "axl", "paytm", "upi", "apl", "sbi", "icici")
_NAMES = ("ramesh", "lakshmi", "s.rao", "anil_k", "priya-2", "venkat99", "m.iyer", "kiran")
_DOMAINS = (
    "gmail.com",
    "example.co.in",
    "mail.example.org",
    "xn--e1afmkfd.in",
    "bücher.de",
    "उदाहरण.भारत",
    "shop.example",
)
_IBANS = (("DE", 18), ("AT", 16), ("NL", 0), ("ES", 20), ("BE", 12), ("PL", 24))


def digits(rng: Random, count: int, first: str = string.digits) -> str:
    return rng.choice(first) + "".join(rng.choices(string.digits, k=count - 1)) if count else ""


def letters(rng: Random, count: int) -> str:
    return "".join(rng.choices(UPPER, k=count))


def checked(body: str, check: Callable[[str], bool], alphabet: str = string.digits) -> str:
    """With the character at the end that makes it right."""
    return next(body + char for char in alphabet if check(body + char))


def grouped(value: str, *sizes: int, by: str = " ") -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(value[at : at + size])
        at += size
    return by.join([*parts, value[at:]] if value[at:] else parts)


def aadhaar(rng: Random) -> str:
    value = checked(digits(rng, 11, "23456789"), checksums.verhoeff)
    return rng.choice((value, grouped(value, 4, 4, 4), grouped(value, 4, 4, 4, by="-")))


def vid(rng: Random) -> str:
    value = checked(digits(rng, 15, "1789"), checksums.verhoeff)
    return rng.choice((value, grouped(value, 4, 4, 4, 4)))


def card(rng: Random) -> str:
    issuer, length = rng.choice(_ISSUERS)
    value = checked(issuer + digits(rng, length - len(issuer) - 1), checksums.luhn)
    sizes = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4)}[length]
    return rng.choice((value, grouped(value, *sizes), grouped(value, *sizes, by="-")))


def pan(rng: Random) -> str:
    value = letters(rng, 3) + rng.choice("ABCFGHJLPT") + letters(rng, 1) + digits(rng, 4) + letters(rng, 1)
    return rng.choice((value, value, value.lower()))


def gstin(rng: Random) -> str:
    state = rng.choice([*(f"{number:02}" for number in range(1, 39)), "97", "99"])
    return checked(f"{state}{pan(rng).upper()}{rng.choice('123456789')}Z", checksums.gstin, _ALNUM)


def tan(rng: Random) -> str:
    return letters(rng, 4) + digits(rng, 5) + letters(rng, 1)


def iban(rng: Random) -> str:
    country, length = rng.choice(_IBANS)
    body = digits(rng, length) if length else letters(rng, 4) + digits(rng, 10)
    value = next(f"{country}{check:02}{body}" for check in range(2, 99) if checksums.iban(f"{country}{check:02}{body}"))
    return rng.choice((value, grouped(value, *[4] * (len(value) // 4))))


def ifsc(rng: Random) -> str:
    return rng.choice(("HDFC", "SBIN", "ICIC", "KKBK", letters(rng, 4))) + "0" + digits(rng, 6)


def upi(rng: Random) -> str:
    return f"{rng.choice((*_NAMES, mobile_digits(rng)))}@{rng.choice(_HANDLES)}"


def email(rng: Random) -> str:
    return f"{rng.choice(_NAMES)}{rng.choice(('', '+news', '.2'))}@{rng.choice(_DOMAINS)}"


def mobile_digits(rng: Random) -> str:
    return digits(rng, 10, "6789")


def phone(rng: Random) -> str:
    value = mobile_digits(rng)
    written = rng.choice((value, grouped(value, 5, 5), grouped(value, 5, 5, by="-"), grouped(value, 3, 3, 4)))
    return rng.choice(("", "+91 ", "+91-", "0", "91 ", "+91")) + written


def account(rng: Random) -> str:
    return digits(rng, rng.randint(9, 18), "12345")


def passport(rng: Random) -> str:
    return letters(rng, 1) + digits(rng, 7)


def licence(rng: Random) -> str:
    middle = rng.choice((" ", "-", ""))
    return f"{rng.choice(STATES)}{digits(rng, 2)}{middle}{rng.randint(1980, 2025)}{digits(rng, 7)}"


def voter(rng: Random) -> str:
    return letters(rng, 3) + digits(rng, 7)


def vehicle(rng: Random) -> str:
    gap = rng.choice(("", " ", "-"))
    plate = gap.join((rng.choice(STATES), digits(rng, 2), letters(rng, rng.randint(1, 2)), digits(rng, 4)))
    return rng.choice((plate, plate.lower(), f"{digits(rng, 2)}BH{digits(rng, 4)}{letters(rng, 2)}"))


def udyam(rng: Random) -> str:
    return f"UDYAM-{rng.choice(STATES)}-{digits(rng, 2)}-{digits(rng, 7)}"


def cin(rng: Random) -> str:
    kind = rng.choice(("PLC", "PTC", "OPC", "NPL"))
    return f"{rng.choice('LU')}{digits(rng, 5)}{rng.choice(STATES)}{rng.randint(1950, 2025)}{kind}{digits(rng, 6)}"


def steuer_id(rng: Random) -> str:
    row = rng.sample(string.digits, 9)
    row.insert(rng.randrange(10), rng.choice(row))
    if row[0] == "0":
        row[0], row[1] = row[1], row[0]
    if row[0] == "0":
        return steuer_id(rng)
    value = checked("".join(row), checksums.mod_11_10)
    return rng.choice((value, grouped(value, 2, 3, 3, 3)))


def nir(rng: Random) -> str:
    department = rng.choice(("75", "13", "69", "2A", "2B"))
    body = f"{rng.choice('12')}{digits(rng, 2)}{rng.randint(1, 12):02}{department}{digits(rng, 6)}"
    value = next(f"{body}{key:02}" for key in range(1, 98) if checksums.nir(f"{body}{key:02}"))
    return rng.choice((value, grouped(value, 1, 2, 2, 2, 3, 3, 2)))


def nif(rng: Random) -> str:
    body = rng.choice((digits(rng, 8), rng.choice("XYZ") + digits(rng, 7)))
    return checked(body, checksums.nif, UPPER)


def codice_fiscale(rng: Random) -> str:
    birth = f"{digits(rng, 2)}{rng.choice('ABCDEHLMPRST')}{digits(rng, 2)}"
    body = f"{letters(rng, 6)}{birth}{letters(rng, 1)}{digits(rng, 3)}"
    return checked(body, checksums.codice_fiscale, UPPER)


def vat(rng: Random) -> str:
    """With a check digit, or one that only its label gives away."""
    return rng.choice(
        (
            checked("DE" + digits(rng, 8, "123456789"), lambda value: checksums.mod_11_10(value[2:])),
            checked("IT" + digits(rng, 10), lambda value: checksums.luhn(value[2:])),
            f"PL{digits(rng, 10)}",
            f"NL{digits(rng, 9)}B{digits(rng, 2)}",
            f"ATU{digits(rng, 8)}",
        )
    )


def ip(rng: Random) -> str:
    v4 = ".".join(str(rng.randint(10, 223)) for _ in range(4)).replace("127.", "128.")
    return rng.choice((v4, f"2001:db8::{rng.randint(1, 65535):x}:{rng.randint(1, 65535):x}"))


def mac(rng: Random) -> str:
    groups = [f"{rng.randint(0, 255):02X}" for _ in range(5)] + [f"{rng.randint(160, 255):02X}"]
    return rng.choice((":", "-")).join(groups)


def api_key(rng: Random) -> str:
    return rng.choice(("sk-", "sk-proj-", "ghp_", "rgc_", "hf_", "sk_live_")) + _base64(rng, 43)


def aws_key(rng: Random) -> str:
    return rng.choice(("AKIA", "ASIA")) + "".join(rng.choices(UPPER + "234567", k=16))


def _base64(rng: Random, count: int) -> str:
    return "".join(rng.choices(_BASE64, k=count))


def jwt(rng: Random) -> str:
    return f"eyJ{_base64(rng, 30)}.eyJ{_base64(rng, 50)}.{_base64(rng, 43)}"


def private_key(rng: Random) -> str:
    kind = rng.choice(("", "RSA ", "EC "))
    body = "\n".join(_base64(rng, 64) for _ in range(4))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"
