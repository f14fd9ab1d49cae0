"""The two servers that benchmarks/streaming.py compares; each runs in a process of its own, on a free port.

    python -m benchmarks.streaming_servers bare|ragchat RATE TOKENS FOLDER

Prints its address once it answers, and for ragchat the API key.
"""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from app import runtime
from app.core.logging import configure_logging
from app.core.security import development_key
from app.core.settings import Settings
from app.main import create_app
from app.providers.llm import ModelChain
from app.providers.ports import Delta, Finished, Prompt


async def paced(rate: float, count: int) -> AsyncIterator[str]:
    """Numbered tokens on a schedule: one that was late does not delay the next. The first tells when it was said."""
    due = time.perf_counter()
    for number in range(count):
        yield f"w{number} " if number else f"t{time.perf_counter_ns()} "
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


class PacedModel:
    """In place of a language model."""

    name = "paced"
    window = 8192
    rate = 50.0
    count = 500

    async def stream(self, _prompt: Prompt) -> AsyncIterator[Delta | Finished]:
        async for token in paced(self.rate, self.count):
            yield Delta(token)
        yield Finished("stop")

    async def close(self) -> None: ...


def bare(rate: float, count: int) -> Starlette:
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()
        number = 0
        async for token in paced(rate, count):
            number += 1
            await websocket.send_text(f'{{"type":"delta","seq":{number},"text":"{token}"}}')
        await websocket.send_text('{"type":"done"}')
        await websocket.receive()

    return Starlette(routes=[WebSocketRoute("/", stream)])


class Announcing(uvicorn.Server):
    key = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], self.key, flush=True)


def main() -> None:
    which, rate, count, folder = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    configure_logging("WARNING", "json")
    Announcing.key = ""
    if which == "bare":
        app: object = bare(rate, count)
    else:
        PacedModel.rate, PacedModel.count = rate, count
        runtime.make_models = lambda settings: ModelChain([PacedModel()])  # noqa: ARG005
        Announcing.key = development_key(folder)[0]
        app = create_app(Settings(_env_file=None, data_dir=folder, log_level="WARNING"))
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        port=0,
        log_config=None,
        access_log=False,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
    )
    Announcing(config).run()


if __name__ == "__main__":
    main()
