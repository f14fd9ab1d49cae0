"""Bytes to pages of text. A new format is one file and one line in READERS.

Whoever reads a document that somebody uploaded calls `app.readers.isolated.read_isolated`, never `read`.
"""

from collections.abc import Callable
from importlib import import_module

from app.readers.document import Document
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits

Reader = Callable[[bytes, Limits], Document]

READERS = {
    "pdf": "app.readers.pdf.read",
    "docx": "app.readers.docx.read",
    "doc": "app.readers.doc.read",
    "txt": "app.readers.txt.read",
    "md": "app.readers.md.read",
    "html": "app.readers.html.read",
}
"""Dotted names: the libraries behind a reader are imported when it is chosen, not before."""


def reader_for(kind: str) -> Reader:
    """UnreadableDocument(unsupported_type) for a kind that is not in READERS."""
    if kind not in READERS:
        raise UnreadableDocument("unsupported_type")
    module, _, function = READERS[kind].rpartition(".")
    reader: Reader = getattr(import_module(module), function)
    return reader


def read(data: bytes, kind: str, *, limits: Limits = DEFAULT_LIMITS) -> Document:
    """In this process, without a time or memory limit. Raises UnreadableDocument."""
    return reader_for(kind)(data, limits)
