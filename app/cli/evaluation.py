"""`ragchat eval`: measures a set, compares two runs, makes questions of people's ratings."""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.common import load_settings, stop
from app.cli.common import run as run_command
from app.cli.parts import command_runtime
from app.cli.tables import table
from app.core.caller import Caller
from app.core.settings import Settings
from app.core.version import VERSION
from app.evaluation import places
from app.evaluation.beir import corpus_hash
from app.evaluation.comparing import Bound, Difference, Moved, dropped, missed, parse_bound
from app.evaluation.comparing import compare as compare_runs
from app.evaluation.corpus import cutting, load, settle
from app.evaluation.errors import BadSet
from app.evaluation.files import files_hash, find_files, load_files
from app.evaluation.golden import golden_lines
from app.evaluation.report import html
from app.evaluation.results import Run, read_run
from app.evaluation.run import evaluate
from app.evaluation.sets import BUNDLED, EvaluationSet, open_set
from app.runtime import Runtime
from app.worker.runner import running_worker

T = TypeVar("T")
NAME = re.compile(r"[\w.-]{1,100}")
MOVED_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Options:
    bundled: bool
    split: str | None
    limit: int | None
    documents: Path | None
    keep: str | None
    answers: bool | None


@dataclass(frozen=True, slots=True)
class Outputs:
    as_json: bool
    report: Path | None
    out: Path | None
    least: list[str]
    most: list[str]


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except BadSet as exc:
        stop(str(exc))


def run(path: Path | None, options: Options, outputs: Outputs) -> None:
    if (path is None) is not options.bundled:
        stop("name one set, or say --bundled")
    with _one_line():
        least, most = [parse_bound(text) for text in outputs.least], [parse_bound(text) for text in outputs.most]
        _check(options, outputs)
        set_ = open_set(path or BUNDLED, split=options.split, limit=options.limit)
        if set_.corpus and options.documents:
            stop("a set with a corpus takes no --documents")
        settings = load_settings()
        with _bar(quiet=outputs.as_json) as bar:
            found = run_command(lambda: _evaluate(settings, set_, options, bar))
        _write(found, outputs)
        _judge(found, least, most)


def _check(options: Options, outputs: Outputs) -> None:
    if options.keep is not None and not NAME.fullmatch(options.keep):
        raise BadSet("a name to keep it under has letters, digits, dots, dashes and underscores")
    if options.documents is not None and not options.documents.is_dir():
        raise BadSet(f"there is no folder {options.documents}")
    for path in (outputs.report, outputs.out):
        if path is not None and not path.resolve().parent.is_dir():
            raise BadSet(f"there is no folder {path.resolve().parent}")


async def _evaluate(settings: Settings, set_: EvaluationSet, options: Options, bar: "Bar") -> Run:
    answers = set_.wants_answers if options.answers is None else options.answers
    async with command_runtime(settings) as (runtime, own), _place(runtime, own, set_, options, bar) as caller:
        return await evaluate(runtime, caller, set_, answers=answers, progress=bar.of("asking"))


@contextlib.asynccontextmanager
async def _place(
    runtime: Runtime, own: Caller, set_: EvaluationSet, options: Options, bar: "Bar"
) -> AsyncIterator[Caller]:
    """Whose documents are asked; a set's own are loaded, and deleted in the end unless they are kept."""
    files = find_files(options.documents) if options.documents else []
    if not set_.corpus and not files:
        if options.keep:
            raise BadSet("there is nothing to keep: the set has no documents of its own")
        yield own
        return
    if options.keep is None:
        async with places.passing(runtime) as caller:
            await _load(runtime, caller, set_, files, bar)
            yield caller
        return
    kept = await places.find_kept(runtime, options.keep, fingerprint := _fingerprint(runtime, set_, files))
    if kept is None:
        kept = await places.begin_kept(runtime, options.keep)
        await _load(runtime, kept, set_, files, bar)
        await places.complete_kept(runtime, kept, options.keep, fingerprint)
    yield kept


def _fingerprint(runtime: Runtime, set_: EvaluationSet, files: list[Path]) -> str:
    """Of what is loaded, and of how."""
    space = runtime.spaces.current
    if files:
        return files_hash(files, space.model, VERSION)
    return corpus_hash(set_.corpus, space.model, VERSION, cutting(space.embedder, set_.corpus))


async def _load(runtime: Runtime, caller: Caller, set_: EvaluationSet, files: list[Path], bar: "Bar") -> None:
    if files:
        async with running_worker(runtime, concurrency=runtime.settings.worker_concurrency):
            refused = await load_files(runtime, caller, files, bar.of("indexing"))
        for line in refused:
            typer.echo(f"not indexed: {line}", err=True)
    else:
        await load(runtime, caller, set_.corpus, bar.of("loading"))
    await settle(runtime, caller)


class Bar:
    """On stderr, where somebody sits in front of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def of(self, name: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress.update(self._task, description=name, completed=done, total=total)


@contextlib.contextmanager
def _bar(*, quiet: bool) -> Iterator[Bar]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        yield Bar(progress)


def _write(found: Run, outputs: Outputs) -> None:
    try:
        if outputs.out is not None:
            outputs.out.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        if outputs.report is not None:
            outputs.report.write_text(html(found), encoding="utf-8")
    except OSError as exc:
        raise BadSet(f"{exc.filename} cannot be written: {exc.strerror}") from exc
    if outputs.as_json:
        typer.echo(found.model_dump_json())
        return
    for line in table(_rows(found)):
        typer.echo(line)
    said = f"{found.set.questions} questions, {found.set.judged} with an expected document, "
    said += f"{found.set.unanswerable} to be refused; {found.set.documents} documents, {found.set.passages} passages"
    typer.echo(said)
    if found.set.missing:
        typer.echo(f"not there: {', '.join(found.set.missing[:5])}{' ...' if len(found.set.missing) > 5 else ''}")


def _rows(found: Run) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("", *(f"{name} ({found.counts[name]})" for name in found.metrics))]
    metrics = {name: None for row in found.metrics.values() for name in row}
    return rows + [(name, *(_shown(name, row.get(name)) for row in found.metrics.values())) for name in metrics]


def _shown(metric: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if metric.endswith("_ms") else f"{value:.4f}"


def _judge(found: Run, least: list[Bound], most: list[Bound]) -> None:
    complaints = missed(found.metrics, least, most)
    for complaint in complaints:
        typer.echo(complaint, err=True)
    raise typer.Exit(1 if complaints else 0)


def compare(before: Path, after: Path, max_drop: list[str], *, as_json: bool) -> None:
    with _one_line():
        every = [text for text in max_drop if "=" not in text]
        limits = [parse_bound(text) for text in max_drop if "=" in text]
        largest = min((parse_bound(f"any={text}").value for text in every), default=None)
        found = compare_runs(read_run(before), read_run(after))
        complaints = dropped(found, limits, largest)
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"complaints": complaints}, ensure_ascii=False))
    else:
        _show(found)
    for complaint in complaints:
        typer.echo(complaint, err=True)
    raise typer.Exit(1 if complaints else 0)


def _show(found: Difference) -> None:
    rows: list[tuple[str, ...]] = [("", "", "before", "after", "difference", "p")]
    for change in found.changes:
        digits = 1 if change.metric.endswith("_ms") else 4
        values = (f"{change.before:.{digits}f}", f"{change.after:.{digits}f}")
        difference = f"{change.after - change.before:+.{digits}f}"
        rows.append(
            (change.language, change.metric, *values, difference, "" if change.p is None else f"{change.p:.3f}")
        )
    for line in table(rows):
        typer.echo(line)
    typer.echo(f"{found.questions} questions; {len(found.better)} better, {len(found.worse)} worse")
    if found.only_before or found.only_after:
        typer.echo(f"left out: {found.only_before} that only A has, {found.only_after} that only B has")
    for word, moved in (("worse", found.worse), ("better", found.better)):
        for one in moved[:MOVED_SHOWN]:
            typer.echo(_moved(word, one))


def _moved(word: str, one: Moved) -> str:
    return f"{word}  {one.metric} {one.before:.3f} -> {one.after:.3f}  {one.id}  {' '.join(one.text.split())[:100]}"


def golden(out: Path | None, rating: str | None) -> None:
    if rating not in (None, "up", "down"):
        stop("--rating is up or down")
    settings = load_settings()

    async def lines(runtime: Runtime, caller: Caller) -> list[str]:
        return await golden_lines(runtime, caller, rating)

    found = run_command(lambda: _with_runtime(settings, lines))
    text = "".join(line + "\n" for line in found)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as exc:
        stop(f"{out} cannot be written: {exc.strerror}")
    typer.echo(f"{len(found)} questions")


def drop(name: str) -> None:
    settings = load_settings()
    with _one_line():
        run_command(lambda: _with_runtime(settings, lambda runtime, _: places.drop_kept(runtime, name)))
    typer.echo(f"{name} is deleted")


async def _with_runtime(settings: Settings, act: Callable[[Runtime, Caller], Awaitable[T]]) -> T:
    async with command_runtime(settings) as (runtime, caller):
        return await act(runtime, caller)
