"""How fast personal data is masked, and that twice the text takes twice the time, whatever it consists of.

    .venv/bin/python -m benchmarks.masking [--bytes 100000] [--rounds 5]

Each text is masked in three sizes, half, whole and double; the sizes take turns, and the best of the rounds counts, in
processor time. Targets: 100 kB of anything in under 200 ms, double the text in no more than about double the time, 5 MB
of running text a second.
"""

import argparse
import time

from app.privacy import MaskingMap, mask

PROSE = (
    "Staff may take leave after six months of service and ask their manager for it in writing. In 2023 revenue grew by "
    "12.5% to Rs 45,000. Call +91 98480 22338 or write to help@example.co.in before 5 pm. "
)
TELUGU = "ఉద్యోగులకు సంవత్సరానికి 20 రోజుల సెలవు ఉంటుంది. మా కార్యాలయం హైదరాబాద్‌లో ఉంది, ఫోన్ ౯౮౪౮౦ ౨౨౩౩౮. "
RUNNING = {"English": PROSE, "Telugu": TELUGU, "table": "2024-03-31;INV-0042;1,250.00;Hyderabad;paid;36\n"}
HOSTILE = {
    "letters": "a", "digits": "7", "at signs": "@", "1-": "1-", "12 ": "12 ", "1234 ": "1234 ", "a@a.": "a@a.",
    "1.": "1.", "1 and line ends": "1\n", "1 and no-break spaces": "1\u00a0", "zero width": "1\u200b", "a@": "a@",
    ":": ":", "A1": "A1", "%20": "%20", "eyJa.": "eyJabcdef.", "key=": "key=", "<PHONE_": "<PHONE_",
    "codes": "ABCPE1234F ",
    "private keys": "-----BEGIN PRIVATE KEY-----", "IBAN": "DE89 3704 0044 0532 0130 01 ",
    "Aadhaar": "2345 6789 0124 ", "phones": "98480 22338, ", "cards": "4111 1111 1111 1111\n",
    "accounts": "account 123456789, ",
}  # fmt: skip


def of_size(piece: str, size: int) -> str:
    count = -(-size // len(piece.encode()))
    return piece * count


def seconds(text: str) -> float:
    began = time.process_time()
    mask(text, MaskingMap())
    return time.process_time() - began


def measure(piece: str, size: int, rounds: int) -> tuple[float, float, float]:
    """Of half the size, of the size, of twice the size."""
    texts = [of_size(piece, size // 2), of_size(piece, size), of_size(piece, size * 2)]
    taken = [[seconds(text) for text in texts] for _ in range(rounds)]
    half, whole, double = (min(column) for column in zip(*taken, strict=True))
    return half, whole, double


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    slowest, steepest = 0.0, 0.0
    for name, piece in (RUNNING | HOSTILE).items():
        half, whole, double = measure(piece, asked.bytes, asked.rounds)
        slowest, steepest = max(slowest, whole), max(steepest, double / half)
        rate = asked.bytes / whole / 1e6
        print(f"{name:<24}{1000 * whole:>8.1f} ms{rate:>8.1f} MB/s   x4 the text: x{double / half:.1f} the time")
    print(f"slowest {1000 * slowest:.0f} ms; steepest x{steepest:.1f} for x4 (target: under 200 ms, about x4)")


if __name__ == "__main__":
    main()
