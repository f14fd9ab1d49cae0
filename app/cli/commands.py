"""Every command as it is typed. What one needs is imported when it runs, so that `--help` and `probe` are quick."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    name="ragchat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A chat backend whose answers come from your own documents.",
)
AsJson = Annotated[bool, typer.Option("--json", help="For scripts: JSON on stdout.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Default: HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: PORT.")] = None,
    worker: Annotated[bool | None, typer.Option(help="Index documents in this process, too.")] = None,
    migrate: Annotated[bool, typer.Option(help="Bring the database up to date first.")] = True,
) -> None:
    """Serve the API; by default with the database migrated and a worker inside."""
    from app.cli import serve as command

    command.serve(host, port, worker, migrate=migrate)


@app.command()
def worker() -> None:
    """Index documents in a process of its own; any number may run."""
    from app.cli import worker as command

    command.worker()


@app.command()
def migrate() -> None:
    """Bring the database up to date; one process at a time does it."""
    from app.cli import migrate as command

    command.migrate()


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders; folders are searched for documents.")],
    collection: Annotated[str | None, typer.Option(help="Put them into this collection.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a document, as it ends.")] = False,
) -> None:
    """Add documents and index them. Run it again after an interruption: what is there is not added twice."""
    from app.cli import ingest as command

    command.ingest(paths, collection, as_json=as_json)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="A question or some words.")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=50, help="How many passages.")] = 5,
    mode: Annotated[Literal["hybrid", "vector", "text"], typer.Option(help="How to look.")] = "hybrid",
    as_json: AsJson = False,
) -> None:
    """Find passages by meaning and by words."""
    from app.cli import search as command

    command.search(query, top_k, mode, as_json=as_json)


@app.command()
def chat(
    question: Annotated[str | None, typer.Argument(help="Left out: a conversation, ended with Ctrl-D.")] = None,
    lang: Annotated[str | None, typer.Option(help="en, te or hi.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The events, one a line.")] = False,
) -> None:
    """Chat with the documents. The conversation is stored like any other."""
    from app.cli import chat as command

    command.chat(question, lang, as_json=as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check settings, database, storage and the embedding model; nothing is made or changed."""
    from app.cli import doctor as command

    command.doctor(as_json=as_json)


@app.command()
def probe(
    worker: Annotated[bool, typer.Option("--worker", help="Ask for the worker instead of the API.")] = False,
) -> None:
    """Exit with 0 when the service on HOST:PORT is ready (or a worker on DATA_DIR lives), else with 1."""
    from app.cli import probe as command

    command.probe(worker=worker)
