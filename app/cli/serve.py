"""`ragchat serve`. Settings, port and folder are looked at before the service itself is even imported."""

import asyncio
import errno
import socket
from typing import NoReturn

import typer

from app.cli.common import NO_START, load_settings, require_data_folder, stop
from app.core.errors import RagchatError
from app.core.logging import catch_strays, configure_logging
from app.core.settings import Settings


def serve(host: str | None, port: int | None, worker: bool | None, *, migrate: bool) -> None:
    settings = load_settings(host=host, port=port, worker_in_process=worker)
    configure_logging(settings.log_level, settings.log_format)
    catch_strays()
    with _bind(settings) as listening:
        require_data_folder(settings)
        from app.cli.server import Server

        server = Server(settings, migrate=migrate)
        try:
            with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                runner.run(server.live(listening))
        except (Exception, asyncio.CancelledError) as exc:  # the top of the process
            if not server.stopping:  # else it is what breaking off the start looks like
                _refuse(exc)
        if not server.started:
            typer.echo("stopped before it was ready", err=True)


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as exc:
        listening.close()
        if exc.errno == errno.EADDRINUSE:
            other = 8001 if settings.port != 8001 else 8002
            stop(f"{NO_START}port {settings.port} on {settings.host} is in use; choose another: PORT={other}")
        stop(f"{NO_START}cannot listen on HOST={settings.host} PORT={settings.port}: {exc.strerror}.")
    return listening


def _refuse(exc: BaseException) -> NoReturn:
    if isinstance(exc, RagchatError):
        stop(NO_START + exc.detail)
    if isinstance(exc, OSError):
        stop(f"{NO_START}{exc.strerror or exc}{f': {exc.filename}' if exc.filename else ''}")
    raise exc
