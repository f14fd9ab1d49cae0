"""The modes, by name. Each is a generator of steps; its docstring is its line in `--help`."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tools.stand_in.steps import Cut, Damage, End, Fail, Garbage, Hang, Refuse, Say, Step, Steps, Stop

HUGE = 5 * 1000 * 1000
PREFIX = "stand-in."
GIVEN: dict[str, type[int | float | str]] = {
    "count": int, "rate": float, "after": int, "wait": float, "by": int, "retry_after": str, "id": str,
}  # fmt: skip
"""What may follow a mode in a model's id."""


@dataclass(frozen=True)
class Options:
    """From the command line, and after the mode in a model's id: `stand-in.cut:after=3:rate=50`."""

    mode: str = "tokens"
    count: int = 20
    rate: float = 0.0
    """Tokens a second; 0 is as fast as they are read."""
    after: int = 5
    """Tokens before the failure."""
    wait: float = 0.0
    """Seconds before the first token."""
    by: int = 4
    """Characters in a token of `say` and `echo`."""
    retry_after: str = ""
    say: str = "Hello."
    id: str = ""
    """Of no effect: makes a model's id differ from others, to count its requests apart."""


@dataclass(frozen=True)
class Asked:
    """A request, as far as modes look at it."""

    options: Options
    body: dict[str, Any] = field(default_factory=dict)
    number: int = 1
    """Of the requests for this model."""


class UnknownMode(ValueError):
    pass


def options_for(model: str, default: Options) -> Options:
    """A model's id may name the mode; any other id gets the one from the command line."""
    return parse(model.removeprefix(PREFIX), default) if model.startswith(PREFIX) else default


def parse(spelled: str, default: Options) -> Options:
    """`mode:name=value:...`; after `say:` everything is text."""
    mode, _, rest = spelled.partition(":")
    if mode not in MODES:
        raise UnknownMode(f"no mode {mode!r}; there are: {', '.join(MODES)}")
    if mode == "say":
        return replace(default, mode=mode, say=rest or default.say)
    given: dict[str, Any] = {}
    for pair in filter(None, rest.split(":")):
        name, _, value = pair.partition("=")
        name = name.replace("-", "_")
        if name not in GIVEN:
            raise UnknownMode(f"no option {name!r}; there are: {', '.join(GIVEN)}")
        given[name] = GIVEN[name](value)
    return replace(default, mode=mode, **given)


async def run(asked: Asked) -> Steps:
    async for step in MODES[asked.options.mode](asked):
        yield step


async def _paced(options: Options, texts: Iterable[str]) -> AsyncIterator[Say]:
    """By the clock, not by pauses added up: the rate is kept."""
    await asyncio.sleep(options.wait)
    began = time.monotonic()
    for number, text in enumerate(texts):
        late = time.monotonic() - began - number / options.rate if options.rate else 0.0
        await asyncio.sleep(max(0.0, -late))
        yield Say(text)


def _numbers(options: Options, count: int | None = None) -> AsyncIterator[Say]:
    numbers = itertools.count(1) if count is None else range(1, count + 1)
    return _paced(options, (f"{number} " for number in numbers))


async def _tokens(asked: Asked) -> Steps:
    """--count numbered tokens at --rate a second: `1 2 3 ...`"""
    async for step in _numbers(asked.options, asked.options.count):
        yield step
    yield Stop()


async def _say(asked: Asked) -> Steps:
    """the text of --say, or after `say:` in the model's id, --by characters in a token"""
    async for step in _pieces(asked.options, asked.options.say):
        yield step
    yield Stop()


async def _echo(asked: Asked) -> Steps:
    """the body of the request, as JSON"""
    async for step in _pieces(asked.options, json.dumps(asked.body, ensure_ascii=False)):
        yield step
    yield Stop()


def _pieces(options: Options, text: str) -> AsyncIterator[Say]:
    return _paced(options, (text[at : at + options.by] for at in range(0, len(text), options.by)))


def _refusing(step: Refuse, line: str) -> Callable[[Asked], Steps]:
    async def refuse(asked: Asked) -> Steps:
        yield replace(step, retry_after=asked.options.retry_after)

    refuse.__doc__ = line
    return refuse


def _failing(last: Step, line: str) -> Callable[[Asked], Steps]:
    async def fail(asked: Asked) -> Steps:
        async for step in _numbers(asked.options, asked.options.after):
            yield step
        yield last

    fail.__doc__ = line
    return fail


def _at_once(*steps: Step, line: str) -> Callable[[Asked], Steps]:
    async def do(_: Asked) -> Steps:
        for step in steps:
            yield step

    do.__doc__ = line
    return do


async def _half_503(asked: Asked) -> Steps:
    """every other request is refused with 503, the first one too"""
    if asked.number % 2:
        yield Refuse("unavailable", asked.options.retry_after)
        return
    async for step in _tokens(asked):
        yield step


async def _endless(asked: Asked) -> Steps:
    """numbered tokens without an end"""
    async for step in _numbers(asked.options):
        yield step


async def _blank(asked: Asked) -> Steps:
    """empty tokens without an end"""
    async for step in _paced(asked.options, itertools.repeat("")):
        yield step


async def _huge(_: Asked) -> Steps:
    """one token of 5 MB"""
    yield Say("x" * HUGE)
    yield Stop()


async def _garbage(asked: Asked) -> Steps:
    """200, then bytes that mean nothing"""
    yield Garbage(random.Random(asked.number).randbytes(20_000))  # noqa: S311 - noise
    yield End()


async def _new_parameters(asked: Asked) -> Steps:
    """as servers that know `max_completion_tokens` only (OpenAI's format)"""
    if "max_tokens" in asked.body:
        yield Refuse("invalid", message="'max_tokens' is not supported; use 'max_completion_tokens' instead.")
        return
    async for step in _tokens(asked):
        yield step


async def _old_parameters(asked: Asked) -> Steps:
    """as servers that know neither `max_completion_tokens` nor `stream_options`, and send no usage (OpenAI's format)"""
    for name in ("max_completion_tokens", "stream_options"):
        if name in asked.body:
            yield Refuse("invalid", message=f"Unrecognized request argument supplied: {name}")
            return
    async for step in _numbers(asked.options, asked.options.count):
        yield step
    yield Stop(usage=False)


MODES: dict[str, Callable[[Asked], Steps]] = {
    "tokens": _tokens,
    "say": _say,
    "echo": _echo,
    "length": _failing(Stop("length"), "--after tokens, then the end because no more were allowed"),
    "refused": _failing(Stop("refused"), "--after tokens, then a content filter or guardrail"),
    "no-usage": _failing(Stop(usage=False), "--after tokens, and nobody says how many they were"),
    "throttle": _refusing(Refuse("throttled"), "always 429; --retry-after SECONDS"),
    "unavailable": _refusing(Refuse("unavailable"), "always 503"),
    "half-503": _half_503,
    "invalid": _refusing(Refuse("invalid"), "always 400"),
    "forbidden": _refusing(Refuse("forbidden"), "always 403 (OpenAI's format: 401)"),
    "throttle-mid": _failing(Fail("throttled"), "--after tokens, then an event that says throttled"),
    "error-mid": _failing(Fail("unavailable"), "--after tokens, then an error event"),
    "hang-before": _at_once(Hang(), line="takes the request and never answers"),
    "hang-mid": _failing(Hang(), "--after tokens, then nothing"),
    "cut-before": _at_once(Cut(), line="breaks the connection without an answer"),
    "cut": _failing(Cut(), "--after tokens, then breaks the connection"),
    "end-early": _failing(End(), "--after tokens, then the end of the response without the answer's own end"),
    "garbage": _garbage,
    "bad-crc": _failing(Damage(), "--after tokens, then a frame with a wrong checksum (OpenAI's format: broken JSON)"),
    "empty": _at_once(End(), line="200 and nothing"),
    "silent": _at_once(Stop(), line="an answer in good order with no text in it"),
    "blank": _blank,
    "endless": _endless,
    "huge": _huge,
    "new-parameters": _new_parameters,
    "old-parameters": _old_parameters,
}  # fmt: skip
