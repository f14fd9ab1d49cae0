"""Bytes to pages of text. A new format is one file and one line in READERS.

Whoever reads a document that somebody uploaded calls `app.readers.isolated.read_isolated`, never `read`.
"""

from collections.abc import Callable
from functools import partial
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
    "csv": "app.readers.csv.read",
    "xlsx": "app.readers.xlsx.read",
    "pptx": "app.readers.pptx.read",
    "odt": "app.readers.odt.read",
    "rtf": "app.readers.rtf.read",
    "epub": "app.readers.epub.read",
    "eml": "app.readers.eml.read",
}
"""Dotted names: the libraries behind a reader are imported when it is chosen, not before."""
ARCHIVES = frozenset({"docx", "xlsx", "pptx", "odt", "epub"})
"""Kinds that are a zip, which only their table of contents tells apart."""


def reader_for(kind: str) -> Reader:
    """UnreadableDocument(unsupported_type) for a kind that is not in READERS."""
    if kind not in READERS:
        raise UnreadableDocument("unsupported_type")
    reader = _load(kind)
    return partial(_read_archive, kind, reader) if kind in ARCHIVES else reader


def _load(kind: str) -> Reader:
    module, _, function = READERS[kind].rpartition(".")
    reader: Reader = getattr(import_module(module), function)
    return reader


def _read_archive(claimed: str, reader: Reader, data: bytes, limits: Limits) -> Document:
    """By the reader for what the zip is, whatever it is called."""
    from app.readers.archive import kind_of_archive  # not paid for by the kinds that are no zip

    if not data:
        raise UnreadableDocument("empty_file")
    kind = kind_of_archive(data)
    return (reader if kind == claimed else _load(kind))(data, limits)


def read(data: bytes, kind: str, *, limits: Limits = DEFAULT_LIMITS) -> Document:
    """In this process, without a time or memory limit. Raises UnreadableDocument."""
    return reader_for(kind)(data, limits)
