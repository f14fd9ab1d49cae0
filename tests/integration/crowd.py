"""Documents that hurt, documents that do not; whether the service still answers meanwhile, and what memory it takes."""

import asyncio
import contextlib
import http.client
import random
import string
import threading
import time
import zlib
from collections.abc import Mapping
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from tests.integration.test_ingestion_survives import WORDS
from tests.reading import reading_processes
from tests.unit.readers.files import docx, paragraph, pdf, pdf_of_objects

SEED = 90_001
GOOD = 20
DEEP = 100_000
POLL_SECONDS = 0.1
SAMPLE_SECONDS = 0.02
MEGABYTE = 2**20
DOCUMENTS = "/api/v1/documents"
Outcomes = Mapping[str, str]
"""File name to `ready` or the code of why not."""


def good(salt: str, count: int = GOOD) -> dict[str, bytes]:
    """Text, Markdown and .docx, a dozen passages each. Another salt makes other bytes."""
    chance = random.Random(SEED)
    made = {}
    for number in range(count):
        parts = [
            " ".join(" ".join(chance.choices(WORDS, k=12)).capitalize() + "." for _ in range(10)) for _ in range(12)
        ]
        parts.insert(0, f"{salt}, document {number}.")
        kind = ("txt", "md", "docx")[number % 3]
        body = docx("".join(paragraph(part) for part in parts)) if kind == "docx" else "\n\n".join(parts).encode()
        made[f"good-{number}.{kind}"] = body
    return made


def bombs(*, line_bytes: int = 200_000) -> dict[str, tuple[bytes, set[str]]]:
    """Name to bytes and the outcomes that are right."""
    stopped = {"parser_timeout", "parser_crashed"}
    return {
        "deep-page-tree.pdf": (deep_page_tree(), {"bad_file", "no_text", *stopped}),
        "flate-bomb.pdf": (flate_bomb(), {"no_text", "too_large", *stopped}),
        "zip-bomb.docx": (docx("", extra={"word/document.xml": bytes(200_000_000)}), {"archive_bomb"}),
        "slow.pdf": (slow_pdf(), stopped),
        "endless-line.txt": (b"x" * line_bytes, {"ready"}),
        "endless-lines.txt": (b"\n" * 5_000_000, {"no_text"}),
    }


def deep_page_tree() -> bytes:
    nodes = [f"<</Type/Pages/Parent {at} 0 R/Kids[{at + 2} 0 R]/Count 1>>" for at in range(1, DEEP)]
    leaf = f"<</Type/Page/Parent {DEEP} 0 R/MediaBox[0 0 9 9]>>"
    return pdf_of_objects(["<</Type/Catalog/Pages 2 0 R>>", *nodes, leaf])


def flate_bomb() -> bytes:
    """Two hundred megabytes of blanks in two hundred kilobytes."""
    packed = zlib.compress(b" " * 200_000_000, 9).decode("latin-1")
    return pdf_of_objects(
        [
            "<</Type/Catalog/Pages 2 0 R>>",
            "<</Type/Pages/Kids[3 0 R]/Count 1>>",
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>",
            f"<</Length {len(packed)}/Filter/FlateDecode>>stream\n{packed}\nendstream",
        ]
    )


def slow_pdf(salt: str = "") -> bytes:
    """A form that draws itself ten times over, eight deep: many seconds, or all the memory there is."""
    first, levels = 5, 8
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<</XObject<</X {first} 0 R>>>>/Contents 4 0 R>>",
        "<</Length 5>>stream\n/X Do\nendstream",
    ]
    for level in range(first, first + levels):
        content = "/X Do " * 10 if level < first + levels - 1 else "BT ET"
        objects.append(
            f"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X {level + 1} 0 R>>>>"
            f"/Length {len(content)}>>stream\n{content}\nendstream"
        )
    return pdf_of_objects(objects, trailer=f"%{salt}\n" if salt else "")


async def send(http: httpx.AsyncClient, name: str, data: bytes) -> tuple[str, str | None]:
    """(id, None), or ("", code) when the upload itself is refused."""
    answer = await http.post(DOCUMENTS, files={"file": (name, data)})
    if answer.status_code in (200, 202):
        return answer.json()["id"], None
    assert answer.status_code in (400, 413, 415), answer.text
    return "", answer.json()["code"]


async def outcomes(http: httpx.AsyncClient, sent: Mapping[str, tuple[str, str | None]], seconds: float) -> Outcomes:
    """Once all of them have ended."""
    found = {name: code for name, (_, code) in sent.items() if code is not None}
    async with asyncio.timeout(seconds):
        while len(found) < len(sent):
            for name, (id_, _) in sent.items():
                if name not in found:
                    document: dict[str, Any] = (await http.get(f"{DOCUMENTS}/{id_}")).json()
                    if document["status"] in ("ready", "failed"):
                        found[name] = document["error"]["code"] if document["error"] else "ready"
            await asyncio.sleep(0.1)
    return found


class Asking:
    """GET /livez again and again, from a thread; `taken` are the seconds of each answer."""

    def __init__(self, port: int) -> None:
        self.taken: list[float] = []
        self.failures: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            step = "connecting"
            try:
                connection.connect()
                step = "asking"
                connection.request("GET", "/livez")
                step = "waiting"
                status = connection.getresponse().status
                if status != 200:
                    self.failures.append(str(status))
            except OSError as exc:
                self.failures.append(f"{exc!r}, {step}, after {time.perf_counter() - began:.3f} s")
            finally:
                connection.close()
            self.taken.append(time.perf_counter() - began)


class Memory:
    """The largest resident memory, in MiB, of a service and of any process that reads for it."""

    def __init__(self, pid: int) -> None:
        self.service = 0.0
        self.reader = 0.0
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.service = max(self.service, resident(self._process))
            for child in reading_processes(self._process.pid):
                self.reader = max(self.reader, resident(child))


def resident(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return float(process.memory_info().rss) / MEGABYTE
    return 0.0


def long_words(size: int, seed: int = SEED) -> bytes:
    """A text of that many bytes that is quick to embed: its words fill passages, but are unknown to the model."""
    chance = random.Random(seed)
    word_bytes = 120
    words = ["".join(chance.choices(string.ascii_lowercase, k=word_bytes)) for _ in range(size // word_bytes + 1)]
    return "\n\n".join(" ".join(words[at : at + 10]) for at in range(0, len(words), 10)).encode()[:size]


def long_pdf(pages: int, lines: int) -> bytes:
    chance = random.Random(SEED)
    next_line = ") Tj 0 -14 Td ("
    return pdf([next_line.join(" ".join(chance.choices(WORDS, k=10)) for _ in range(lines)) for _ in range(pages)])
