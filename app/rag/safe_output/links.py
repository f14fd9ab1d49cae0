from typing import ClassVar

import regex

from app.rag.markers import MARKER
from app.rag.safe_output.places import Places
from app.rag.safe_output.stage import Stage

OPEN, CLOSE = "\ufdd0", "\ufdd1"
"""Round brackets of a link that may stay: the text from elsewhere holds none of these."""
_PLAIN = r"[^\[\]\\\n]|\\.|\n(?!\s*\n)"
_TEXT = r"(?:" + _PLAIN + r"|\[(?:" + _PLAIN + r"|\[(?:" + _PLAIN + r")*+\])*+\]){0,200}+"
"""With brackets in brackets, as an image in a link."""
_WITHIN = r"[^()\\\n]|\\.|\n(?!\s*\n)"
_TARGET = r"\((?P<target>(?:" + _WITHIN + r"|\((?:" + _WITHIN + r")*+\))*+)\)"
_LINK = regex.compile(rf"\[(?P<text>{_TEXT})\](?:{_TARGET}|(?=[^(]))", regex.DOTALL)
_IMAGE = regex.compile(rf"!\[(?P<text>{_TEXT})\](?:{_TARGET}|(?P<reference>\[[^\[\]]*+\])|(?=[^(\[]))", regex.DOTALL)
_LEADS_SOMEWHERE = regex.compile(r"[:/\\.#%?&=@<>]|^\s*$")
"""Not so f[x](y) and [a + b](c + d)."""


class Links(Stage):
    """Removes images, and of links that may not stay all but their text. In code they are left as text."""

    start: ClassVar[regex.Pattern[str]] = regex.compile(r"(?<!\\)[!\[]")

    def __init__(self, places: Places) -> None:
        super().__init__()
        self._places = places

    def resolve(self, at: int) -> tuple[str, int]:
        if self._code.inside:
            return self.literal(at)
        if self._text[at] == "!":
            return self._image(at)
        link = self.match(_LINK, at)
        if link is None or link["target"] is None or not _LEADS_SOMEWHERE.search(link["target"]):
            return self.literal(at)
        return self._link(at, link["text"], link["target"]), link.end()

    def _image(self, at: int) -> tuple[str, int]:
        """`![1]` is an exclamation mark and the marker of a passage."""
        image = self.match(_IMAGE, at)
        if image is None or (image["target"] is None and _is_marker(image["text"])):
            return self.literal(at)
        return "", image.end()

    def _link(self, at: int, text: str, target: str) -> str:
        if _is_marker(text):
            return f"[{text}]"
        text, address = self._inner(text), _address(target)
        if not text.strip() or not self._places.allow_link(address):
            return text
        behind_marker = " " * (self._text[at - 1 : at] == "]")
        return f"{behind_marker}[{text}]{OPEN}{address}{CLOSE}"

    def _inner(self, text: str) -> str:
        inner = Links(self._places)
        return inner.feed(text) + inner.flush()


def _is_marker(text: str) -> bool:
    return MARKER.fullmatch(f"[{text}]") is not None


def _address(target: str) -> str:
    """Without the title and the pointed brackets."""
    parts = target.split(maxsplit=1)
    return parts[0].removeprefix("<").removesuffix(">") if parts else ""
