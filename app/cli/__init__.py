"""The command line. Each command is a file here; people get sentences, scripts get `--json` and exit codes.

Exit codes: 0 fine, 1 it ran and something failed (a document, a check), 2 it could not run (settings, database).
"""

import typer

from app.cli import chat, doctor, ingest, search, serve

app = typer.Typer(
    name="ragchat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A chat backend whose answers come from your own documents.",
)
app.command("serve")(serve.serve)
app.command("worker")(serve.worker)
app.command("migrate")(serve.migrate)
app.command("ingest")(ingest.ingest)
app.command("search")(search.search)
app.command("chat")(chat.chat)
app.command("doctor")(doctor.doctor)
app.command("probe")(doctor.probe)


def main() -> None:
    app()
