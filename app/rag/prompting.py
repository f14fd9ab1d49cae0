"""Prompts of chat models: what is told, in which order, and what is left out; see docs/prompting.md."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Generic, TypeVar

from app.languages import get_language
from app.rag.conversation import LONGEST, Said
from app.rag.fence import fenced, harmless, new_fence
from app.rag.markers import strip_unknown
from app.rag.passages import Passage
from app.rag.prompt import ChatMessage, Prompt

AnyPassage = TypeVar("AnyPassage", bound=Passage)

MOST_PAIRS = 10
"""Questions with their answers from before; older ones cost more than they tell."""
HISTORY_SHARE = 0.25
"""Of the window, at most."""
REWRITE_WINDOW = 4096
REWRITE_TOKENS = 128
REWRITE_PAIRS = 3
PER_MESSAGE = 8
"""Tokens that a model's own format puts around a message."""
_PROMPTS = Path(__file__).parent / "prompts"
_WORDS = re.compile(rb" ?[A-Za-z][a-z]*")
_LETTERS_PER_TOKEN = 3


@dataclass(frozen=True, slots=True)
class BuiltPrompt(Generic[AnyPassage]):
    prompt: Prompt
    version: str
    """Of the text that instructs the model, as traces keep it."""
    passages: tuple[AnyPassage, ...] = ()
    """Those that fitted, the first of what was given."""
    pairs: int = 0
    """Questions with their answers from before that fitted."""
    fits: bool = True
    """False when the rules and the question alone are too long for the window."""


def build_answer_prompt(
    question: str,
    passages: Sequence[AnyPassage],
    history: Sequence[Said],
    *,
    lang: str,
    window: int,
    max_tokens: int,
    fence: str | None = None,
) -> BuiltPrompt[AnyPassage]:
    """Passages come before history: an answer without its conversation is worth more than one without documents."""
    fence = fence or new_fence()
    asked = fenced("question", fence, question)
    system, version = _system("answer", lang)
    budget = window - max_tokens - _cost(system) - _cost(asked)
    texts, left = _fitting([_excerpt(passage, fence) for passage in passages], budget)
    before = _before(history, min(left, int(window * HISTORY_SHARE)))
    messages = (*before, ChatMessage("user", "\n\n".join([*texts, asked])))
    kept = tuple(passages[: len(texts)])
    return BuiltPrompt(Prompt(system, messages, max_tokens), version, kept, len(before) // 2, fits=budget >= 0)


def build_plain_prompt(
    question: str,
    history: Sequence[Said],
    *,
    lang: str,
    window: int,
    max_tokens: int,
    fence: str | None = None,
) -> BuiltPrompt[Passage]:
    """Without documents. History may take what is left of the window."""
    asked = fenced("question", fence or new_fence(), question)
    system, version = _system("plain", lang)
    budget = window - max_tokens - _cost(system) - _cost(asked)
    before = _before(history, budget)
    messages = (*before, ChatMessage("user", asked))
    return BuiltPrompt(Prompt(system, messages, max_tokens), version, pairs=len(before) // 2, fits=budget >= 0)


def build_rewrite_prompt(
    question: str, history: Sequence[Said], lang: str, *, window: int = REWRITE_WINDOW, fence: str | None = None
) -> BuiltPrompt[Passage]:
    """The conversation is quoted, not continued: the model must not take it for its own."""
    fence = fence or new_fence()
    asked = fenced("question", fence, question)
    system, version = _system("rewrite", lang)
    budget = window - REWRITE_TOKENS - _cost(system) - _cost(asked)
    pairs = [f"Q: {ask[:LONGEST]}\nA: {answer[:LONGEST]}" for ask, answer in _pairs(history)[-REWRITE_PAIRS:]]
    newest_first, _ = _fitting(
        [harmless(pair) for pair in reversed(pairs)], budget - _cost(fenced("conversation", fence, ""))
    )
    quoted = fenced("conversation", fence, "\n".join(reversed(newest_first)))
    prompt = Prompt(system, (ChatMessage("user", f"{quoted}\n\n{asked}"),), REWRITE_TOKENS)
    return BuiltPrompt(prompt, version, pairs=len(newest_first), fits=budget >= 0)


def tokens(text: str) -> int:
    """No fewer than a model counts: one for every three letters of a Latin word, else one for each byte.

    Vocabularies that know little Telugu or Hindi need up to three tokens a letter; for others this is twice as many as
    there are, which costs a passage or an old question in a small window.
    """
    data = text.encode("utf-8", "replace")
    words = [len(word.group()) for word in _WORDS.finditer(data)]
    return len(data) - sum(words) + sum(-(-length // _LETTERS_PER_TOKEN) for length in words)


@cache
def _template(name: str) -> tuple[str, str]:
    """The text without its first line, and that line: its version."""
    version, _, text = (_PROMPTS / f"{name}.txt").read_text("utf-8").partition("\n")
    return text.strip(), version.strip()


def _system(name: str, lang: str) -> tuple[str, str]:
    """Depends on the language alone: nothing that a person or a document says comes in here."""
    text, version = _template(name)
    language = get_language(lang)
    text = text.replace("{language}", f"{language.name} ({language.code})").replace("{no_answer}", language.no_answer)
    return text, version


def _excerpt(passage: Passage, fence: str) -> str:
    about: dict[str, str | int] = {"n": passage.n, "title": passage.title}
    if passage.page is not None:
        about["page"] = passage.page
    return fenced("excerpt", fence, passage.text, **about)


def _fitting(texts: Sequence[str], budget: int) -> tuple[list[str], int]:
    """The first of them, until one does not fit, and what is left of the budget."""
    kept: list[str] = []
    for text in texts:
        cost = tokens(text) + PER_MESSAGE
        if cost > budget:
            break
        kept.append(text)
        budget -= cost
    return kept, budget


def _before(history: Sequence[Said], budget: int) -> tuple[ChatMessage, ...]:
    """The newest pairs that fit, oldest first."""
    kept: list[ChatMessage] = []
    for question, answer in reversed(_pairs(history)[-MOST_PAIRS:]):
        pair = [ChatMessage("user", harmless(question)), ChatMessage("assistant", harmless(answer))]
        budget -= sum(_cost(message.content) for message in pair)
        if budget < 0:
            break
        kept = [*pair, *kept]
    return tuple(kept)


def _pairs(history: Sequence[Said]) -> list[tuple[str, str]]:
    """Questions with the finished answer right behind them. Its markers name passages of another turn."""
    return list(_each_pair(history))


def _each_pair(history: Sequence[Said]) -> Iterator[tuple[str, str]]:
    for asked, said in pairwise(history):
        if asked.role == "user" and said.role == "assistant" and said.finished and said.text.strip():
            yield asked.text, strip_unknown(said.text, frozenset())


def _cost(text: str) -> int:
    return tokens(text) + PER_MESSAGE
