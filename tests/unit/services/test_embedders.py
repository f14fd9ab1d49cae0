"""One loaded model for all its widths; a model that cannot be loaded says so each time it is asked for."""

import asyncio
import threading

import numpy as np
import pytest

from app.core.errors import Invalid, Unavailable
from app.providers.embedding import SHIPPED, open_embedder
from app.providers.ports import Embedder
from app.services.embedders import Embedders


class Opening:
    """Opens the shipped model whatever is asked for, after `failures` failures."""

    def __init__(self, *failures: Exception) -> None:
        self.asked: list[str] = []
        self._failures = [*failures]

    def __call__(self, model: str) -> Embedder:
        self.asked.append(model)
        if self._failures:
            raise self._failures.pop(0)
        return open_embedder(SHIPPED)


def embedding_threads() -> int:
    return sum(thread.name.startswith("embed-") for thread in threading.enumerate())


async def test_all_widths_share_one_model() -> None:
    before = embedding_threads()
    opening = Opening()
    embedders = Embedders(opening)
    embedders.begin(f"{SHIPPED}@64")
    found = await asyncio.gather(*(embedders.get(SHIPPED + width) for width in ("", "@64", "@128", "@64")))
    assert opening.asked == [SHIPPED]
    assert [each.dimensions for each in found] == [384, 64, 128, 64]
    whole, narrow, *_ = [await each.embed_query("annual leave") for each in found]
    assert np.allclose(narrow, whole[:64] / np.linalg.norm(whole[:64]), atol=1e-6)
    await embedders.close()
    assert embedding_threads() == before


async def test_a_model_that_failed_is_tried_again() -> None:
    opening = Opening(Unavailable("embedder_missing"), KeyError("config.json"))
    embedders = Embedders(opening)
    for code in ("embedder_missing", "embedder_not_loaded"):
        with pytest.raises(Unavailable) as error:
            await embedders.get("some/model@64")
        assert error.value.code == code
    assert (await embedders.get("some/model@64")).dimensions == 64
    assert opening.asked == ["some/model"] * 3
    await embedders.close()


async def test_who_waits_together_fails_together() -> None:
    opening = Opening(Unavailable("embedder_missing"))
    embedders = Embedders(opening)
    found = await asyncio.gather(*(embedders.get("some/model") for _ in range(5)), return_exceptions=True)
    assert {type(each) for each in found} == {Unavailable}
    assert len(opening.asked) == 1
    await embedders.get("some/model")
    await embedders.close()


async def test_one_who_gives_up_waiting_does_not_stop_the_others() -> None:
    opening = Opening()
    embedders = Embedders(opening)
    impatient = asyncio.create_task(embedders.get(SHIPPED))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await embedders.get(SHIPPED)).dimensions == 384
    assert len(opening.asked) == 1
    await embedders.close()


async def test_a_failure_that_nobody_asked_for_is_nobodys() -> None:
    embedders = Embedders(Opening(Unavailable("embedder_missing")))
    embedders.begin("some/model")
    await embedders.close()


@pytest.mark.parametrize("width", [384, 385, 9999])
async def test_a_width_that_the_model_does_not_have(width: int) -> None:
    embedders = Embedders(Opening())
    with pytest.raises(Invalid) as error:
        await embedders.get(f"{SHIPPED}@{width}")
    assert error.value.code == "invalid_dimensions"
    await embedders.close()
