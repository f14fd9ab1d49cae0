"""`ragchat ingest`: adds files and folders, and sees them through."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from app.cli.common import load_settings, run, stop
from app.cli.parts import command_runtime
from app.core.caller import Caller
from app.core.errors import RagchatError, Unavailable
from app.core.settings import Settings
from app.readers.suffixes import ALLOWED_SUFFIXES
from app.runtime import Runtime
from app.schemas.documents import DocumentFields, DocumentOut, Progress
from app.services.documents import Upload
from app.worker.runner import running_worker

BLOCK_BYTES = 1 << 18
POLL_SECONDS = 0.3
ENDED = {"ready", "failed"}


def ingest(paths: list[Path], collection: str | None, *, as_json: bool) -> None:
    files = _find(paths)
    if not files:
        stop(f"no documents found; supported: {', '.join(ALLOWED_SUFFIXES)}")
    settings = load_settings()
    report = Report(len(files), as_json=as_json)
    run(lambda: Ingest(settings, collection, report).add(files))
    report.close()
    raise typer.Exit(1 if report.failed else 0)


def _find(paths: list[Path]) -> list[Path]:
    """Named files as they are; in folders those with a suffix that we read, hidden ones left out; each once."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in ALLOWED_SUFFIXES and p.is_file())
            found |= {p: None for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)}
        elif path.is_file():
            found[path] = None
        else:
            stop(f"there is no file or folder {path}")
    return [*found]


class Ingest:
    def __init__(self, settings: Settings, collection: str | None, report: "Report") -> None:
        self._settings = settings
        self._collection = collection
        self._report = report
        self._waiting: dict[UUID, list[Path]] = {}
        """Two files of the same bytes are one document."""

    async def add(self, files: list[Path]) -> None:
        concurrency = self._settings.worker_concurrency
        async with (
            command_runtime(self._settings) as (runtime, caller),
            running_worker(runtime, concurrency=concurrency),
        ):
            with self._report.bar:
                for path in files:
                    await self._add(runtime, caller, path)
                await self._see_through(runtime, caller)

    async def _add(self, runtime: Runtime, caller: Caller, path: Path) -> None:
        upload = Upload(DocumentFields(collection=self._collection), path.name, _blocks(path), {})
        try:
            document, _ = await runtime.documents.create(caller, upload)
        except Unavailable:
            raise
        except RagchatError as exc:
            self._report.refused(path, exc.code, exc.detail)
        except OSError as exc:
            self._report.refused(path, "unreadable", f"The file cannot be read: {exc.strerror}.")
        else:
            if document.status == "ready":
                self._report.ended(path, document, already=True)
            else:
                self._waiting.setdefault(document.id, []).append(path)

    async def _see_through(self, runtime: Runtime, caller: Caller) -> None:
        while self._waiting:
            in_work = []
            for id_ in [*self._waiting]:
                document = await runtime.documents.get(caller, id_)
                in_work.append(document.progress)
                if document.status in ENDED:
                    first, *others = self._waiting.pop(id_)
                    self._report.ended(first, document)
                    for path in others:
                        self._report.ended(path, document, already=True)
            self._report.passages(in_work)
            await asyncio.sleep(POLL_SECONDS)


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
            yield block


class Report:
    """What the person or the script sees: results on stdout, progress and complaints on stderr."""

    def __init__(self, total: int, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(stderr=True)
        self.bar = Bar(
            TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[passages]}"),
            console=self._console, transient=True, disable=as_json or not self._console.is_terminal,
        )  # fmt: skip
        self._task = self.bar.add_task("indexing", total=total, passages="")
        self.failed = 0
        self._ready = 0
        self._already = 0

    def passages(self, in_work: list[Progress]) -> None:
        """How many are not known before a document is read to its end."""
        done = sum(progress.done for progress in in_work)
        total = sum(max(progress.done, progress.total) for progress in in_work)
        self.bar.update(self._task, passages=f"{done}/{total} passages" if total else "")

    def ended(self, path: Path, document: DocumentOut, *, already: bool = False) -> None:
        self._end(path, document.model_dump(mode="json"), already=already)

    def refused(self, path: Path, code: str, detail: str) -> None:
        self._end(path, {"status": "refused", "error": {"code": code, "detail": detail}})

    def _end(self, path: Path, document: dict[str, Any], *, already: bool = False) -> None:
        error = document.get("error")
        self.failed += error is not None
        self._already += already and error is None
        self._ready += error is None and not already
        self.bar.advance(self._task)
        if self._as_json:
            typer.echo(json.dumps({"path": str(path), "already": already} | document, ensure_ascii=False))
        elif error is not None:
            line = f"{path}: {error['code']}. {error['detail']}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if not self._as_json:
            typer.echo(f"{self._ready} indexed, {self._already} there already, {self.failed} failed")
