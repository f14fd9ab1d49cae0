"""`ragchat search`: what the index holds for a question."""

from typing import Annotated

import typer

from app.cli.common import command_runtime, load_settings, run
from app.core.settings import Settings
from app.schemas.search import Mode, SearchRequest, SearchResponse


def search(
    query: Annotated[str, typer.Argument(help="A question or some words.")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=50)] = 5,
    mode: Annotated[Mode, typer.Option()] = "hybrid",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Find passages by meaning and by words."""
    settings = load_settings()
    found = run(lambda: _search(settings, query, top_k, mode))
    if as_json:
        typer.echo(found.model_dump_json())
        return
    if not found.items:
        typer.echo("nothing found")
    for item in found.items:
        page = f", page {item.page}" if item.page is not None else ""
        typer.echo(f"[{item.n}] {item.title}{page}  ({item.score:.3f})")
        typer.echo("    " + " ".join((item.text or "").split())[:300])


async def _search(settings: Settings, query: str, top_k: int, mode: Mode) -> SearchResponse:
    async with command_runtime(settings) as (runtime, caller):
        return await runtime.retrieval.search(caller, SearchRequest(query=query, top_k=top_k, mode=mode))
