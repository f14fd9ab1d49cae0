"""`ragchat probe`, for health checks: quick, one line, an exit code."""

import http.client

import typer

from app.cli.common import load_settings
from app.core.settings import Settings
from app.worker.heartbeat import is_fresh

ANSWER_SECONDS = 5.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not bound


def probe(*, worker: bool) -> None:
    settings = load_settings()
    ready = is_fresh(settings.data_dir) if worker else answers(settings)
    typer.echo("ready" if ready else "not ready")
    raise typer.Exit(0 if ready else 1)


def answers(settings: Settings) -> bool:
    """Whether the service on HOST:PORT says that it is ready."""
    host = EVERYWHERE.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
