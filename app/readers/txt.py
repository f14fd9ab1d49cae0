"""Plain text: one page without a number."""

from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.encoding import decode_text
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:  # noqa: ARG001 (the text is no longer than the file)
    if not data:
        raise UnreadableDocument("empty_file")
    return cleaned_document("txt", [Page(None, decode_text(data))])
