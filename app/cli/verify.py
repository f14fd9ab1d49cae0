"""`ragchat verify`: finds what does not fit together, line by line as it comes up."""

import contextlib
import json
from collections import Counter
from dataclasses import asdict
from functools import partial

import typer

from app.cli.common import load_settings, run
from app.cli.database import command_database
from app.core.settings import Settings
from app.db.file_list import open_file_list
from app.db.uow import uow_factory
from app.runtime import make_storage
from app.services.verification import Finding, Repairs, Verification


def verify(repairs: Repairs, *, as_json: bool) -> None:
    settings = load_settings()
    counts, files = run(lambda: _verify(settings, repairs, as_json=as_json))
    if as_json:
        typer.echo(json.dumps({"kind": "summary", "files": files, "findings": counts}))
    elif counts:
        typer.echo("; ".join(f"{count} {kind}" for kind, count in counts.items()) + f"; {looked_at(files)}")
    else:
        typer.echo(f"all is well; {looked_at(files)}")
    raise typer.Exit(1 if counts else 0)


def looked_at(files: int) -> str:
    return f"{files} {'file' if files == 1 else 'files'} looked at"


async def _verify(settings: Settings, repairs: Repairs, *, as_json: bool) -> tuple[Counter[str], int]:
    counts: Counter[str] = Counter()
    async with command_database(settings) as engine:
        storage = make_storage(settings)
        try:
            await storage.open()
            verification = Verification(uow_factory(engine), storage, partial(open_file_list, engine))
            async with contextlib.aclosing(verification.run(repairs)) as findings:
                async for finding in findings:
                    counts[finding.kind] += 1
                    typer.echo(_json(finding) if as_json else _line(finding))
        finally:
            await storage.close()
    return counts, verification.files


def _json(finding: Finding) -> str:
    """The fields that this kind of finding has."""
    fields = {name: value for name, value in asdict(finding).items() if value is not None}
    if finding.modified is not None:
        fields["modified"] = finding.modified.isoformat()
    return json.dumps(fields, default=str)


def _line(finding: Finding) -> str:
    about = f"{finding.document_id} v{finding.version}" if finding.document_id is not None else str(finding.key)
    notes = [
        finding.status if finding.kind != "missing_file" else finding.status or "superseded",
        f"{finding.count} chunks" if finding.count is not None else None,
        f"{finding.size} bytes" if finding.size is not None else None,
        finding.modified.isoformat(timespec="seconds") if finding.modified is not None else None,
        f"-> {finding.action}" if finding.action is not None else None,
    ]
    return f"{finding.kind:<16} {about:<73} " + "  ".join(note for note in notes if note)
