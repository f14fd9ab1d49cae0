"""`ragchat spaces`: another embedding model beside the one in use, then instead of it."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.common import load_settings, run, stop
from app.cli.database import command_database
from app.cli.parts import command_runtime
from app.cli.questions import read_questions
from app.cli.tables import table
from app.core.caller import DEFAULT_TENANT, tenant_caller
from app.core.errors import Conflict
from app.core.settings import Settings
from app.db.indexes import Indexes
from app.db.searching import Searching, searching
from app.db.uow import UowFactory, uow_factory
from app.models import EmbeddingSpace
from app.providers.embedding import canonical_name, open_embedder, split_name
from app.repositories.spaces import SpaceState
from app.services.comparison import Comparison, ComparisonService, Question
from app.services.embedders import Embedders
from app.services.retrieval import RetrievalService
from app.services.spaces import SpaceService, space_not_found
from app.worker.runner import running_worker

POLL_SECONDS = 0.5
HEADS = ("id", "model", "dimensions", "languages", "state", "vectors", "index", "error")
MEASURES = (
    ("hit@1", "hit_at_1"),
    ("hit@{k}", "hit_at_k"),
    ("MRR@{k}", "mrr"),
    ("p50 ms", "p50_ms"),
    ("p95 ms", "p95_ms"),
)
Act = Callable[[SpaceService], Awaitable[EmbeddingSpace]]


@dataclass(frozen=True, slots=True)
class Opened:
    """The database and whatever model a command asks for. No model is loaded before: a way back needs none."""

    uow: UowFactory
    searching: Searching
    spaces: SpaceService


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Opened]:
    embedders = Embedders(partial(open_embedder, precision=settings.embedding_precision))
    async with command_database(settings) as engine:
        uow = uow_factory(engine)
        try:
            spaces = SpaceService(uow, embedders, Indexes(engine), exact_limit=settings.exact_search_limit)
            yield Opened(uow, searching(engine), spaces)
        finally:
            await embedders.close()


def _name(given: str) -> str:
    """A folder is named in full: other processes stand elsewhere."""
    whole, dimensions = split_name(given)
    if "/" in whole and Path(whole).is_dir():
        given = str(Path(whole).resolve()) + (f"@{dimensions}" if dimensions else "")
    return canonical_name(given)


def list_(*, as_json: bool) -> None:
    settings = load_settings()
    states = run(lambda: _list(settings))
    if as_json:
        typer.echo(json.dumps([_json(state) for state in states], ensure_ascii=False))
        return
    for line in table([HEADS, *(_row(state) for state in states)]):
        typer.echo(line)


async def _list(settings: Settings) -> list[SpaceState]:
    async with _opened(settings) as opened:
        return await opened.spaces.states()


def _json(state: SpaceState) -> dict[str, object]:
    times = {"created_at": state.created_at.isoformat(), "activated_at": None}
    if state.activated_at is not None:
        times["activated_at"] = state.activated_at.isoformat()
    return asdict(state) | times


def _row(state: SpaceState) -> tuple[str, ...]:
    standing = "active" if state.active else "dropping" if state.dropping else "kept" if state.activated_at else "new"
    return (
        str(state.id),
        state.model,
        str(state.dimensions),
        ",".join(state.languages),
        standing,
        f"{state.vectors}/{state.chunks}",
        "valid" if state.indexed else "-",
        state.error or "",
    )


def create(model: str, *, detach: bool, as_json: bool) -> None:
    settings = load_settings()
    state = run(lambda: _create_detached(settings, model) if detach else _create(settings, model, quiet=as_json))
    if as_json:
        typer.echo(json.dumps(_json(state), ensure_ascii=False))
    elif detach:
        typer.echo(f"space {state.id} ({state.model}): a worker fills it; see `ragchat spaces list`")
    else:
        typer.echo(f"space {state.id} ({state.model}) is complete: {state.vectors} passages; nothing uses it yet")


async def _create_detached(settings: Settings, model: str) -> SpaceState:
    async with _opened(settings) as opened:
        space = await opened.spaces.create(_name(model))
        return await _state(opened.spaces, space.id)


async def _create(settings: Settings, model: str, *, quiet: bool) -> SpaceState:
    async with command_runtime(settings) as (runtime, _):
        space = await runtime.spaces.create(_name(model))
        async with running_worker(runtime, concurrency=settings.worker_concurrency):
            return await _see_through(runtime.spaces, space.id, quiet=quiet)


async def _see_through(spaces: SpaceService, space_id: int, *, quiet: bool) -> SpaceState:
    """Until it is complete and indexed. Conflict(space_not_filled) when the job has failed for good."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=quiet or not console.is_terminal,
    )  # fmt: skip
    task = bar.add_task("embedding", total=None)
    with bar:
        while True:
            began = time.monotonic()
            state = await _state(spaces, space_id)
            spent = time.monotonic() - began
            full = state.vectors == state.chunks
            bar.update(
                task, completed=state.vectors, total=state.chunks, description="indexing" if full else "embedding"
            )
            if full and state.indexed and state.job != "running":
                return state
            if state.job == "dead":
                raise Conflict("space_not_filled", f"The job that fills it has failed with {state.error}; try again.")
            await asyncio.sleep(max(POLL_SECONDS, 10 * spent))  # counting takes long in a large index


async def _state(spaces: SpaceService, space_id: int) -> SpaceState:
    for state in await spaces.states():
        if state.id == space_id and not state.dropping:
            return state
    raise space_not_found()


def switch(name: str) -> None:
    async def act(spaces: SpaceService) -> EmbeddingSpace:
        return await spaces.switch((await spaces.named(_name(name))).id)

    _act(act, "search uses space {id} ({model}) now; running processes follow within seconds")


def rollback() -> None:
    _act(lambda spaces: spaces.rollback(), "search uses space {id} ({model}) again")


def drop(name: str, *, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        stop("this deletes vectors; say --yes")

    async def act(spaces: SpaceService) -> EmbeddingSpace:
        space = await spaces.named(_name(name))
        if not yes:
            typer.confirm(f"Delete the vectors of space {space.id} ({space.model})?", abort=True, err=True)
        await spaces.drop(space.id)
        return space

    _act(act, "space {id} ({model}) is dropped; a worker deletes its vectors")


def _act(act: Act, said: str) -> None:
    settings = load_settings()
    space = run(lambda: _acted(settings, act))
    typer.echo(said.format(id=space.id, model=space.model))


async def _acted(settings: Settings, act: Act) -> EmbeddingSpace:
    async with _opened(settings) as opened:
        return await act(opened.spaces)


def compare(one: str, other: str, questions: Path, top_k: int, *, as_json: bool) -> None:
    asked = read_questions(questions)
    settings = load_settings()
    found, spaces = run(lambda: _compare(settings, (one, other), asked, top_k))
    if as_json:
        described = [{"id": space.id, "model": space.model} for space in spaces]
        measures = [space | asdict(measured) for space, measured in zip(described, found.measures, strict=True)]
        typer.echo(json.dumps(asdict(found) | {"measures": measures}, ensure_ascii=False))
        return
    for line in table(_compared(found, spaces)):
        typer.echo(line)
    typer.echo(f"{found.overlap:.3f} of the first {found.top_k} passages are the same, on average")
    typer.echo(f"{found.questions} questions, {found.judged} with a document; a page counts with the one after it")


async def _compare(
    settings: Settings, names: tuple[str, str], questions: list[Question], top_k: int
) -> tuple[Comparison, list[EmbeddingSpace]]:
    async with _opened(settings) as opened:
        spaces = [await opened.spaces.named(_name(name)) for name in names]
        one, other = [await opened.spaces.complete(space) for space in spaces]
        retrieval = RetrievalService(
            opened.uow, opened.searching, opened.spaces, exact_limit=settings.exact_search_limit
        )
        found = await ComparisonService(opened.uow, retrieval).run(
            tenant_caller(DEFAULT_TENANT), (one, other), questions, top_k=top_k
        )
        return found, spaces


def _compared(found: Comparison, spaces: list[EmbeddingSpace]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("", *(f"{space.id} {space.model}" for space in spaces), "difference")]
    for head, field in MEASURES:
        digits = 1 if field.endswith("_ms") else 3
        values = [getattr(measures, field) for measures in found.measures]
        if None not in values:
            cells = [f"{value:.{digits}f}" for value in values]
            rows.append((head.format(k=found.top_k), *cells, f"{values[1] - values[0]:+.{digits}f}"))
    return rows
