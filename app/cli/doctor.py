"""`ragchat doctor` says what works, what is missing and how to mend it. It makes and changes nothing."""

import importlib.util
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from app.cli.common import load_settings, run, writable_parent
from app.cli.probe import answers
from app.core.errors import RagchatError
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.db import migrate
from app.db.connection import APPLICATION
from app.db.embedded import is_made, require_programs
from app.db.engine import Database, pgvector_version, ping
from app.db.row_security import is_separate, require_wall, wall_fix
from app.providers.embedding import open_embedder
from app.runtime import make_storage, open_database

LOW_DISK_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` is empty when there is nothing to mend. What is `optional` is nobody's fault when it does not work."""

    name: str
    works: bool
    detail: str
    fix: str = ""
    optional: bool = False

    @property
    def mark(self) -> str:
        return "ok" if self.works else "-" if self.optional else "NO"


def doctor(*, as_json: bool) -> None:
    settings = load_settings()
    configure_logging("ERROR", settings.log_format)
    findings = run(lambda: _examine(settings))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        _show(findings)
    raise typer.Exit(0 if all(finding.works or finding.optional for finding in findings) else 1)


def _show(findings: list[Finding]) -> None:
    for finding in findings:
        typer.echo(f"{finding.mark:<3} {finding.name:<18} {finding.detail}")
        if finding.fix:
            typer.echo(f"    {'':<18} fix: {finding.fix}")


async def _examine(settings: Settings) -> list[Finding]:
    findings = [_python(), _key(settings), await _storage(settings), _disk(settings), _embedder(settings), _extra()]
    return [*findings, *await _database(settings), _service(settings)]


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), sys.version.split()[0])


def _key(settings: Settings) -> Finding:
    place = settings.data_dir / "api_key"
    if settings.api_key.get_secret_value():
        return Finding("API key", True, "from API_KEY")
    return Finding("API key", True, f"in {place}" if place.exists() else f"the first start makes one, in {place}")


async def _storage(settings: Settings) -> Finding:
    folder = settings.data_dir / "files"
    if not writable_parent(folder):
        fix = f"make {settings.data_dir} writable, or set DATA_DIR"
        return Finding("file storage", False, f"{folder} cannot be written", fix)
    if settings.s3_bucket:  # files pass through the folder all the same
        return await _bucket(settings)
    return Finding("file storage", True, str(folder.resolve()) + ("" if folder.exists() else ", made on first start"))


async def _bucket(settings: Settings) -> Finding:
    """Asked from a folder that goes again: nothing is made in DATA_DIR."""
    detail = f"bucket {settings.s3_bucket}"
    with tempfile.TemporaryDirectory() as folder:
        storage = make_storage(settings, Path(folder))
        await storage.open()
        try:
            await storage.check()
        except RagchatError as exc:
            fix = "look at S3_BUCKET, S3_ENDPOINT_URL, AWS_REGION and the credentials"
            return Finding("file storage", False, f"{detail}: {exc.detail}", fix)
        finally:
            await storage.close()
    return Finding("file storage", True, detail)


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.resolve()
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    enough = free > LOW_DISK_BYTES
    return Finding("disk space", enough, f"{free / 2**30:.1f} GiB free", "" if enough else "free some")


def _embedder(settings: Settings) -> Finding:
    name = settings.sentence_transformer_model
    try:
        embedder = open_embedder(settings.sentence_transformer_model, precision=settings.embedding_precision)
    except RagchatError as exc:
        return Finding("embedding model", False, name, exc.detail)
    return Finding("embedding model", True, f"{embedder.name}, {embedder.dimensions} dimensions")


def _extra() -> Finding:
    found = importlib.util.find_spec("sentence_transformers") is not None
    detail = "installed" if found else "not installed; only other embedding models need it: make embeddings"
    return Finding("embeddings extra", found, detail, optional=True)


async def _database(settings: Settings) -> list[Finding]:
    own = bool(settings.database_url.get_secret_value())
    name = "database" if own else "embedded database"
    fix = "check DATABASE_URL" if own else "look into the log it names, or set DATABASE_URL"
    try:
        if not own and not is_made(settings.data_dir / "postgres"):
            require_programs()
            return [Finding(name, True, "the first start makes it")]
        async with open_database(settings) as database:
            await ping(database.owner)
            vector = await pgvector_version(database.owner)
            found = await migrate.current_revision(database.owner)
            wall = [await _wall(database)] if found == migrate.head_revision() else []
    except RagchatError as exc:
        return [Finding(name, False, exc.detail, fix)]
    return [Finding(name, True, "answers"), _pgvector(vector), _migrations(found), *wall]


def _pgvector(version: str | None) -> Finding:
    if version is None:
        return Finding("pgvector", False, "not installed in this PostgreSQL", "install pgvector 0.8 or newer there")
    return Finding("pgvector", True, version)


async def _wall(database: Database) -> Finding:
    name = "row security"
    try:
        await require_wall(database.app)
    except RagchatError as exc:
        return Finding(name, False, exc.detail, await wall_fix(database.owner, exc))
    alone = "" if await is_separate(database) else "; the login of DATABASE_URL owns the tables, see docs/tenancy.md"
    return Finding(name, True, f"in force for {APPLICATION}{alone}")


def _migrations(found: str | None) -> Finding:
    head = migrate.head_revision()
    if found == head:
        return Finding("migrations", True, f"at {found}, the newest")
    if found is None or migrate.is_known(found):
        return Finding("migrations", False, f"at {found or 'none'}; the next start brings it to {head}", optional=True)
    return Finding("migrations", False, f"{found} is newer than this program ({head})", "use a newer ragchat")


def _service(settings: Settings) -> Finding:
    running = answers(settings)
    where = f"port {settings.port}"
    return Finding("service", running, f"ready on {where}" if running else f"not running on {where}", optional=True)
