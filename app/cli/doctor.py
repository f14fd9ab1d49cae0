"""`ragchat doctor` says what works, what is missing and how to mend it; `ragchat probe` is for health checks."""

import importlib.util
import json
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import Annotated

import httpx
import typer

from app.cli.common import load_settings, run
from app.core.errors import RagchatError
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.db import migrate
from app.db.engine import ping
from app.providers.storage import LocalStorage
from app.runtime import load_embedder, open_database
from app.worker.heartbeat import is_fresh

LOW_DISK_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` is empty when there is nothing to mend."""

    name: str
    works: bool
    detail: str
    fix: str = ""
    optional: bool = False


def doctor(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Check settings, database, storage and the embedding model."""
    settings = load_settings()
    configure_logging("ERROR", settings.log_format)
    findings = run(lambda: _examine(settings))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        for finding in findings:
            mark = "ok " if finding.works else ("-  " if finding.optional else "NO ")
            typer.echo(f"{mark} {finding.name:<22} {finding.detail}")
            if finding.fix:
                typer.echo(f"    {'':<22} fix: {finding.fix}")
    raise typer.Exit(0 if all(finding.works or finding.optional for finding in findings) else 1)


async def _examine(settings: Settings) -> list[Finding]:
    findings = [
        _python(),
        _key(settings),
        await _storage(settings),
        _disk(settings),
        _embedder(settings),
        _extra(),
    ]
    return [*findings, *await _database(settings)]


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), sys.version.split()[0])


def _key(settings: Settings) -> Finding:
    given = bool(settings.api_key.get_secret_value())
    detail = "from API_KEY" if given else f"made on first start, kept in {settings.data_dir / 'api_key'}"
    return Finding("API key", True, detail)


async def _storage(settings: Settings) -> Finding:
    storage = LocalStorage(settings.data_dir / "files")
    try:
        await storage.open()
        await storage.check()
    except (RagchatError, OSError) as exc:
        fix = f"make {settings.data_dir} writable, or set DATA_DIR"
        return Finding("file storage", False, getattr(exc, "code", "not writable"), fix)
    return Finding("file storage", True, str((settings.data_dir / "files").resolve()))


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(settings.data_dir if settings.data_dir.exists() else ".").free
    return Finding(
        "disk space",
        free > LOW_DISK_BYTES,
        f"{free / 2**30:.1f} GiB free",
        "" if free > LOW_DISK_BYTES else "free some",
    )


def _embedder(settings: Settings) -> Finding:
    name = settings.sentence_transformer_model
    try:
        embedder = load_embedder(settings)
    except RagchatError as exc:
        return Finding("embedding model", False, name, exc.detail)
    return Finding("embedding model", True, f"{embedder.name}, {embedder.dimensions} dimensions")


def _extra() -> Finding:
    found = importlib.util.find_spec("sentence_transformers") is not None
    detail = "installed" if found else "not installed; only needed for other embedding models"
    return Finding("embeddings extra", found, detail, "" if found else "make embeddings", optional=True)


async def _database(settings: Settings) -> list[Finding]:
    own = bool(settings.database_url.get_secret_value())
    name = "database" if own else "embedded database"
    try:
        async with open_database(settings) as engine:
            await ping(engine)
            found = await migrate.current_revision(engine)
    except RagchatError as exc:
        return [Finding(name, False, exc.detail, "check DATABASE_URL" if own else "look into the log it names")]
    head = migrate.head_revision()
    fix = "" if found == head else "ragchat migrate"
    return [
        Finding(name, True, "answers"),
        Finding("migrations", found == head, f"at {found or 'none'}, newest {head}", fix),
    ]


def probe(
    worker: Annotated[bool, typer.Option("--worker", help="Ask for the worker instead of the API.")] = False,
) -> None:
    """Exit with 0 when the service on HOST:PORT is ready (or the worker on DATA_DIR lives), else with 1."""
    settings = load_settings()
    raise typer.Exit(0 if (is_fresh(settings.data_dir) if worker else _answers(settings)) else 1)


def _answers(settings: Settings) -> bool:
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  compared, not bound
    try:
        return httpx.get(f"http://{host}:{settings.port}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
