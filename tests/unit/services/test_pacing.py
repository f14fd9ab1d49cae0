import asyncio
from collections.abc import AsyncIterator

import pytest

from app.services.pacing import Cancelled, Coalescer, Tick, paced


async def slow(items: list[str], seconds: float) -> AsyncIterator[str]:
    for item in items:
        yield item
        await asyncio.sleep(seconds)


async def test_items_come_in_order_with_ticks_between() -> None:
    seen = [item async for item in paced(slow(["a", "b"], 0.12), asyncio.Event())]
    assert [item for item in seen if not isinstance(item, Tick)] == ["a", "b"]
    assert Tick.TICK in seen


async def test_cancelling_does_not_wait_for_the_next_item() -> None:
    cancelled = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, cancelled.set)
    began = asyncio.get_running_loop().time()
    seen: list[object] = []

    async def read() -> None:
        async for item in paced(slow(["a", "b"], 30), cancelled):
            seen.append(item)

    with pytest.raises(Cancelled):
        await read()
    assert asyncio.get_running_loop().time() - began < 5
    assert seen[0] == "a"
    assert "b" not in seen


async def test_an_error_of_the_source_comes_through() -> None:
    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        assert [item async for item in paced(broken(), asyncio.Event())]


def test_first_text_at_once_then_at_a_pace() -> None:
    coalescer = Coalescer()
    coalescer.add("Hello ")
    assert coalescer.take(100.0) == "Hello "
    coalescer.add("wor")
    assert coalescer.take(100.01) == ""
    coalescer.add("ld")
    assert coalescer.take(100.06) == "world"
    assert coalescer.take(200.0, all_of_it=True) == ""


def test_clusters_are_never_cut() -> None:
    text = "నమస్కారం 👩‍👩‍👧 क्षि"
    coalescer, pieces = Coalescer(), []
    for i, character in enumerate(text):
        coalescer.add(character)
        pieces.append(coalescer.take(float(i)))
    pieces.append(coalescer.take(0.0, all_of_it=True))
    assert "".join(pieces) == text
    assert not any(piece.startswith(("్", "ా", "ం", "\u200d", "ि", "्")) for piece in pieces)
