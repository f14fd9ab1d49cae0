"""`ragchat prices` and `ragchat usage` as they are typed."""

from datetime import datetime
from typing import Annotated, Literal

import typer

AsJson = Annotated[bool, typer.Option("--json", help="For scripts: JSON on stdout.")]
DAY = ["%Y-%m-%d"]
prices = typer.Typer(no_args_is_help=True, help="What language models cost, in US dollars for a million tokens.")


@prices.command("list")
def prices_list(as_json: AsJson = False) -> None:
    """Every price that was set, by model, the newest first; * is in force."""
    from app.cli import prices as command

    command.list_(as_json=as_json)


@prices.command("set")
def prices_set(
    model: Annotated[str, typer.Argument(help="As answers name it; `*` stands for any characters.")],
    input_price: Annotated[str, typer.Option("--input", help="Of a million tokens of prompt.", show_default=False)],
    output_price: Annotated[str, typer.Option("--output", help="Of a million tokens of answer.", show_default=False)],
    valid_from: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"], help="In UTC. Default: now."),
    ] = None,
) -> None:
    """Set a price from now on. What was used before keeps its cost."""
    from app.cli import prices as command

    command.set_(model, input_price, output_price, valid_from)


def usage(
    group_by: Annotated[
        Literal["day", "model", "user", "key", "session"], typer.Option("--group-by", help="A row for each.")
    ] = "day",
    since: Annotated[
        datetime | None, typer.Option("--from", formats=DAY, help="In UTC. Default: the first of the month.")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=DAY, help="Included. Default: today.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tokens and cost of language models; by default of this month."""
    from app.cli import usage as command

    command.usage(group_by, since and since.date(), until and until.date(), as_json=as_json)
