from typing import ClassVar

import regex

from app.rag.markers import LONGEST, closed_marker
from app.rag.safe_output.links import CLOSE, OPEN
from app.rag.safe_output.stage import Stage
from app.rag.safe_output.tags import LINE_BREAK

_CLOSERS = "]】］〕"
_AFTER = _CLOSERS.replace("]", r"\]")
_APPROVED = {OPEN: "(", CLOSE: ")", LINE_BREAK: "<br>"}


class Guard(Stage):
    """Puts a space between two characters that together open a tag, an image, a link, a definition or an address, and
    behind a marker whose removal would let such characters meet. Needs to know only what came before."""

    start: ClassVar[regex.Pattern[str]] = regex.compile(
        rf"[{OPEN}{LINE_BREAK}]"
        r"|(?<=<)[A-Za-z/!?]"
        r"|(?<=!)\["
        rf"|(?<=[{_AFTER}])[(:]"
        r"|(?<=(?<!:)/[/\\])[^\s/\\\]]"
        rf"|(?<=[{_AFTER}])[A-Za-z0-9/\\@#&_%~=+$!?]"
    )
    remembered: ClassVar[int] = LONGEST

    def resolve(self, at: int) -> tuple[str, int]:
        char = self._text[at]
        if char in _APPROVED:
            return self._approved(at)
        if self._text[at - 1] in _CLOSERS and char not in "(:" and not self._parts(at):
            return self.literal(at)
        return f" {char}", at + 1

    def _approved(self, at: int) -> tuple[str, int]:
        end = at + 1 if self._text[at] == LINE_BREAK else self._text.index(CLOSE, at) + 1
        return "".join(_APPROVED.get(char, char) for char in self._text[at:end]), end

    def _parts(self, at: int) -> bool:
        """Whether a marker ends here and keeps apart what is around it; `great [1]!` may stay."""
        begin = closed_marker(self._text, at)
        return begin is not None and (self._text[at] not in "!?" or self._text[:begin].endswith("<"))
