"""What a person asks of an operator: what there is, that it goes, and who did what."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import typer

from app.cli.common import load_settings, run, stop
from app.cli.database import command_database
from app.cli.parts import command_runtime
from app.cli.tables import table
from app.core.caller import tenant_caller
from app.core.settings import Settings
from app.db.uow import uow_factory
from app.models import Document
from app.providers.ports import Storage
from app.runtime import make_storage
from app.schemas.erasures import ErasureOut
from app.schemas.exports import AuditEntryOut
from app.services.audit import AuditService
from app.services.erasures import erasure_out
from app.services.exports import ExportService
from app.services.retention import RetentionService, terms_of
from app.services.turn_keeping import TurnHousekeeping
from app.worker.runner import running_worker

POLL_SECONDS = 0.2
HEADS = ("time", "actor", "action", "about", "outcome", "network", "request")


def erase(user: str, tenant: UUID, *, yes: bool, as_json: bool) -> None:
    settings = load_settings()
    if not yes and not (sys.stdin.isatty() and typer.confirm("Erase this user? Nothing brings it back")):
        stop("nothing was erased; --yes does it without asking")
    receipt = run(lambda: _erase(settings, user, tenant))
    if as_json:
        typer.echo(receipt.model_dump_json())
        return
    typer.echo(f"erased; receipt {receipt.id}")
    for line in table([("what", "removed"), *((name, str(count)) for name, count in receipt.counts.items())]):
        typer.echo(line)


async def _erase(settings: Settings, user: str, tenant: UUID) -> ErasureOut:
    """Sees it through, be it this process or another one that does it."""
    caller = tenant_caller(tenant)
    async with command_runtime(settings) as (runtime, _), running_worker(runtime, concurrency=1):
        erasures = runtime.personal_data.erasures
        erasure = (await erasures.request(caller, user, by="operator")).erasure
        while erasure.finished_at is None:
            await asyncio.sleep(POLL_SECONDS)
            erasure = await erasures.get(caller, erasure.id)
        return erasure_out(erasure)


def export(user: str, tenant: UUID, files: Path | None) -> None:
    settings = load_settings()
    run(lambda: _export(settings, user, tenant, files))


async def _export(settings: Settings, user: str, tenant: UUID, files: Path | None) -> None:
    caller = tenant_caller(tenant)
    async with command_database(settings) as engine:
        service = ExportService(uow_factory(engine))
        async for piece in await service.begin(caller, user):
            typer.echo(piece, nl=False)
        if files is not None:
            storage = make_storage(settings)
            await storage.open()
            try:
                async for document in service.documents(caller, user):
                    await _save(storage, document, files)
            finally:
                await storage.close()


async def _save(storage: Storage, document: Document, folder: Path) -> None:
    """Under the document's id: names may be equal, and are not ours."""
    target = folder / f"{document.id}.{document.kind}"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with await asyncio.to_thread(target.open, "wb") as file:
        async for block in storage.stream(document.storage_key):
            await asyncio.to_thread(file.write, block)


def audit(
    tenant: UUID, *, user: str | None, about: str | None, action: str | None, since: datetime | None, limit: int,
    as_json: bool,
) -> None:  # fmt: skip
    settings = load_settings()

    async def entries() -> Sequence[AuditEntryOut]:
        async with command_database(settings) as engine:
            return await AuditService(uow_factory(engine)).list_newest(
                tenant_caller(tenant), user_id=user, object_id=about, action=action,
                since=since and since.replace(tzinfo=UTC), limit=limit,
            )  # fmt: skip

    found = run(entries)
    if as_json:
        for entry in found:
            typer.echo(entry.model_dump_json())
        return
    for line in table([HEADS, *(_row(entry) for entry in found)]):
        typer.echo(line)


def _row(entry: AuditEntryOut) -> tuple[str, ...]:
    about = " ".join(part for part in (entry.object_type, entry.object_id) if part)
    moment = f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return (moment, entry.actor, entry.action, about, entry.outcome, entry.ip or "", entry.request_id or "")


def purge(*, as_json: bool) -> None:
    settings = load_settings()
    removed = run(lambda: _purge(settings))
    if as_json:
        typer.echo(json.dumps(removed))
        return
    for line in table([("what", "removed"), *((kind, str(count)) for kind, count in removed.items())]):
        typer.echo(line)


async def _purge(settings: Settings) -> dict[str, int]:
    async with command_database(settings) as engine:
        uow = uow_factory(engine)
        housekeeping = TurnHousekeeping(uow, events_hours=settings.turn_events_hours)
        return await RetentionService(uow, terms_of(settings), compact=housekeeping.compact).purge()
