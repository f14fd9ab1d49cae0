"""Takes requests, and plays the steps of their mode in the wire format that they are in."""

import asyncio
import contextlib
from typing import Any

from tools.stand_in.bedrock import BedrockWire
from tools.stand_in.http import HEAD_BYTES, Connection, Request
from tools.stand_in.modes import MODES, PREFIX, Asked, Options, options_for, parse, run
from tools.stand_in.openai import OpenAIWire
from tools.stand_in.record import Record
from tools.stand_in.steps import Cut, Damage, End, Fail, Garbage, Hang, Refuse, Say, Stop
from tools.stand_in.wire import Usage, Wire

COMPLETIONS = "/v1/chat/completions"


class StandIn:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._modes: dict[str, Options] = {}
        """Of models whose mode was set over HTTP."""
        self._record = Record()
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._connected, host, port, limit=HEAD_BYTES, backlog=1024)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        with contextlib.suppress(ConnectionError):
            while (request := await connection.read()) is not None:
                if not await self._answer(connection, request):
                    break
        writer.close()

    async def _answer(self, connection: Connection, request: Request) -> bool:
        """False when the connection is of no more use."""
        try:
            found = _asked(request)
            if found is not None:
                return await self._play(connection, request, *found)
            body = self._control(request)
        except ValueError as exc:  # not JSON, or no such mode
            await connection.answer(400, {"message": str(exc), "error": {"message": str(exc)}})
            return True
        await connection.answer(200 if body is not None else 404, body or {})
        return True

    def _control(self, request: Request) -> dict[str, Any] | None:
        match request.method, request.path.split("/")[1:]:
            case "GET", ["v1", "models"]:
                models = ["stand-in", *(PREFIX + mode for mode in MODES)]
                return {"object": "list", "data": [{"id": id_, "object": "model"} for id_ in models]}
            case "GET", ["_requests"]:
                return self._record.shown()
            case "DELETE", ["_requests"]:
                self._record.clear()
                return {"cleared": True}
            case "PUT", ["_mode", *model]:
                options = parse(request.body.decode(), self._options)
                if model:
                    self._modes["/".join(model)] = options
                else:
                    self._options = options
                return {"mode": options.mode}
        return None

    async def _play(self, connection: Connection, request: Request, model: str, wire: Wire, stream: bool) -> bool:
        body = request.json()
        asked = self._record.add(model, request.headers, body)
        options = self._modes.get(model) or options_for(model, self._options)
        player = _Player(connection, wire, Usage(len(request.body.split())), stream=stream)
        playing = asyncio.ensure_future(player.play(Asked(options, body, asked.count)))
        leaving = asyncio.ensure_future(connection.gone())
        asked.open += 1
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            try:
                if playing.done():
                    return playing.result()
            except ConnectionError:
                pass
            asked.hung_up += 1
            return False
        finally:
            asked.open -= 1
            for task in (playing, leaving):
                task.cancel()
            await asyncio.wait({playing, leaving})


def _asked(request: Request) -> tuple[str, Wire, bool] | None:
    """(model, format, streamed); None when it is not a question. ValueError"""
    if request.method != "POST":
        return None
    if request.path == COMPLETIONS:
        body = request.json()
        model, options = str(body.get("model")), body.get("stream_options") or {}
        return model, OpenAIWire(model, usage=bool(options.get("include_usage"))), bool(body.get("stream"))
    if request.path.startswith("/model/") and request.path.endswith(("/converse", "/converse-stream")):
        model, _, operation = request.path.removeprefix("/model/").rpartition("/")
        return model, BedrockWire(), operation == "converse-stream"
    return None


class _Player:
    """One answer. Headers are sent with the first step that needs them."""

    def __init__(self, connection: Connection, wire: Wire, usage: Usage, *, stream: bool) -> None:
        self._connection = connection
        self._wire = wire
        self._usage = usage
        self._stream = stream
        self._begun = False

    async def play(self, asked: Asked) -> bool:
        """False when the connection is of no more use."""
        async with contextlib.aclosing(run(asked)) as steps:
            async for step in steps:
                match step:
                    case Refuse():
                        await self._refuse(step)
                    case Hang():
                        await asyncio.Event().wait()
                    case Cut():
                        self._connection.cut()
                        return False
                    case _:
                        await (self._streamed(step) if self._stream else self._whole(step))
        return True

    async def _refuse(self, step: Refuse) -> None:
        answer = self._wire.refusal(step)
        await self._connection.answer(answer.status, answer.body, answer.headers)

    async def _streamed(self, step: Say | Stop | Fail | Damage | Garbage | End) -> None:
        raw = isinstance(step, Garbage) or (isinstance(step, End) and not self._begun)
        if not self._begun:
            self._connection.begin(self._wire.content_type)
            self._begun = True
            if not raw:
                await self._connection.write(self._wire.begin())
        match step:
            case Say() | Fail() | Damage():
                self._usage.output_tokens += 1
                await self._connection.write(self._wire.event(step))
            case Garbage():
                await self._connection.write(step.data)
            case Stop():
                for event in self._wire.end(step, self._usage):
                    await self._connection.write(event)
        if not isinstance(step, Say | Garbage):
            await self._connection.end()

    async def _whole(self, step: Say | Stop | Fail | Damage | Garbage | End) -> None:
        match step:
            case Say():
                self._usage.output_tokens += 1
                self._usage.text.append(step.text)
            case Stop():
                await self._connection.answer(200, self._wire.whole(step, self._usage))
            case Fail() | Damage():
                await self._refuse(Refuse(step.kind if isinstance(step, Fail) else "unavailable"))
            case Garbage():
                self._begun = True
                self._connection.begin("application/json")
                await self._connection.write(step.data)
            case End():
                if not self._begun:
                    self._connection.begin("application/json")
                await self._connection.end()
