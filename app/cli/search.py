"""`ragchat search`: what the index holds for a question."""

import typer
from pydantic import ValidationError

from app.cli.common import load_settings, run, stop
from app.cli.parts import command_runtime
from app.core.settings import Settings
from app.schemas.search import Mode, SearchRequest, SearchResponse


def search(query: str, top_k: int, mode: Mode, *, as_json: bool) -> None:
    try:
        request = SearchRequest(query=query, top_k=top_k, mode=mode)
    except ValidationError:
        stop("The query is empty or too long.")
    settings = load_settings()
    found = run(lambda: _search(settings, request))
    if as_json:
        typer.echo(found.model_dump_json())
        return
    if not found.items:
        typer.echo("nothing found", err=True)
    for item in found.items:
        page = f", page {item.page}" if item.page is not None else ""
        typer.echo(f"[{item.n}] {item.title}{page}  ({item.score:.3f})")
        typer.echo("    " + " ".join((item.text or "").split())[:300])


async def _search(settings: Settings, request: SearchRequest) -> SearchResponse:
    async with command_runtime(settings) as (runtime, caller):
        return await runtime.retrieval.search(caller, request)
