import asyncio

from app.core.caller import Caller
from app.core.ids import new_id
from app.services.live_turns import WINDOW, LiveTurn, LiveTurns

MINE = Caller(new_id(), "ravi")


def opened(live: LiveTurns) -> LiveTurn:
    return live.open(new_id(), new_id(), MINE, owner="ravi")


def speak(turn: LiveTurn, count: int) -> None:
    turn.publish([turn.number_delta("word ") for _ in range(count)])


async def test_everybody_sees_everything_once_whenever_they_come() -> None:
    live = LiveTurns()
    turn = opened(live)

    async def follow(after: int) -> list[int]:
        seen = []
        while frames := await turn.after(after):
            seen += [frame.seq for frame in frames]
            after = seen[-1]
        return seen

    early = [asyncio.create_task(follow(after)) for after in (0, 0, 7)]
    for _ in range(5):
        speak(turn, 2)
        await asyncio.sleep(0)
    late = asyncio.create_task(follow(3))
    await asyncio.sleep(0)
    live.close(turn)
    assert [await task for task in early] == [[*range(1, 11)], [*range(1, 11)], [8, 9, 10]]
    assert await late == [*range(4, 11)]
    assert live.get(turn.turn_id) is None
    assert await follow(8) == [9, 10]


async def test_memory_is_bounded_and_says_what_it_no_longer_has() -> None:
    turn = opened(LiveTurns())
    for _ in range(100):
        speak(turn, 7)
    assert await turn.after(0) is None
    assert await turn.after(700 - 2 * WINDOW - 7) is None
    assert [frame.seq for frame in await turn.after(700 - WINDOW) or []] == [*range(701 - WINDOW, 701)]


def test_whose_it_is() -> None:
    turn = opened(LiveTurns())
    assert turn.is_of(MINE)
    assert turn.is_of(Caller(MINE.tenant_id))
    assert not turn.is_of(Caller(MINE.tenant_id, "asha"))
    assert not turn.is_of(Caller(new_id()))
    assert not turn.is_of(Caller(new_id(), "ravi"))
