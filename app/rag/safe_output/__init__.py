"""What a poisoned document makes a model say must not leave as a live link or image; see docs/prompting.md.

Five stages, each fed with what the one before lets through:

    Characters  invisible characters, character references
    Tags        HTML
    Links       links and images of Markdown
    Addresses   bare URLs, host names, e-mail addresses
    Guard       pairs of characters that make something live

The first four make the text look right, and may take for a link what a renderer does not, or the other way round. The
last one sees only neighbours in what remains, and lets none through that opens a tag, a link, an image or a definition,
unless a stage before has approved of it. So a construct that nobody thought of, or that comes to be because something
between its halves was removed, is text. The same holds when a MarkerFilter behind removes markers of passages.
"""

from collections.abc import Set

import regex

from app.rag.safe_output.addresses import Addresses
from app.rag.safe_output.characters import Characters
from app.rag.safe_output.guard import Guard
from app.rag.safe_output.links import Links
from app.rag.safe_output.places import Places
from app.rag.safe_output.stage import LONGEST_HELD
from app.rag.safe_output.tags import Tags

__all__ = ["LONGEST_HELD", "SafeOutput", "safe"]


_CALM = regex.compile(r"(?:[A-EGI-Za-egi-z0-9 ,\u00c0-\u024f\u0900-\u0dff]|(?<=[A-Za-z0-9])[FHfh])+")
"""Words that nothing begins in, if nothing is open before them."""
_MOST_AHEAD = 500


class SafeOutput:
    """For a text that comes in pieces. What comes out is the same wherever it was cut.

    Held back is only what may still become a link, a tag or an address, LONGEST_HELD code points at most.
    """

    def __init__(self, allowed_hosts: frozenset[str], document_urls: Set[str]) -> None:
        """Hosts without a port stand for themselves and their subdomains, on the usual ports."""
        places = Places(allowed_hosts, document_urls)
        self._stages = (Characters(), Tags(), Links(places), Addresses(places), Guard())
        self._last = " "
        self._ahead = ""
        """Calm words that were let through before the stages saw them: most of an answer costs next to nothing."""

    def feed(self, text: str) -> str:
        if self._is_calm(text):
            self._ahead, self._last = self._ahead + text, text[-1]
            return text
        return self._through(text)

    def flush(self) -> str:
        """What is still held; the text is over."""
        text = self._through("")
        for stage in self._stages:
            text = stage.feed(text) + stage.flush()
        return text

    def _is_calm(self, text: str) -> bool:
        return (
            _CALM.fullmatch(self._last + text, 1) is not None
            and len(self._ahead) < _MOST_AHEAD
            and (self._ahead != "" or (_CALM.fullmatch(self._last + self._last, 1) is not None and self._idle()))
        )

    def _idle(self) -> bool:
        return all(stage.idle for stage in self._stages)

    def _through(self, text: str) -> str:
        text, ahead = self._ahead + text, len(self._ahead)
        self._ahead, self._last = "", text[-1:] or self._last
        for stage in self._stages:
            text = stage.feed(text)
        return text[ahead:]


def safe(text: str, allowed_hosts: frozenset[str] = frozenset(), document_urls: Set[str] = frozenset()) -> str:
    """The whole text at once."""
    output = SafeOutput(allowed_hosts, document_urls)
    return output.feed(text) + output.flush()
