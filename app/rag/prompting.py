"""What a language model is asked: constant instructions, passages inside a random fence, history that fits.

The instructions are files in `prompts/`, their first line a version. They never hold a word of a question or a passage.
How much fits is estimated, as only the provider can count: three bytes of UTF-8 are a token, which is too many for
English and about right for Telugu.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Literal, NamedTuple

from app.languages import get_language
from app.rag.conversation import Said
from app.rag.passages import Passage

FOR_PASSAGES = 2 / 3
"""Of the room beside instructions and question; history gets what they leave."""
SPARE_TOKENS = 64
"""For what the provider puts around messages."""
BYTES_A_TOKEN = 3
LONGEST_REWRITTEN = 400
_MARKUP = re.compile(r"<(?=[|/!?a-z])", re.IGNORECASE)
_ROLE = re.compile(
    r"^(\W*(?:system|human|user|assistant|developer|instructions?))(?=\s*:)", re.IGNORECASE | re.MULTILINE
)
_LABEL = re.compile(r"^(?:rewritten |standalone )?question\s*:\s*", re.IGNORECASE)

Role = Literal["user", "assistant"]


class Message(NamedTuple):
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class BuiltPrompt:
    """`messages` alternate and end with the user's. `tokens` is an estimate of them with the instructions; `passages`
    and `pairs` say how many of them fitted."""

    version: str
    system: str
    messages: list[Message]
    max_tokens: int
    tokens: int
    passages: int = 0
    pairs: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """`window`: tokens of the prompt and the answer together; `max_tokens` of the answer."""

    window: int
    max_tokens: int


class Instructions(NamedTuple):
    version: str
    text: str


@cache
def instructions(name: str) -> Instructions:
    version, _, text = (files("app.rag") / "prompts" / f"{name}.txt").read_text(encoding="utf-8").partition("\n")
    return Instructions(version.strip(), text.strip())


def answer_prompt(
    question: str,
    passages: Sequence[Passage],
    history: Sequence[Said],
    *,
    lang: str,
    room: Room,
    fence: str | None = None,
) -> BuiltPrompt:
    """Passages best first; what does not fit is left out, from the end. `fence` is random unless given."""
    fence = fence or secrets.token_hex(8)
    system = instructions("answer")
    asked = _asked(question, lang)
    left = room.window - room.max_tokens - SPARE_TOKENS - estimated(system.text) - estimated(asked)
    texts = _fitting([_passage(passage) for passage in passages], int(left * FOR_PASSAGES))
    fenced = "\n".join(
        [f"=== {fence} ===", *(text.replace(fence, "") for text in texts), f"=== {fence} ===", "", asked]
    )
    return _built(system, fenced, history, room, passages=len(texts))


def plain_prompt(question: str, history: Sequence[Said], *, lang: str, room: Room) -> BuiltPrompt:
    """Without documents."""
    return _built(instructions("plain"), _asked(question, lang), history, room)


def rewrite_prompt(question: str, history: Sequence[Said], *, room: Room) -> BuiltPrompt:
    """What comes back is read by `parse_rewritten`."""
    return _built(instructions("rewrite"), question, history, room)


def parse_rewritten(text: str) -> str | None:
    """The question; None when the model has said something else."""
    line = _LABEL.sub("", text.strip()).strip().strip("\"'“”‘’`").strip()
    return line if line and "\n" not in line and len(line) <= LONGEST_REWRITTEN else None


def estimated(text: str) -> int:
    """Tokens, rather too many than too few."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN)


def harmless(text: str) -> str:
    """A passage as it stands in the fence: what could pass for markup or for somebody's turn is broken by a space."""
    return _ROLE.sub(r"\1 ", _MARKUP.sub("< ", text))


def _asked(question: str, lang: str) -> str:
    return f"Language of the answer: {get_language(lang).name} ({lang})\n\nQuestion:\n{question}"


def _passage(passage: Passage) -> str:
    page = f", page {passage.page}" if passage.page else ""
    title = " ".join(harmless(passage.title).split())
    return f"[{passage.n}] {title}{page}\n{harmless(passage.text)}\n"


def _fitting(texts: Sequence[str], tokens: int) -> list[str]:
    found: list[str] = []
    for text in texts:
        tokens -= estimated(text)
        if tokens < 0:
            break
        found.append(text)
    return found


def _built(system: Instructions, last: str, history: Sequence[Said], room: Room, passages: int = 0) -> BuiltPrompt:
    tokens = estimated(system.text) + estimated(last)
    pairs = _pairs(history, room.window - room.max_tokens - SPARE_TOKENS - tokens)
    earlier = [Message(said.role, said.text) for pair in pairs for said in pair]
    tokens += sum(estimated(message.content) for message in earlier)
    messages = [*earlier, Message("user", last)]
    return BuiltPrompt(system.version, system.text, messages, room.max_tokens, tokens, passages, len(pairs))


def _pairs(history: Sequence[Said], tokens: int) -> list[tuple[Said, Said]]:
    """The newest questions with their answers that fit, oldest first. A question without an answer is left out."""
    found: list[tuple[Said, Said]] = []
    for asked, answered in reversed([*pairwise(history)]):
        if (asked.role, answered.role) != ("user", "assistant"):
            continue
        tokens -= estimated(asked.text) + estimated(answered.text)
        if tokens < 0:
            break
        found.append((asked, answered))
    return found[::-1]
