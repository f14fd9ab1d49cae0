"""`ragchat erase`, `export`, `audit` and `purge` as they are typed."""

from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from app.core.caller import DEFAULT_TENANT

AsJson = Annotated[bool, typer.Option("--json", help="For scripts: JSON on stdout.")]
User = Annotated[
    str, typer.Option("--user", help="An id, or the name that the calling system uses.", show_default=False)
]
Tenant = Annotated[UUID, typer.Option(help="The tenant's id.")]
MOMENT = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]


def erase(
    user: User,
    tenant: Tenant = DEFAULT_TENANT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a user with all that is theirs, and print the receipt."""
    from app.cli import personal_data as command

    command.erase(user, tenant, yes=yes, as_json=as_json)


def export(
    user: User,
    tenant: Tenant = DEFAULT_TENANT,
    files: Annotated[Path | None, typer.Option(help="Write the user's documents into this folder, too.")] = None,
) -> None:
    """Print everything that is stored about a user, as JSON."""
    from app.cli import personal_data as command

    command.export(user, tenant, files)


def audit(
    tenant: Tenant = DEFAULT_TENANT,
    user: Annotated[str | None, typer.Option(help="What this user did, and what was done to them.")] = None,
    about: Annotated[str | None, typer.Option(help="The id of what it is about.")] = None,
    action: Annotated[str | None, typer.Option(help="E.g. user.erase; docs/privacy-operations.md lists them.")] = None,
    since: Annotated[datetime | None, typer.Option(formats=MOMENT, help="In UTC.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, newest first.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an entry.")] = False,
) -> None:
    """Who did what and when."""
    from app.cli import personal_data as command

    command.audit(tenant, user=user, about=about, action=action, since=since, limit=limit, as_json=as_json)


def purge(as_json: AsJson = False) -> None:
    """Remove now what is older than the settings say; the worker does it every hour."""
    from app.cli import personal_data as command

    command.purge(as_json=as_json)
