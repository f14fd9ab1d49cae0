"""Check digits, each over ASCII digits and capital letters without gaps."""

from collections.abc import Sequence

_ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NIF = "TRWAGMYFPDXBNJZSQVHLCKE"


def _dihedral(a: int, b: int) -> int:
    """The product in the group of a pentagon's ten symmetries."""
    if a < 5:
        return (a + b) % 5 if b < 5 else (a + b - 5) % 5 + 5
    return (a - 5 - b) % 5 + 5 if b < 5 else (a - b) % 5


def _permutations() -> list[list[int]]:
    """Eight powers of Verhoeff's permutation."""
    first = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    rows = [list(range(10))]
    while len(rows) < 8:
        rows.append([first[digit] for digit in rows[-1]])
    return rows


_PRODUCT = [[_dihedral(a, b) for b in range(10)] for a in range(10)]
_PERMUTED = _permutations()


def verhoeff(digits: str) -> bool:
    """The last digit is the check digit."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _PRODUCT[check][_PERMUTED[place % 8][int(digit)]]
    return check == 0


def luhn(digits: str) -> bool:
    total = sum(map(int, digits[-1::-2]))
    return (total + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])) % 10 == 0


def gstin(code: str) -> bool:
    """Fifteen characters: weights 1 and 2 in base 36, quotient and remainder added."""
    total = 0
    for place, char in enumerate(code[:14]):
        total += sum(divmod(_ALPHANUMERIC.index(char) * (1 + place % 2), 36))
    return _ALPHANUMERIC[-total % 36] == code[14]


def iban(code: str) -> bool:
    """ISO 7064 mod 97-10, country and check digits moved to the end."""
    return int("".join(str(_ALPHANUMERIC.index(char)) for char in code[4:] + code[:4])) % 97 == 1


def mod_11_10(digits: str) -> bool:
    """ISO 7064 mod 11,10, as German tax numbers have it."""
    product = 10
    for digit in digits[:-1]:
        total = (int(digit) + product) % 10 or 10
        product = 2 * total % 11
    return (11 - product) % 10 == int(digits[-1])


def nir(code: str) -> bool:
    """French social security: thirteen characters (2A and 2B are Corsica), two of key."""
    number = code[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(code[13:])


def nif(code: str) -> bool:
    """Spanish: eight digits, or X, Y, Z and seven; then the letter."""
    number = str("XYZ".index(code[0])) + code[1:-1] if code[0] in "XYZ" else code[:-1]
    return _NIF[int(number) % 23] == code[-1]


_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10,
    22, 25, 24, 23,
), strict=True))  # fmt: skip


def codice_fiscale(code: str) -> bool:
    """Sixteen characters. Those in odd places are weighed by a table, counted from one."""
    total = sum(_ODD[char] for char in code[:15:2])
    total += sum(int(char) if char.isdigit() else ord(char) - ord("A") for char in code[1:15:2])
    return chr(ord("A") + total % 26) == code[15]


def weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))
