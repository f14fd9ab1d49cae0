"""What a model made of a question, and questions that no person asked."""

import re

from app.languages import LANGUAGES
from app.rag.markers import MARKER
from app.rag.safe_output.characters import without_invisible
from app.rag.sentences import sentences

LONGEST_QUESTION = 400
"""Code points."""
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_LABEL = re.compile(
    r"\A(?:(?:the )?(?:rewritten|standalone|self-contained|final|search)\s+)?(?:question|query|q)\s*:\s*", re.IGNORECASE
)
_TALK = re.compile(
    r"\A(?:i['’]?m|i am|i can|i cannot|i don|i do not|sorry|sure|certainly|of course|here (?:is|are)|here['’]s|as an ai"
    r"|based on|according to|yes,|no,|unfortunately)\b",
    re.IGNORECASE,
)
_QUOTES = "\"'`“”‘’«»„*_ "
_REFUSALS = frozenset(language.no_answer for language in LANGUAGES.values())
_LETTER = re.compile(r"[^\W\d_]")
_BACKGROUND = re.compile(r"\A\s*#{2,4} Task:")


def parse_rewrite(text: str) -> str | None:
    """The question, or None when it is none: then the question as it was asked is searched."""
    text = without_invisible(_THOUGHT.sub("", text)).strip()
    text = _LABEL.sub("", text.strip(_QUOTES)).strip(_QUOTES)
    if not _LETTER.search(text) or "\n" in text or len(text) > LONGEST_QUESTION:
        return None
    if text in _REFUSALS or _TALK.match(text) or MARKER.search(text) or "<" in text or len(sentences(text)) > 2:
        return None
    return text


def is_background_task(text: str) -> bool:
    """A chat front end asks for a title, tags or follow-up questions: nothing to search for, and nobody's question."""
    return _BACKGROUND.match(text) is not None
