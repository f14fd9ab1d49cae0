"""`ragchat` with a language model that says numbered tokens at a steady rate: NUMBERED_TOKENS of them, NUMBERED_RATE a
second. Takes the command line's arguments.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator

from app import cli, runtime
from app.providers.ports import Delta, Finished, Generation


class NumberedModel:
    name = "numbered"
    is_llm = True

    async def generate(self, _request: Generation) -> AsyncIterator[Delta | Finished]:
        count, rate = int(os.environ["NUMBERED_TOKENS"]), float(os.environ["NUMBERED_RATE"])
        due = time.monotonic()
        for number in range(count):
            yield Delta(f"{number} ")
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield Finished("stop", input_tokens=1, output_tokens=count)


if __name__ == "__main__":
    runtime.ExtractiveModel = NumberedModel  # type: ignore[attr-defined, assignment]
    cli.main()
