from typing import ClassVar

import regex

from app.rag.markers import LONGEST, before_markers
from app.rag.safe_output.links import CLOSE, OPEN
from app.rag.safe_output.names import ATTRIBUTES, DEAD_SCHEMES, EAGER_SCHEMES, FILES, TOP_LEVEL
from app.rag.safe_output.places import Places
from app.rag.safe_output.stage import Match, Stage

_ENDS = r"""\s/\\?#<>"'`()\[\]{}|^,;:!*\ufdd0-\ufdd2"""
_URL = regex.compile(
    rf"(?P<scheme>https?|ftp)(?P<slashes>\\?:(?:\\?[/\\])++)(?P<host>[^{_ENDS}]*+)(?=[{_ENDS}])", regex.IGNORECASE
)
_ENDING = r"(?=[/?#]|[.,:;!?)\"'*_~\]`|]*+\s)"
"""Behind a host that may stay: anything else, some program takes for a part of it."""
_ALLOWED_URL = regex.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9\-]++(?:\.[a-z0-9\-]++)*+)(?::(?P<port>[0-9]{1,5}+))?+" + _ENDING,
    regex.IGNORECASE,
)
_DOTTED = regex.compile(r"(?:\.(?=[^\W_])[\w\-]++){1,6}+(?=[^\w.\-]|\.(?:[\W_]|(?P<more>[^\W_])))")
"""A label has 63 characters at most, so these fit into `longest`."""
_DOTTED_ENDING = regex.compile(r"(?:\.[\w\-]++)++" + _ENDING)
_COLON_SLASHES = regex.compile(r":\\?/(?:\\?[/\\])++(?=[^/\\])")
_COLON = regex.compile(r":(?=\S)")
_DATA = regex.compile(r":(?=[a-z]++/[a-z])", regex.IGNORECASE)
_SCHEME = regex.compile(r"(?P<name>[A-Za-z]++)[A-Za-z0-9+.\-]*+")
_LABEL = regex.compile(
    r"\\?(?P<label>[\w\-]++)(?:(?P<mail>[^\s@/]{0,60}+@[^\s(\[{\"\'`,])|(?P<alone>$|[\s/(\"'`\[*]))?+"
)
"""These two are read backwards: they end where something is found."""
_WORD = 100
_SENTENCE = regex.compile(r"\p{Lu}\p{Ll}+")
_BEGINNING = regex.compile(r"[^a-z0-9].*", regex.DOTALL)
_NO_NAME = ("", ".", ":", "/")


class Addresses(Stage):
    """https://evil.example becomes hxxps://evil[.]example, unless its host is allowed."""

    start: ClassVar[regex.Pattern[str]] = regex.compile(rf"(?<![A-Za-z0-9])[hHfF]|[:.{OPEN}]")
    longest: ClassVar[int] = 400
    remembered: ClassVar[int] = 2 * LONGEST + _WORD

    def __init__(self, places: Places) -> None:
        super().__init__()
        self._places = places

    def resolve(self, at: int) -> tuple[str, int]:
        first = self._text[at]
        if first == OPEN:
            end = self._text.index(CLOSE, at) + 1
            return self._text[at:end], end
        if first == ":":
            return self._colon(at)
        return self._dot(at) if first == "." else self._url(at)

    def _url(self, at: int) -> tuple[str, int]:
        found = self.match(_URL, at)
        if found is None:
            return self.literal(at)
        allowed = self.match(_ALLOWED_URL, at)
        if allowed is not None and self._places.allow_host(allowed["host"], allowed["port"], scheme=allowed["scheme"]):
            return allowed.group(), allowed.end()
        scheme = found["scheme"].replace("t", "x").replace("T", "X")
        host = found["host"].rstrip(".")
        return scheme + found["slashes"] + _broken(host), found.start("host") + len(host)

    def _colon(self, at: int) -> tuple[str, int]:
        named = _SCHEME.match(self._backwards(at))
        scheme = named["name"][::-1].lower() if named is not None else ""
        pattern = _COLON if scheme in EAGER_SCHEMES else _DATA if scheme == "data" else _COLON_SLASHES
        if named is None or len(named.group()) < 2 or scheme in DEAD_SCHEMES:
            return self.literal(at)
        found = self.match(pattern, at)
        return (f"[{found.group()}]", found.end()) if found is not None else self.literal(at)

    def _dot(self, at: int) -> tuple[str, int]:
        before = self._text[at - 1 : at]
        dotted = None if before in _NO_NAME or before.isspace() else self.match(_DOTTED, at)
        if dotted is None:
            return self.literal(at)
        name = self._name(at)
        mail = name is not None and name["mail"] is not None
        labels = [name["label"][::-1] if name is not None else "", *dotted.group().split(".")[1:]]
        live = dotted["more"] or _live(labels, mail=mail)
        if not live or self._stays(labels, dotted, name):
            return dotted.group(), dotted.end()
        if len(labels) == 2 and not mail and _SENTENCE.fullmatch(labels[1]):
            return f". {labels[1]}", dotted.end()
        return _broken(dotted.group()), dotted.end()

    def _backwards(self, at: int) -> str:
        return self._text[max(0, at - _WORD) : at][::-1]

    def _name(self, at: int) -> Match | None:
        """What stands before the dot, also when markers between them are going to be removed."""
        begin = before_markers(self._text, at)
        return _LABEL.match("www" if begin is None else self._backwards(begin))

    def _stays(self, labels: list[str], dotted: Match, name: Match | None) -> bool:
        """An allowed host, the name of a file, or, in code, what belongs to what."""
        host = ".".join(labels)
        if host.isascii() and not dotted["more"] and self._places.allow_host(host):
            return self.match(_DOTTED_ENDING, dotted.start()) is not None
        if name is None or name["mail"] or name["alone"] is None or self._text[dotted.end()] in "/:@\\?#":
            return False
        if self._code.inside and not _is_www(labels[0]):
            return ATTRIBUTES.issuperset(label.lower() for label in labels[1:] if _top_level(label))
        return len(labels) == 2 and labels[1].lower() in FILES


def _live(labels: list[str], *, mail: bool) -> bool:
    """Some programs stop at the first label that may be the last."""
    if mail:
        return not labels[-1].isdigit()
    return any(map(_top_level, labels[1:])) or _is_www(labels[0])


def _is_www(label: str) -> bool:
    """Also behind an underscore, which may be emphasis."""
    return label.lower().rpartition("_")[2] == "www"


def _top_level(label: str) -> bool:
    """Also with an ending: people write example.com and then go on in Telugu."""
    label = label.lower()
    return label in TOP_LEVEL or label.startswith("xn--") or _BEGINNING.sub("", label) in TOP_LEVEL


def _broken(host: str) -> str:
    return host.replace(".", "[.]").replace("。", "[.]")
