"""`ragchat jobs`: the queue, looked at and mended by hand."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta

import typer

from app.cli.common import load_settings, run, stop
from app.cli.database import command_database
from app.core.settings import Settings
from app.db.uow import uow_factory
from app.schemas.jobs import JobOut, State
from app.services.jobs import JobList, JobService, Outcome, Result

SHOWN_DIGITS = 8
HEADS = ("id", "kind", "state", "attempts", "age", "due", "worker", "error", "about")
Act = Callable[[JobService], AsyncIterator[Outcome]]
FINE: set[Result] = {"retried", "buried"}
SENTENCES: dict[Result, str] = {
    "retried": "runs now",
    "buried": "is dead now",
    "unknown": "no job has this id, or one that begins or ends with it",
    "ambiguous": "several jobs have ids that begin or end with this",
    "queued": "is queued; it needs no retry",
    "running": "is running; bury it first to retry it",
    "done": "is done",
    "dead": "is dead already",
    "twin": "not retried: another job for the same is queued or running",
    "superseded": "not retried: what it is about is gone, has a newer version or is ready",
}


def list_(state: State | None, kind: str | None, limit: int, *, as_json: bool) -> None:
    settings = load_settings()
    found = run(lambda: _list(settings, state, kind, limit))
    if as_json:
        typer.echo(json.dumps([job.model_dump(mode="json") for job in found.items], ensure_ascii=False))
        return
    for line in _table([HEADS, *(_row(job, found.now) for job in found.items)]):
        typer.echo(line)
    if found.total > len(found.items):
        typer.echo(f"{found.total - len(found.items)} more; see --limit", err=True)


async def _list(settings: Settings, state: State | None, kind: str | None, limit: int) -> JobList:
    async with command_database(settings) as engine:
        return await JobService(uow_factory(engine)).list_newest(state=state, kind=kind, limit=limit)


def retry(ids: Sequence[str], *, all_dead: bool) -> None:
    if bool(ids) == all_dead:
        stop("name the jobs, or say --all-dead")
    if all_dead:
        _report(lambda jobs: jobs.retry_dead(), enough=any)
    else:
        _report(lambda jobs: jobs.retry(ids))


def bury(ids: Sequence[str]) -> None:
    _report(lambda jobs: jobs.bury(ids))


def _report(act: Act, *, enough: Callable[[list[bool]], bool] = all) -> None:
    """A line for each. Exit code 1 when not enough could be done, or nothing matched."""
    settings = load_settings()
    done = run(lambda: _act(settings, act))
    if not done:
        typer.echo("no job matches", err=True)
    raise typer.Exit(0 if done and enough(done) else 1)


async def _act(settings: Settings, act: Act) -> list[bool]:
    done = []
    async with command_database(settings) as engine:
        async for outcome in act(JobService(uow_factory(engine))):
            done.append(outcome.result in FINE)
            typer.echo(f"{outcome.job}: {SENTENCES[outcome.result]}", err=not done[-1])
    return done


def _row(job: JobOut, now: datetime) -> tuple[str, ...]:
    return (
        str(job.id)[-SHOWN_DIGITS:],
        job.kind,
        job.state,
        f"{job.attempts}/{job.max_attempts}",
        _span(now - job.created_at),
        _due(job, now),
        job.worker or "" if job.state == "running" else "",
        job.error_code or "",
        " ".join(f"{name}={value}" for name, value in job.payload.items() if isinstance(value, str | int)),
    )


def _due(job: JobOut, now: datetime) -> str:
    if job.state == "running" and job.lease_until is not None:
        left = job.lease_until - now
        return f"lease {_span(left)}" if left > timedelta() else "lease over"
    if job.state == "queued":
        return f"in {_span(job.run_at - now)}" if job.run_at > now else "now"
    return ""


def _span(time: timedelta) -> str:
    seconds = max(0, int(time.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
