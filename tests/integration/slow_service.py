"""`ragchat serve` with a model that takes its time: `count 40 at 50` is forty words, one every 50 milliseconds.

As a program of its own: signals, sockets and exit codes are those of the real one.
"""

import asyncio
import dataclasses
import re
import socket
from collections.abc import AsyncIterator

from app.cli.server import Server
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.providers.llm import ModelChain
from app.providers.ports import Delta, Finished, Prompt
from app.runtime import Runtime
from app.services.answering import Answering
from app.services.chat import ChatService
from app.services.draining import Draining
from app.services.live_turns import LiveTurns
from app.services.turns import TurnService
from tests.fakes import WORDY

ASKED = re.compile(r"(when it stops )?count (\d+) at (\d+)(?: by (\d+))?")


class CountingModel:
    """`by 1000` makes each word so long; `when it stops count 3 at 0` begins when the service has been told to stop."""

    name = "counting"
    window = 8192

    def __init__(self, draining: Draining) -> None:
        self._draining = draining

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta | Finished]:
        asked = ASKED.search(prompt.messages[-1].content)
        waits, *numbers = asked.groups() if asked else (None, 3, 0, 0)
        count, milliseconds, length = (int(number or 0) for number in numbers)
        while waits and not self._draining.begun:
            await asyncio.sleep(0.01)
        for number in range(count):
            yield Delta(f"w{number} ".ljust(length, "x"))
            await asyncio.sleep(milliseconds / 1000)
        yield Finished("stop", input_tokens=10, output_tokens=count)

    async def close(self) -> None: ...


class SlowServer(Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        state = self._app.state
        state.runtime = with_model(state.runtime)
        await super().startup(sockets)


def with_model(runtime: Runtime) -> Runtime:
    live = LiveTurns()
    turns = TurnService(runtime.uow, live)
    answering = Answering(ModelChain([CountingModel(runtime.draining)], budgets=WORDY))
    chat = ChatService(
        runtime.uow, turns, live, runtime.retrieval, answering, top_k=3, max_chars=8000, draining=runtime.draining,
    )  # fmt: skip
    return dataclasses.replace(runtime, turns=turns, chat=chat)


def main() -> None:
    settings = Settings()
    configure_logging(settings.log_level, "json")
    with socket.create_server((settings.host, settings.port)) as listening:
        asyncio.run(SlowServer(settings, migrate=True).live(listening))


if __name__ == "__main__":
    main()
