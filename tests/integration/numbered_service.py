"""`ragchat` with a language model that says numbered tokens at a steady rate: NUMBERED_TOKENS of them, NUMBERED_RATE a
second. Takes the command line's arguments.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator

from app import cli, runtime
from app.providers.llm import ModelChain
from app.providers.ports import Delta, Finished, Prompt


class NumberedModel:
    name = "numbered"
    window = 8192

    async def stream(self, _prompt: Prompt) -> AsyncIterator[Delta | Finished]:
        count, rate = int(os.environ["NUMBERED_TOKENS"]), float(os.environ["NUMBERED_RATE"])
        due = time.monotonic()
        for number in range(count):
            yield Delta(f"{number} ")
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield Finished("stop", input_tokens=1, output_tokens=count)

    async def close(self) -> None: ...


if __name__ == "__main__":
    runtime.make_models = lambda settings: ModelChain([NumberedModel()])  # noqa: ARG005
    cli.main()
