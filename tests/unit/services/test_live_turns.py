import asyncio

from app.core.ids import new_id
from app.services.live_turns import LiveTurns


async def test_everybody_sees_everything_once_whenever_they_come() -> None:
    live = LiveTurns()
    turn = live.open(new_id(), new_id())

    async def follow(after: int) -> list[int]:
        return [event["seq"] async for event in turn.follow(after)]

    early = [asyncio.create_task(follow(after)) for after in (0, 0, 7)]
    for seq in range(1, 6):
        turn.publish([{"seq": 2 * seq - 1}, {"seq": 2 * seq}])
        await asyncio.sleep(0)
    late = asyncio.create_task(follow(3))
    await asyncio.sleep(0)
    live.close(turn)
    assert [await task for task in early] == [[*range(1, 11)], [*range(1, 11)], [8, 9, 10]]
    assert await late == [*range(4, 11)]
    assert live.get(turn.turn_id) is None
    assert await follow(8) == [9, 10]
