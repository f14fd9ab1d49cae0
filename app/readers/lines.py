"""Lines of a document on their way from its reader."""

from collections.abc import Iterable, Iterator

from app.readers.errors import UnreadableDocument
from app.readers.limits import Limits


def within(lines: Iterable[str], limits: Limits) -> Iterator[str]:
    """Raises UnreadableDocument(too_large)."""
    total = 0
    for line in lines:
        total += len(line) + 1
        if total > limits.max_text_bytes:
            raise UnreadableDocument("too_large")
        yield line
