import asyncio
from collections.abc import AsyncIterator

import pytest

from app.services.pacing import Cancelled, Outgoing, clean, pump


async def slow(items: list[str], seconds: float) -> AsyncIterator[str]:
    for item in items:
        yield item
        await asyncio.sleep(seconds)


async def test_every_item_in_order() -> None:
    seen: list[str] = []
    await pump(slow(["a", "b", "c"], 0.01), seen.append, asyncio.Event())
    assert seen == ["a", "b", "c"]


async def test_cancelling_does_not_wait_for_the_next_item_and_ends_the_source() -> None:
    cancelled, ended = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.sleep(30)
            yield "b"
        finally:
            ended.set()

    asyncio.get_running_loop().call_later(0.05, cancelled.set)
    async with asyncio.timeout(5):
        with pytest.raises(Cancelled):
            await pump(source(), seen.append, cancelled)
    assert seen == ["a"]
    assert ended.is_set()


async def test_an_error_of_the_source_comes_through() -> None:
    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise ValueError("broken")

    seen: list[str] = []
    with pytest.raises(ValueError, match="broken"):
        await pump(broken(), seen.append, asyncio.Event())
    assert seen == ["a"]


def test_clusters_are_never_cut() -> None:
    text = "నమస్కారం 👩‍👩‍👧 क्षि"
    outgoing, pieces = Outgoing(), []
    for character in text:
        outgoing.add(character)
        pieces.append(outgoing.take(str))
    pieces.append(outgoing.take(str, all_of_it=True))
    assert "".join(pieces) == text
    assert not any(piece.startswith(("్", "ా", "ం", "\u200d", "ి", "्")) for piece in pieces)


def test_each_character_is_composed_once() -> None:
    outgoing, seen = Outgoing(), []

    def compose(text: str) -> str:
        seen.append(text)
        return text.upper()

    outgoing.add("ab")
    outgoing.add("cé")
    assert outgoing.take(compose) == "ABC"
    assert outgoing.take(compose) == ""
    assert outgoing.take(compose, all_of_it=True) == "É"
    assert seen == ["abcé"]


def test_what_cannot_be_stored_is_replaced() -> None:
    assert clean("plain") == "plain"
    assert clean("a\x00b\ud800c నమ") == "a\ufffdb\ufffdc నమ"
