"""The HTTP server as `ragchat serve` runs it: its limits, its signals, and what it says once it answers."""

import asyncio
import contextlib
import math
import signal
import socket
import time
from collections.abc import Iterator

import typer
import uvicorn

from app.api.connections import begin_draining, drain
from app.api.http_protocol import BoundedHttp
from app.api.routers.chat_ws import MAX_FRAME_BYTES
from app.api.ws_protocol import BoundedWebSocket
from app.core.security import development_key
from app.core.settings import Settings
from app.main import create_app

KEEP_ALIVE_SECONDS = 30
LAST_SECONDS = 1.0
"""For requests in flight when the time for draining is over."""


class Server(uvicorn.Server):
    """Says where it is once it answers. Signals are heard from the first moment: they end a start that waits, too.

    The application's lifespan is opened here and not by uvicorn, which would log a traceback for each refused start.
    """

    def __init__(self, settings: Settings, *, migrate: bool) -> None:
        self._settings = settings
        self._app = create_app(settings, migrate=migrate)
        self._lines: list[str] = []
        self._hurry = asyncio.Event()
        self._stop_by = 0.0
        self.stopping = False
        super().__init__(
            uvicorn.Config(
                self._app,
                lifespan="off",
                http=BoundedHttp,
                ws=BoundedWebSocket,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # TRUSTED_PROXIES says whom to believe; uvicorn would believe whoever is local
                ws_max_size=MAX_FRAME_BYTES,
                ws_per_message_deflate=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )

    async def live(self, listening: socket.socket) -> None:
        """Until a signal. RagchatError when a part cannot be opened, CancelledError when stopped before it is ready."""
        task = asyncio.current_task()
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(name, lambda: self._on_signal(task))
        self._lines = _banner(self._settings)
        async with self._app.router.lifespan_context(self._app):
            await self.serve(sockets=[listening])

    def _on_signal(self, task: asyncio.Task[None] | None) -> None:
        """The first asks for a gentle end, the second does not wait for clients."""
        if self.started and self.should_exit:
            self.force_exit = True
            self._hurry.set()
        elif self.started:
            self._begin_to_stop()
        elif task is not None and not self.stopping:  # once: a second one would break off the stopping of the database
            task.cancel()
        self.stopping = True

    def _begin_to_stop(self) -> None:
        """Before uvicorn looks: it would close WebSockets at once."""
        self.should_exit = True
        self._stop_by = time.monotonic() + self._settings.drain_seconds
        begin_draining(self._app)
        running = self._app.state.runtime.chat.running
        if running:
            said = f"answers on their way: {running}; waiting up to {self._settings.drain_seconds:g} seconds for them"
            typer.echo(f"{said} (another Ctrl-C ends them)", err=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        typer.echo("\n".join(self._lines))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn calls it when its main loop ends; the server still listens, and tells whoever comes that it stops."""
        await drain(self._app, self._stop_by - time.monotonic(), self._hurry)
        left = max(LAST_SECONDS, self._stop_by - time.monotonic())
        self.config.timeout_graceful_shutdown = math.ceil(left)
        await super().shutdown(sockets)


def _banner(settings: Settings) -> list[str]:
    shown = "localhost" if settings.host in {"127.0.0.1", "0.0.0.0", "::"} else settings.host  # noqa: S104  display only
    address = f"[{shown}]:{settings.port}" if ":" in shown else f"{shown}:{settings.port}"
    lines = [
        "",
        "  ragchat is ready",
        f"  explorer    http://{address}/docs",
        f"  websocket   ws://{address}/chat/{{session_id}}",
        f"  data        {settings.data_dir.resolve()}",
    ]
    if not settings.api_key.get_secret_value():
        key, created = development_key(settings.data_dir)
        place = settings.data_dir / "api_key"
        lines.append(f"  API key     {key}  (new; kept in {place})" if created else f"  API key     in {place}")
    return [*lines, "  stop        Ctrl-C", ""]
