"""`ragchat chat`: ask in the terminal; the answer streams, its sources follow."""

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import typer

from app.cli.common import load_settings, run
from app.cli.parts import command_runtime
from app.core.caller import Caller
from app.core.errors import Invalid
from app.core.settings import Settings
from app.runtime import Runtime
from app.schemas.sessions import SessionCreate
from app.services.turns import Question

USER = "terminal"
LONGEST_TITLE = 80


def chat(question: str | None, lang: str | None, *, as_json: bool) -> None:
    settings = load_settings()
    conversation = Conversation(settings, lang, as_json=as_json)
    fine = run(lambda: conversation.hold(question))
    raise typer.Exit(0 if fine else 1)


class Conversation:
    def __init__(self, settings: Settings, lang: str | None, *, as_json: bool) -> None:
        self._settings = settings
        self._lang = lang
        self._as_json = as_json

    async def hold(self, question: str | None) -> bool:
        """One question, or one a line until the end of the input. False when a question had no answer."""
        fine = True
        async with command_runtime(self._settings) as (runtime, caller):
            title = question and question[:LONGEST_TITLE]
            session = await runtime.sessions.create(caller, SessionCreate(user_id=USER, title=title))
            if question is not None:
                return await self._ask(runtime, caller, Question(session.id, question, self._lang))
            while (line := self._read_line()) is not None:
                if line.strip():
                    fine &= await self._ask_on(runtime, caller, Question(session.id, line, self._lang))
        return fine

    def _read_line(self) -> str | None:
        """None at the end: Ctrl-D, or Ctrl-C instead of a question. A prompt only where somebody sits."""
        with _ctrl_c_interrupts(), contextlib.suppress(EOFError, KeyboardInterrupt):
            return input("you> " if sys.stdin.isatty() and not self._as_json else "")
        return None

    async def _ask_on(self, runtime: Runtime, caller: Caller, question: Question) -> bool:
        """In a conversation a question that cannot be taken does not end it."""
        try:
            return await self._ask(runtime, caller, question)
        except Invalid as exc:
            typer.echo(f"{exc.code}: {exc.detail}", err=True)
            return False

    async def _ask(self, runtime: Runtime, caller: Caller, question: Question) -> bool:
        turn_id: UUID = await runtime.chat.ask(caller, question)
        fine = True
        async for event in runtime.turns.follow(caller, turn_id):
            fine &= event["type"] != "error"
            if self._as_json:
                typer.echo(json.dumps(event, ensure_ascii=False))
            else:
                _show(event)
        return fine


@contextlib.contextmanager
def _ctrl_c_interrupts() -> Iterator[None]:
    """The event loop would only note a Ctrl-C and go on waiting for the line."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
