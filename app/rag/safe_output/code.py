import re

_PIECES = re.compile(r"[^`~\n]+|[`~\n]")
_FENCE = 3


class Code:
    """Whether a text stands between backticks or fences, more or less: it decides how things look, not what is safe."""

    def __init__(self) -> None:
        self._fenced = self._ticked = False
        self._blank = True
        """Nothing but white space and the beginning of a fence is on the line."""
        self._run = 0

    @property
    def inside(self) -> bool:
        return self._fenced or self._ticked

    def feed(self, text: str) -> None:
        if self._blank or self._ticked or "`" in text or "\n" in text:
            for piece in _PIECES.findall(text):
                self._take(piece)

    def _take(self, piece: str) -> None:
        if piece == "\n":
            self._blank, self._ticked, self._run = True, False, 0
        elif piece in "`~":
            self._run += self._blank
            self._ticked ^= piece == "`" and not self._fenced
            if self._run == _FENCE:
                self._fenced, self._ticked, self._blank, self._run = not self._fenced, False, False, 0
        elif self._run or not piece.isspace():
            self._blank, self._run = False, 0
