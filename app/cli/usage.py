"""`ragchat usage`: what language models took."""

from datetime import date

import typer

from app.cli.common import load_settings, run
from app.cli.database import command_database
from app.cli.tables import table
from app.core.caller import DEFAULT_TENANT, tenant_caller
from app.core.settings import Settings
from app.db.uow import uow_factory
from app.repositories.paging import Paging
from app.schemas.usage import GroupBy, UsageReport, UsageSum, plain
from app.services.usage import UsageService

SHOWN = 10_000


def usage(group_by: GroupBy, since: date | None, until: date | None, *, as_json: bool) -> None:
    settings = load_settings()
    report = run(lambda: _report(settings, group_by, since, until))
    if as_json:
        typer.echo(report.model_dump_json(by_alias=True))
        return
    heads = (group_by, "turns", "input", "output", "US dollars", "without a price")
    rows = [_row(item.group or "-", item) for item in report.items]
    for line in table([heads, *rows, _row("all", report.overall)]):
        typer.echo(line)
    if report.total > len(report.items):
        typer.echo(f"{report.total - len(report.items)} more; see --from and --to", err=True)


def _row(name: str, item: UsageSum) -> tuple[str, ...]:
    cost = "" if item.cost is None else plain(item.cost)
    return (name, str(item.turns), str(item.input_tokens), str(item.output_tokens), cost, str(item.unpriced_tokens))


async def _report(settings: Settings, group_by: GroupBy, since: date | None, until: date | None) -> UsageReport:
    async with command_database(settings) as engine:
        service = UsageService(uow_factory(engine))
        return await service.report(
            tenant_caller(DEFAULT_TENANT), Paging(limit=SHOWN), group_by=group_by, since=since, until=until
        )
