"""`WS /chat/{session_id}`: the realtime protocol `ragchat.v1`."""

import asyncio
import contextlib
import time
from uuid import UUID

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection

from app.api.connections import Connections
from app.api.deps import parse_id
from app.api.errors import problem
from app.api.guard import authenticate, parse_json
from app.api.outbox import Closing
from app.api.rate_limit import RateLimits
from app.api.sockets import FRAMES_A_MINUTE, POLICY, Counter, Socket
from app.core.caller import Caller
from app.core.errors import Forbidden, Invalid, NotFound, RagchatError, RateLimited, Unauthorized
from app.languages import LANGUAGES, get_language
from app.runtime import Runtime
from app.schemas.events import (
    CLIENT_EVENT,
    CLIENT_TYPES,
    PROTOCOL,
    AnyClientEvent,
    Cancel,
    Hello,
    Ping,
    Resume,
    Retry,
    SessionStart,
    UserMessage,
)
from app.services.auth import auth_expired
from app.services.sessions import session_not_found
from app.services.turns import Question, error_of

router = APIRouter()
MAX_FRAME_BYTES = 128 * 1024
CAPABILITIES = ["chat", "sources", "citations", "cancel", "retry", "resume"]


@router.websocket("/chat/{session_id}")
async def chat(websocket: WebSocket, session_id: str) -> None:
    with contextlib.ExitStack() as places:
        try:
            handler = await _admit(websocket, session_id, places)
        except RagchatError as exc:
            await websocket.send_denial_response(problem(websocket, exc))
            return
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        await handler.serve()


async def _admit(websocket: WebSocket, session_id: str, places: contextlib.ExitStack) -> "Handler":
    """RagchatError when it is refused; its places are given back when the stack is left."""
    runtime: Runtime = websocket.app.state.runtime
    connections: Connections = websocket.app.state.connections
    runtime.draining.refuse_new()
    places.enter_context(connections.place())
    _check_origin(websocket, runtime.settings.origins)
    headers = _with_subprotocol_key(websocket)
    looked_at = time.monotonic()
    caller = await authenticate(runtime.auth, headers)
    limits: RateLimits = websocket.app.state.rate_limits
    await limits.hit(websocket.scope, caller)
    if "chat" not in caller.scopes and "admin" not in caller.scopes:
        raise Forbidden
    session = await runtime.sessions.get(caller, parse_id(session_id, session_not_found()))
    places.enter_context(connections.place_of((caller.tenant_id, session.user_id)))
    runtime.draining.refuse_new()  # it may have begun meanwhile
    socket = Socket(websocket, session.id, connections.ages)
    places.enter_context(connections.open(socket))
    return Handler(runtime, caller, socket, session.id, limits, headers, looked_at)


def _check_origin(connection: HTTPConnection, allowed: frozenset[str]) -> None:
    """Browsers send it, and a foreign page must not ride on anybody's key (cross-site WebSocket hijacking)."""
    origin = connection.headers.get("origin")
    if origin is None:
        return
    host = connection.headers.get("host", "")
    if origin not in allowed and origin not in {f"http://{host}", f"https://{host}"}:
        raise Forbidden(
            "origin_not_allowed",
            "Pages of this origin may not open a socket here; the operator allows it with ALLOWED_ORIGINS.",
        )


def _with_subprotocol_key(websocket: WebSocket) -> Headers:
    """Browsers cannot set headers on a WebSocket; they offer `bearer.<key>` beside the protocol."""
    headers = MutableHeaders(raw=[*websocket.headers.raw])
    for offered in websocket.scope.get("subprotocols", []):
        scheme, _, token = offered.partition(".")
        if scheme == "bearer" and token:
            headers.append("authorization", f"Bearer {token}")
    return headers


class Handler:
    def __init__(
        self,
        runtime: Runtime,
        caller: Caller,
        socket: Socket,
        session_id: UUID,
        limits: RateLimits,
        headers: Headers,
        looked_at: float,
    ) -> None:
        self._runtime = runtime
        self._caller = caller
        self._socket = socket
        self._session_id = session_id
        self._limits = limits
        self._refused_frames = Counter()
        self._headers = headers
        self._looked_at = looked_at
        self._lang = "en"

    async def serve(self) -> None:
        await self._socket.run(asyncio.ensure_future(self._read()))

    async def _read(self) -> None:
        await self._ready()
        async for text in self._socket.frames(self._still_allowed):
            event = self._parse(text) if await self._within_quota() else None
            if event is None:
                continue
            try:
                await self._handle(event)
            except RagchatError as exc:
                self._tell(exc, event.id if isinstance(event, UserMessage) else None)

    async def _within_quota(self) -> bool:
        """Of all sockets of the caller together; the socket has a limit of its own. What is more is not handled."""
        try:
            await self._limits.hit_principal("frames", self._caller)
        except RateLimited as exc:
            count = self._refused_frames.count()
            if count == 1:
                self._tell(exc, None)
            if count > self._limits.quotas["frames"].amount:
                raise Closing(POLICY, "too many frames") from None
            return False
        return True

    async def _still_allowed(self) -> None:
        """Closing when the key was revoked or has expired since, or the session was deleted with its user."""
        self._looked_at = time.monotonic()
        try:
            caller = await authenticate(self._runtime.auth, self._headers)
            await self._runtime.sessions.get(caller, self._session_id)
        except Unauthorized:
            self._socket.send("error", **error_of(auth_expired(), None))
            raise Closing(POLICY, "credential expired") from None
        except NotFound as exc:
            self._tell(exc, None)
            raise Closing(POLICY, "session deleted") from None
        except RagchatError:  # the database is away; the next look will tell
            return

    async def _if_changed(self) -> None:
        """Before a question, whose answer costs something. A look is taken only for a reason."""
        if self._runtime.auth.may_have_ended(self._caller, self._looked_at):
            await self._still_allowed()

    async def _ready(self) -> None:
        settings = self._runtime.settings
        running = await self._runtime.turns.running(self._caller, self._session_id)
        self._socket.send(
            "ready",
            protocol=PROTOCOL,
            content=get_language(self._lang).welcome,
            langs=[*LANGUAGES],
            limits={
                "max_message_chars": settings.max_message_chars,
                "max_frame_bytes": MAX_FRAME_BYTES,
                "max_frames_per_minute": min(FRAMES_A_MINUTE, self._limits.quotas["frames"].amount or FRAMES_A_MINUTE),
                "idle_seconds": settings.ws_idle_seconds,
            },
            capabilities=CAPABILITIES,
            running_turn_id=str(running) if running else None,
        )

    def _parse(self, text: str) -> AnyClientEvent | None:
        """None for a frame that is not one of ours; the client is told, and the socket stays open."""
        try:
            data = parse_json(text)
        except Invalid:
            data = None
        if not isinstance(data, dict) or not isinstance(data.get("type"), str):
            self._socket.bad_frame("bad_frame", "A frame is a JSON object with a `type`.", None)
            return None
        given = data.get("id")
        reply_to = given if isinstance(given, str) and len(given) <= 128 and given.isprintable() else None
        if data["type"] not in CLIENT_TYPES:
            self._socket.bad_frame("unknown_type", "There is no frame of this type.", reply_to)
            return None
        try:
            return CLIENT_EVENT.validate_python({k: v for k, v in data.items() if v is not None})
        except ValidationError as exc:
            names = ", ".join(sorted({str(error["loc"][-1]) for error in exc.errors()}))
            self._socket.bad_frame("bad_frame", f"The frame is not valid: {names[:200]}", reply_to)
            return None

    def _tell(self, exc: RagchatError, reply_to: str | None) -> None:
        self._socket.send("error", **error_of(exc, reply_to))

    async def _handle(self, event: AnyClientEvent) -> None:
        match event:
            case Ping():
                self._socket.send("pong", id=event.id)
            case Hello():
                self._lang = event.lang if event.lang in LANGUAGES else self._lang
                self._socket.send("welcome", content=get_language(self._lang).welcome, code="welcome")
            case SessionStart():
                self._lang = event.lang if event.lang in LANGUAGES else self._lang
                self._socket.send("session_start", content=get_language(self._lang).welcome)
            case UserMessage():
                await self._ask(event)
            case Cancel():
                turn = await self._runtime.turns.cancel(self._caller, event.turn_id)
                if turn.status != "running":  # no `done` is to come, and somebody waits for one
                    self._socket.send("system", content="", code="turn_ended", turn_id=str(turn.id))
            case Retry():
                await self._if_changed()
                await self._limits.hit_principal("chat", self._caller)
                retried = await self._runtime.chat.retry(self._caller, event.turn_id)
                self._socket.follow(self._runtime.turns.frames(self._caller, retried.turn_id))
            case Resume():
                await self._runtime.turns.get(self._caller, event.turn_id)
                self._socket.follow(self._runtime.turns.frames(self._caller, event.turn_id, event.after))

    async def _ask(self, event: UserMessage) -> None:
        await self._if_changed()
        await self._limits.hit_principal("chat", self._caller)
        question = Question(
            session_id=self._session_id,
            content=event.content,
            lang=event.lang,
            use_rag=event.use_rag,
            top_k=event.top_k,
            document_ids=event.document_ids or None,
            client_message_id=event.id,
            final_type="assistant_message" if event.type == "user_message" else "chat_response",
        )
        turn_id = await self._runtime.chat.ask(self._caller, question)
        self._socket.follow(self._runtime.turns.frames(self._caller, turn_id))
