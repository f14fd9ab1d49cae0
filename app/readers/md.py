"""Markdown, kept as it is written: headings and tables read well in it. The first heading is the title."""

import re

from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.encoding import decode_text
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits

_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_TITLE_WITHIN = 10_000


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:  # noqa: ARG001 (the text is no longer than the file)
    if not data:
        raise UnreadableDocument("empty_file")
    text = decode_text(data)
    heading = _HEADING.search(text.replace("\r\n", "\n")[:_TITLE_WITHIN])
    return cleaned_document("md", [Page(None, text)], title=heading[1] if heading else None)
