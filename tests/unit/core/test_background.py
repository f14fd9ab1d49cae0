import asyncio
import contextlib

import pytest

from app.core.background import cancel, in_background, run_together


async def slow_to_end(began: asyncio.Event) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        began.set()
        await asyncio.sleep(0.05)
        raise


async def work_in_a_loop(ending: asyncio.Event) -> None:
    while True:
        async with in_background(slow_to_end(ending)):
            await asyncio.sleep(0)


async def test_a_cancellation_that_comes_while_the_background_ends_is_not_lost() -> None:
    ending = asyncio.Event()
    task = asyncio.create_task(work_in_a_loop(ending))
    await ending.wait()  # in the block's exit now
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done
    assert task.cancelled()


async def test_cancel_waits_for_the_end_whatever_it_is() -> None:
    async def fails() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError

    ending = asyncio.Event()
    tasks = [asyncio.create_task(fails()), asyncio.create_task(slow_to_end(ending))]
    await asyncio.sleep(0)
    await cancel(*tasks)
    assert [task.done() for task in tasks] == [True, True]


async def test_cancel_waits_even_when_the_caller_is_cancelled() -> None:
    ending = asyncio.Event()
    task = asyncio.create_task(slow_to_end(ending))
    await asyncio.sleep(0)
    caller = asyncio.create_task(cancel(task))
    await ending.wait()
    caller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await caller
    assert (caller.cancelled(), task.done()) == (True, True)


async def test_what_fails_in_the_background_is_raised() -> None:
    async def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        async with in_background(fails()):
            await asyncio.sleep(0.01)


async def test_the_first_failure_cancels_the_others() -> None:
    ending = asyncio.Event()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError

    with pytest.raises(KeyError):
        await run_together(slow_to_end(ending), fails())
    assert ending.is_set()
