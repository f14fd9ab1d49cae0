"""`ragchat serve`, `ragchat worker`, `ragchat migrate`."""

import asyncio
import signal
import socket
from typing import Annotated

import typer
import uvicorn

from app.api.routers.chat_ws import MAX_FRAME_BYTES
from app.cli.common import load_settings, run, stop
from app.core.logging import configure_logging, get_logger
from app.core.security import development_key
from app.core.settings import Settings
from app.db import migrate as migrations
from app.main import create_app
from app.runtime import open_database, open_runtime
from app.worker.heartbeat import beating
from app.worker.runner import Worker

KEEP_ALIVE_SECONDS = 30
SHUTDOWN_SECONDS = 20


def serve(
    host: Annotated[str | None, typer.Option(help="Default: HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: PORT.")] = None,
    worker: Annotated[bool | None, typer.Option(help="Index documents in this process, too.")] = None,
    migrate: Annotated[bool, typer.Option(help="Bring the database up to date first.")] = True,
) -> None:
    """Serve the API; by default with the database migrated and a worker inside."""
    settings = load_settings(host=host, port=port, worker_in_process=worker)
    configure_logging(settings.log_level, settings.log_format)
    listening = _bind(settings)
    lines = _banner(settings)
    config = uvicorn.Config(
        create_app(settings, migrate=migrate),
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config, lines)
    for name in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again when it has shut down; that must not turn a clean end into a failure
        signal.signal(name, signal.SIG_IGN if name is signal.SIGINT else lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets=[listening])
    if not server.started:
        raise typer.Exit(1)


class _Server(uvicorn.Server):
    """Says where it is once it answers."""

    def __init__(self, config: uvicorn.Config, lines: list[str]) -> None:
        super().__init__(config)
        self._lines = lines

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            typer.echo("\n".join(self._lines))


def _bind(settings: Settings) -> socket.socket:
    """Before anything is loaded, so that a port in use is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError:
        stop(f"Port {settings.port} on {settings.host} is in use or not allowed; choose another: PORT=8001")
    listening.set_inheritable(True)
    return listening


def _banner(settings: Settings) -> list[str]:
    shown = "localhost" if settings.host in {"127.0.0.1", "0.0.0.0", "::"} else settings.host  # noqa: S104  display only
    address = f"{shown}:{settings.port}"
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


def worker() -> None:
    """Index documents in a process of its own; any number may run."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    run(lambda: _work(settings))


async def _work(settings: Settings) -> None:
    async with open_runtime(settings, migrate_first=False) as runtime, beating(settings.data_dir):
        task = asyncio.create_task(Worker(runtime, concurrency=settings.worker_concurrency).run())
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(name, task.cancel)
        get_logger(__name__).info("worker.ready")
        await asyncio.wait({task})


def migrate() -> None:
    """Bring the database up to date; one process at a time does it."""
    settings = load_settings()
    configure_logging("WARNING", settings.log_format)
    typer.echo(f"database is at revision {run(lambda: _migrate(settings))}")


async def _migrate(settings: Settings) -> str | None:
    async with open_database(settings) as engine:
        await migrations.upgrade(engine)
        return await migrations.current_revision(engine)
