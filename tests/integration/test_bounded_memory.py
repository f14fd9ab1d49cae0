"""The memory of a process does not grow with the documents that it indexes."""

import pytest

from tests.integration.crowd import MEGABYTE, Memory, long_pdf, long_words, send
from tests.integration.processes import Place, ended

SMALL, LARGE = 3 * MEGABYTE // 8, 3 * MEGABYTE
MOST_GROWTH = 32
"""MiB. Embedding the larger text in one piece takes twice as much; less than ten are usual."""
MOST_OVER_IDLE = 120


@pytest.mark.timeout(240)
async def test_eight_times_the_text_takes_about_the_same_memory(here: Place) -> None:
    service = await here.serve(log_level="WARNING")
    peaks = []
    async with here.client() as http:
        with Memory(service.process.pid) as idle:
            assert (await http.get("/readyz")).status_code == 200
        files = {
            "small.txt": long_words(SMALL),
            "large.txt": long_words(LARGE),
            "long.pdf": long_pdf(300, lines=6),
        }
        for name, data in files.items():
            with Memory(service.process.pid) as memory:
                id_, _ = await send(http, name, data)
                document = await ended(http, id_, 200)
            assert document["status"] == "ready"
            peaks.append(memory.service)
        assert document["pages"] == 300
    small, large, long_ = peaks
    assert large - small < MOST_GROWTH, peaks
    assert long_ - small < MOST_GROWTH, peaks
    assert max(peaks) - idle.service < MOST_OVER_IDLE, (idle.service, peaks)
    assert await service.stop() == 0
