from typing import ClassVar

import regex

from app.rag.markers import LONGEST, before_markers
from app.rag.safe_output.links import CLOSE, OPEN
from app.rag.safe_output.stage import Stage
from app.rag.safe_output.tags import LINE_BREAK

_CLOSERS = "]】］〕"
_OPENERS = "[【［〔"
_AFTER = _CLOSERS.replace("]", r"\]")
_WORDS_FIRST = regex.compile(rf"\n[^\[{_OPENERS[1:]}]*?[^\W\d_]{{2}}[ ,]")
_APPROVED = {OPEN: "(", CLOSE: ")", LINE_BREAK: "<br>"}


class Guard(Stage):
    """Puts a space between two characters that together open a tag, an image, a link, a definition or an address, and
    behind a marker whose removal would let such characters meet. Needs to know only what came before."""

    start: ClassVar[regex.Pattern[str]] = regex.compile(
        rf"[{OPEN}{LINE_BREAK}]"
        r"|(?<=<)[A-Za-z/!?]"
        r"|(?<=!)\["
        rf"|(?<=[{_AFTER}])[(:]"
        rf"|(?<=[{_AFTER}]:)\S"
        rf"|(?<=(?<!(?<![{_AFTER}]):)/[/\\])[^\s/\\\]]"
        rf"|(?<=[{_AFTER}])[A-Za-z0-9/\\@#&_%~=+$!?]"
    )
    remembered: ClassVar[int] = 2 * LONGEST

    def resolve(self, at: int) -> tuple[str, int]:
        char = self._text[at]
        if char in _APPROVED:
            return self._approved(at)
        if self._text[at - 1] in _CLOSERS and self._may_stay(char, at):
            return self.literal(at)
        return f" {char}", at + 1

    def _approved(self, at: int) -> tuple[str, int]:
        end = at + 1 if self._text[at] == LINE_BREAK else self._text.index(CLOSE, at) + 1
        behind_slash = " " * (self._text[at - 1] in "/\\")
        return behind_slash + "".join(_APPROVED.get(char, char) for char in self._text[at:end]), end

    def _may_stay(self, char: str, at: int) -> bool:
        """Behind a bracket: `leave [1]: 20 days` defines nothing, and `great [1]!` opens nothing."""
        if char in "(:":
            line = self._text.rfind("\n", max(0, at - LONGEST), at)
            return char == ":" and line >= 0 and _WORDS_FIRST.match(self._text, line, at) is not None
        begin = before_markers(self._text, at)
        return begin == at or (begin is not None and char in "!?" and self._text[begin - 1 : begin] != "<")
