"""`ragchat chat`: ask in the terminal; the answer streams, its sources follow."""

import json
from typing import Annotated, Any
from uuid import UUID

import typer

from app.cli.common import command_runtime, load_settings, run
from app.core.caller import Caller
from app.core.settings import Settings
from app.runtime import Runtime
from app.schemas.sessions import SessionCreate
from app.services.turns import Question

USER = "terminal"


def chat(
    question: Annotated[str | None, typer.Argument(help="Left out: a conversation, ended with Ctrl-D.")] = None,
    lang: Annotated[str | None, typer.Option(help="en, te or hi.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The events, one a line.")] = False,
) -> None:
    """Chat with the documents. The conversation is stored like any other."""
    settings = load_settings()
    run(lambda: _chat(settings, question, lang, as_json=as_json))


async def _chat(settings: Settings, question: str | None, lang: str | None, *, as_json: bool) -> None:
    async with command_runtime(settings) as (runtime, caller):
        session = await runtime.sessions.create(caller, SessionCreate(user_id=USER, title=question and question[:80]))
        if question is not None:
            await _ask(runtime, caller, Question(session.id, question, lang), as_json=as_json)
            return
        while (line := _read_line()) is not None:
            if line.strip():
                await _ask(runtime, caller, Question(session.id, line, lang), as_json=as_json)


def _read_line() -> str | None:
    try:
        return input("you> ")
    except EOFError:
        return None


async def _ask(runtime: Runtime, caller: Caller, question: Question, *, as_json: bool) -> None:
    turn_id: UUID = await runtime.chat.ask(caller, question)
    async for event in runtime.turns.follow(caller, turn_id):
        if as_json:
            typer.echo(json.dumps(event, ensure_ascii=False))
        else:
            _show(event)


def _show(event: dict[str, Any]) -> None:
    if event["type"] == "delta":
        typer.echo(event["text"], nl=False)
    elif event["type"] == "error":
        typer.echo(f"\n{event['code']}: {event['message']}", err=True)
    elif event["type"] == "assistant_message":
        typer.echo("\n")
        cited = {int(n) for n in _markers(event["content"])}
        for source in event["docs"]:
            if source["n"] in cited:
                page = f", page {source['page']}" if source["page"] is not None else ""
                typer.echo(f"  [{source['n']}] {source['title']}{page}")


def _markers(content: str) -> list[str]:
    return [part.partition("]")[0] for part in content.split("[")[1:] if part.partition("]")[0].isdigit()]
