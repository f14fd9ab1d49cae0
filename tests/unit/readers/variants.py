"""One small file of each kind, and damaged copies of it.

`python -m tests.unit.readers.variants <kind>` reads them all and prints how often each outcome came; a process of
its own, for what ends a process or never ends.
"""

import json
import random
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from io import BytesIO

from app.readers import read
from app.readers.errors import UnreadableDocument
from tests.unit.readers import files
from tests.unit.readers.files import document

SAMPLES = {
    "pdf": "crazyones.pdf",
    "docx": "docx-tables.docx",
    "doc": "simple.doc",
    "txt": "fake-text-utf-16.txt",
    "md": "umlauts-utf8.md",
    "html": "fake-html-cp1252.html",
    "rtf": "leave-policy.rtf",
    "epub": "leave-policy.epub",
}
TRUNCATIONS, FLIPS, INSIDE = 20, 40, 30
_ZIP = b"PK\x03\x04"
_MAIL = (
    b"From: a@example.com\r\nSubject: =?utf-8?b?4LC44LGG?=\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n'
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E0=B0=B8 text\r\n--b\r\nContent-Type: text/html\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nPHA+cmljaDwvcD4=\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner\r\n\r\ninner text\r\n--b--\r\n"
)


def sample(kind: str) -> bytes:
    return _MAIL if kind == "eml" else document(SAMPLES[kind])


def damaged(whole: bytes) -> Iterator[bytes]:
    """Cut, with bytes changed, and for archives with bytes changed in one of their parts. The same ones each time."""
    chance = random.Random(len(whole))
    for _ in range(TRUNCATIONS):
        yield whole[: chance.randrange(len(whole))]
    for _ in range(FLIPS):
        yield _flipped(whole, chance)
    if whole.startswith(_ZIP):
        for _ in range(INSIDE):
            yield _with_a_broken_part(whole, chance)


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 20))):
        changed[chance.randrange(len(changed))] = chance.choice((0, 0xFF, chance.randrange(256)))
    return bytes(changed)


def _with_a_broken_part(whole: bytes, chance: random.Random) -> bytes:
    with zipfile.ZipFile(BytesIO(whole)) as opened:
        parts: dict[str, str | bytes] = {name: opened.read(name) for name in opened.namelist()}
    name = chance.choice([name for name, content in parts.items() if content])
    content = bytes(parts[name])  # type: ignore[arg-type]
    parts[name] = chance.choice((_flipped(content, chance), content[: chance.randrange(len(content))]))
    return files.archive(parts)


def main(kind: str) -> None:
    outcomes: Counter[str] = Counter()
    whole = sample(kind)
    for variant in (whole, *damaged(whole)):
        try:
            read(variant, kind)
            outcomes["ready"] += 1
        except UnreadableDocument as exc:
            outcomes[exc.code] += 1
        except Exception:
            sys.stderr.write(f"{kind}: {len(variant)} bytes, checksum {zlib.crc32(variant):08x}\n")
            raise
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1])
