"""`ragchat eval` as it is typed: `ragchat eval SET` runs a set, the other words are commands of their own."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

RUN = "run"


class _RunByDefault(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [RUN, *args]
        return super().parse_args(ctx, args)


evaluation = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Measure search and answers on questions whose answers are known: `ragchat eval SET`.",
)


@evaluation.command(RUN)
def run(
    set_: Annotated[
        Path | None, typer.Argument(metavar="SET", help="A folder in BEIR layout, or a JSONL of questions.")
    ] = None,
    bundled: Annotated[bool, typer.Option("--bundled", help="The small set that comes with the program.")] = False,
    split: Annotated[str | None, typer.Option(help="Of a BEIR folder. Default: test, or the only one.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many questions, spread over the set.")] = None,
    documents: Annotated[Path | None, typer.Option(help="A folder of documents that the questions are about.")] = None,
    keep: Annotated[str | None, typer.Option(help="Keep what was loaded under this name, for the next run.")] = None,
    answers: Annotated[
        bool | None, typer.Option("--answers/--no-answers", help="Ask for answers, too. Default: unless only BEIR.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: everything as JSON on stdout.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a page with plots.", metavar="FILE.html")] = None,
    out: Annotated[Path | None, typer.Option(help="Save the run, for `eval compare`.", metavar="FILE.json")] = None,
    least: Annotated[
        list[str], typer.Option("--min", metavar="METRIC=NUMBER", help="Exit with 1 below it. May be repeated.")
    ] = [],  # noqa: B006  typer's way of an optional list
    most: Annotated[
        list[str], typer.Option("--max", metavar="METRIC=NUMBER", help="Exit with 1 above it. May be repeated.")
    ] = [],  # noqa: B006
) -> None:
    """Ask every question of a set. This is what `ragchat eval SET` does."""
    from app.cli import evaluation as command

    options = command.Options(bundled, split, limit, documents, keep, answers)
    outputs = command.Outputs(as_json, report, out, least, most)
    command.run(set_, options, outputs)


@evaluation.command("compare")
def compare(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="A saved run.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="Another one, of the same questions.")],
    max_drop: Annotated[
        list[str],
        typer.Option(
            metavar="[METRIC=]NUMBER",
            help="Exit with 1 when B is worse by more: in this metric, or in any without one. May be repeated.",
        ),
    ] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: JSON on stdout.")] = False,
) -> None:
    """What changed between two runs, and whether chance explains it."""
    from app.cli import evaluation as command

    command.compare(before, after, max_drop, as_json=as_json)


@evaluation.command("golden")
def golden(
    out: Annotated[Path | None, typer.Option(help="Default: stdout.", metavar="FILE.jsonl")] = None,
    rating: Annotated[str | None, typer.Option(help="up or down. Default: both.")] = None,
) -> None:
    """Turn the answers that people have rated into questions that `eval` reads."""
    from app.cli import evaluation as command

    command.golden(out, rating)


@evaluation.command("drop")
def drop(name: Annotated[str, typer.Argument(help="As it was given to --keep.", show_default=False)]) -> None:
    """Delete what a run has kept."""
    from app.cli import evaluation as command

    command.drop(name)
