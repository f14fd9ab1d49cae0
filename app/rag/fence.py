"""Text from elsewhere inside a prompt: it must not close what it stands in, nor speak as somebody else."""

import secrets

import regex

from app.privacy import PLACEHOLDER
from app.rag.safe_output.characters import without_invisible

_TAG = regex.compile(rf"<(?=[^\s\d=])(?!{PLACEHOLDER[1:]})")
"""</context>, <|im_start|>, <<SYS>>, </s> and the fence itself; not what stands for masked personal data."""
_END = regex.compile(rf"(?<!{PLACEHOLDER[:-1]})>")
_TOKEN = regex.compile(r"\[(?=/?[A-Z_]{3,20}\])")
"""[INST], [/INST], [TOOL_CALLS]"""
_ROLE = regex.compile(
    r"^(?P<who>[\s>#*_-]*(?:human|user|assistant|system|developer|tool|function|instructions?|response|input|ai|bot)"
    r"[*_]*)(?=[:：])",
    regex.IGNORECASE | regex.MULTILINE,
)


def new_fence() -> str:
    """A word that nobody who wrote a document can have known."""
    return secrets.token_hex(8)


def fenced(kind: str, fence: str, text: str, **attributes: str | int) -> str:
    about = "".join(f' {name}="{_attribute(str(value))}"' for name, value in attributes.items())
    return f"<{kind}-{fence}{about}>\n{harmless(text)}\n</{kind}-{fence}>"


def harmless(text: str) -> str:
    """With a space where a tag, a control word of a model or the name of a speaker begins; no invisible characters."""
    text = _TOKEN.sub("[ ", _TAG.sub("< ", without_invisible(text)))
    return str(_ROLE.sub(r"\g<who> ", text))


def _attribute(value: str) -> str:
    return " ".join(_END.sub(")", harmless(value).replace('"', "'")).split())
