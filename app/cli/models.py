"""`ragchat models` asks each language model that is configured, and says how it answers or how it fails."""

import json
import time
from dataclasses import asdict, dataclass

import typer

from app.cli.common import load_settings, run
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.privacy import MaskingMap, mask
from app.providers.llm import ModelChain, ModelsUnavailable, ProviderInterrupted
from app.providers.ports import ChatMessage, Delta, Finished, Prompt
from app.runtime import make_models

SHOWN = 300
"""Characters of an answer."""


@dataclass(slots=True)
class Outcome:
    """`reason` is how it failed; empty when it did not."""

    name: str
    reason: str = ""
    finish_reason: str = ""
    first_word_ms: int | None = None
    total_ms: int = 0
    tokens: int = 0
    answer: str = ""


def models(question: str, *, as_json: bool) -> None:
    settings = load_settings()
    configure_logging("ERROR", settings.log_format)
    outcomes = run(lambda: _ask_all(settings, question))
    if as_json:
        typer.echo(json.dumps([asdict(outcome) for outcome in outcomes], ensure_ascii=False))
    elif not outcomes:
        typer.echo("no language model is configured: answers are put together from the documents")
    for outcome in outcomes if not as_json else ():
        typer.echo(f"{'NO' if outcome.reason else 'ok'}  {outcome.name}  {_said(outcome)}")
        if outcome.answer:
            typer.echo(f"    {outcome.answer[:SHOWN]!r}")
    raise typer.Exit(1 if any(outcome.reason for outcome in outcomes) else 0)


async def _ask_all(settings: Settings, question: str) -> list[Outcome]:
    chain = make_models(settings)
    if chain is None:
        return []
    if settings.masking == "on":
        question = mask(question, MaskingMap())
    prompt = Prompt("", [ChatMessage("user", question)], settings.llm_max_tokens)
    try:
        return [await _ask(one, prompt) for one in chain.each()]
    finally:
        await chain.close()


async def _ask(chain: ModelChain, prompt: Prompt) -> Outcome:
    outcome = Outcome(chain.name)
    began = time.monotonic()
    try:
        async for item in chain.stream(prompt):
            passed = round((time.monotonic() - began) * 1000)
            if isinstance(item, Delta):
                outcome.first_word_ms = passed if outcome.first_word_ms is None else outcome.first_word_ms
                outcome.answer += item.text
            elif isinstance(item, Finished):
                outcome.finish_reason, outcome.tokens = item.reason, item.output_tokens
    except (ModelsUnavailable, ProviderInterrupted) as exc:
        outcome.reason = exc.reason
    outcome.total_ms = round((time.monotonic() - began) * 1000)
    return outcome


def _said(outcome: Outcome) -> str:
    if outcome.first_word_ms is None:
        return f"{outcome.reason or outcome.finish_reason} after {outcome.total_ms} ms"
    told = f"first word after {outcome.first_word_ms} ms, "
    if outcome.reason:
        return f"{told}broke off after {outcome.total_ms} ms: {outcome.reason}"
    return f"{told}ended after {outcome.total_ms} ms: {outcome.finish_reason}, {outcome.tokens} tokens"
