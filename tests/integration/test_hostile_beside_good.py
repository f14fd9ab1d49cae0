"""P8, H79, H85: a document made to hurt hurts only itself, whatever it is sent together with."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]
import pytest

from app.db.embedded import Server
from tests.conftest import shared
from tests.integration.crowd import Asking, bombs, good, outcomes, send, slow_pdf
from tests.integration.processes import Child, Place, ended, place, rows
from tests.reading import reading_processes
from tests.unit.readers.test_document_set import REFUSED, manifest

pytestmark = pytest.mark.xdist_group("hostile_beside_good")
SEED = 31_007
PARSER_SECONDS = 6
LARGEST = {
    "book-war-and-peace-1225p.txt", "handbook-872p.docx", "failure-after-repair.pdf", "UDHR_first_article_all.txt",
    "norwich-city.txt",
}  # fmt: skip
"""Nothing but long: `python -m benchmarks.hostile --all` sends them, too."""


@dataclass(frozen=True)
class Hardened:
    place: Place
    service: Child


@pytest.fixture(scope="module")
async def hardened() -> AsyncIterator[Hardened]:
    """A service of its own with real settings, less patient and less generous with memory than usual."""
    settings = {"parser_timeout_seconds": str(PARSER_SECONDS), "parser_memory_mb": "1024", "log_level": "WARNING"}
    async with place(**settings) as made:
        service = await made.serve()
        yield Hardened(made, service)
        assert await service.stop() == 0
        assert made.processes() == []


@pytest.mark.timeout(240)
async def test_bombs_end_with_a_code_and_good_ones_get_ready(hardened: Hardened) -> None:
    made = bombs()
    files = {name: data for name, (data, _) in made.items()} | good("beside bombs")
    names = [*files]
    random.Random(SEED).shuffle(names)
    with Asking(hardened.place.port) as asking:
        async with hardened.place.client() as http:
            sent = {name: await send(http, name, files[name]) for name in names}
            found = await outcomes(http, sent, 180)
    assert asking.failures == []
    assert {name for name in found if found[name] not in made.get(name, (b"", {"ready"}))[1]} == set(), found
    assert reading_processes(hardened.service.process.pid) == []


@pytest.mark.timeout(240)
async def test_real_documents_are_ready_or_refused_as_their_manifest_says(hardened: Hardened) -> None:
    folder = shared("documents", "files")
    names = [row["file"] for row in manifest() if row["file"] not in LARGEST]
    with Asking(hardened.place.port) as asking:
        async with hardened.place.client() as http:
            sent = {name: await send(http, name, (folder / name).read_bytes()) for name in names}
            found = await outcomes(http, sent, 200)
    assert asking.failures == []
    assert {name: code for name, code in found.items() if code != "ready"} == REFUSED


@pytest.mark.timeout(180)
async def test_a_reader_that_dies_or_hangs_is_tried_twice_and_others_go_on(hardened: Hardened) -> None:
    """As a kernel short of memory, a bug of a native library and a machine that is suspended do it."""
    url = f"postgresql://postgres@/ragchat?host={Server(hardened.place.data / 'postgres').socket_folder}"
    deaths = {signal.SIGKILL: "parser_crashed", signal.SIGSEGV: "parser_crashed", signal.SIGSTOP: "parser_timeout"}
    async with hardened.place.client() as http:
        doomed = {number: (await send(http, f"{number.name}.pdf", slow_pdf(number.name)))[0] for number in deaths}
        others = {name: await send(http, name, data) for name, data in good("beside the dying", 4).items()}
        files = await rows(url, "SELECT id::text, storage_key FROM documents WHERE filename LIKE 'SIG%'")
        keys = {row["storage_key"]: row["id"] for row in files}
        ending = asyncio.gather(*(ended(http, id_, 120) for id_ in doomed.values()))
        while not ending.done():
            for child in reading_processes(hardened.service.process.pid):
                hit(child, {key: number for number, id_ in doomed.items() for key in keys if keys[key] == id_})
            await asyncio.sleep(0.05)
        found = dict(zip(deaths, await ending, strict=True))
        assert {number: document["error"]["code"] for number, document in found.items()} == deaths
        assert {*(await outcomes(http, others, 60)).values()} == {"ready"}
    attempts = await rows(url, ATTEMPTS, [*doomed.values()])
    assert [(row["attempts"], row["state"]) for row in attempts] == [(2, "done")] * len(deaths)


ATTEMPTS = "SELECT attempts, state FROM jobs WHERE kind = 'document.ingest' AND payload->>'document_id' = ANY($1)"


def hit(child: psutil.Process, victims: dict[str, signal.Signals]) -> None:
    """Sends the signal that is meant for the file that the process reads."""
    with contextlib.suppress(psutil.Error):
        for file in child.open_files():
            for key, number in victims.items():
                if file.path.endswith(key) and child.status() != psutil.STATUS_STOPPED:
                    child.send_signal(number)
