"""Every command as it is typed. What one needs is imported when it runs, so that `--help` and `probe` are quick."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.cli.accounts_commands import create_key, create_user, set_password
from app.cli.evaluation_commands import evaluation
from app.cli.personal_data_commands import audit, erase, export, purge
from app.cli.usage_commands import prices, usage

app = typer.Typer(
    name="ragchat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A chat backend whose answers come from your own documents.",
)
AsJson = Annotated[bool, typer.Option("--json", help="For scripts: JSON on stdout.")]
JobIds = Annotated[list[str], typer.Argument(help="Ids, or their first or last digits.", show_default=False)]
jobs = typer.Typer(no_args_is_help=True, help="Background work: look at it, run it again, end it.")
app.add_typer(jobs, name="jobs")
spaces = typer.Typer(no_args_is_help=True, help="Embedding models: try another one, switch to it, switch back.")
app.add_typer(spaces, name="spaces")
app.add_typer(evaluation, name="eval")
app.add_typer(prices, name="prices")
app.command("usage")(usage)
app.command("create-user")(create_user)
app.command("set-password")(set_password)
app.command("create-key")(create_key)
app.command("erase")(erase)
app.command("export")(export)
app.command("audit")(audit)
app.command("purge")(purge)
privacy = typer.Typer(no_args_is_help=True, help="Personal data: how well it is found.")
app.add_typer(privacy, name="privacy")
SpaceName = Annotated[str, typer.Argument(help="The space's id, or its model.", show_default=False)]


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
def models(
    question: Annotated[str, typer.Argument(help="What they are asked.")] = "Say hello in one word.",
    as_json: AsJson = False,
) -> None:
    """Ask each language model that is configured: does it answer, how soon, and if not, why."""
    from app.cli import models as command

    command.models(question, as_json=as_json)


@app.command()
def probe(
    worker: Annotated[bool, typer.Option("--worker", help="Ask for the worker instead of the API.")] = False,
) -> None:
    """Exit with 0 when the service on HOST:PORT is ready (or a worker on DATA_DIR lives), else with 1."""
    from app.cli import probe as command

    command.probe(worker=worker)


@jobs.command("list")
def jobs_list(
    state: Annotated[
        Literal["queued", "running", "dead", "done"] | None, typer.Option(help="Default: all but those that are done.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="E.g. document.ingest.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """What is queued, running or dead."""
    from app.cli import jobs as command

    command.list_(state, kind, limit, as_json=as_json)


@jobs.command("retry")
def jobs_retry(
    ids: JobIds = [],  # noqa: B006  typer's way of an optional list
    all_dead: Annotated[bool, typer.Option("--all-dead", help="Every dead job.")] = False,
) -> None:
    """Run dead jobs, and those that wait for their next attempt, now."""
    from app.cli import jobs as command

    command.retry(ids, all_dead=all_dead)


@jobs.command("bury")
def jobs_bury(ids: JobIds) -> None:
    """End queued and running jobs; the document of one that indexes fails."""
    from app.cli import jobs as command

    command.bury(ids)


@app.command()
def verify(
    delete_orphans: Annotated[
        bool, typer.Option("--delete-orphans", help="Delete files that this database does not refer to.")
    ] = False,
    fail_missing: Annotated[
        bool, typer.Option("--fail-missing", help="Documents whose file is gone fail, unless they are ready.")
    ] = False,
    requeue: Annotated[bool, typer.Option("--requeue", help="Index what nobody works at.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding, then a summary.")] = False,
) -> None:
    """Compare the database with the file storage, and look for what was left half done."""
    from app.cli import verify as command
    from app.services.verification import Repairs

    repairs = Repairs(delete_orphans=delete_orphans, fail_missing=fail_missing, requeue=requeue)
    command.verify(repairs, as_json=as_json)


@spaces.command("list")
def spaces_list(as_json: AsJson = False) -> None:
    """What there is, and how far it is filled."""
    from app.cli import spaces as command

    command.list_(as_json=as_json)


@spaces.command("create")
def spaces_create(
    model: Annotated[str, typer.Argument(help="A model's name or folder; `model@256` keeps 256 dimensions.")],
    detach: Annotated[bool, typer.Option("--detach", help="Leave the work to running workers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a space for a model and embed every passage for it. Search does not use it yet."""
    from app.cli import spaces as command

    command.create(model, detach=detach, as_json=as_json)


@spaces.command("compare")
def spaces_compare(
    one: SpaceName,
    other: SpaceName,
    questions: Annotated[
        Path, typer.Option("--questions", help='JSON lines: {"query", "document"?, "page"?}.', show_default=False)
    ],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=50, help="How many passages.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Ask both the same questions: what they find, and how fast."""
    from app.cli import spaces as command

    command.compare(one, other, questions, top_k, as_json=as_json)


@spaces.command("switch")
def spaces_switch(space: SpaceName) -> None:
    """Search by this one from now on. The old one is kept complete until it is dropped."""
    from app.cli import spaces as command

    command.switch(space)


@spaces.command("rollback")
def spaces_rollback() -> None:
    """Switch back to the one before."""
    from app.cli import spaces as command

    command.rollback()


@spaces.command("drop")
def spaces_drop(
    space: SpaceName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a space that is not in use, with its vectors and its index."""
    from app.cli import spaces as command

    command.drop(space, yes=yes)


@privacy.command("check")
def privacy_check(
    seed: Annotated[int | None, typer.Option(help="Another set; the same seed makes the same one.")] = None,
    each: Annotated[int, typer.Option(min=1, max=100_000, help="Texts with and texts without, of each kind.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Print recall and precision of each kind on texts made for it; exit with 1 when one is below 0.99."""
    from app.cli import privacy as command

    command.check(seed, each, as_json=as_json)
