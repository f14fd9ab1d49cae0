"""The one place where text is cleaned, whatever the format it came from."""

import re
from collections.abc import Iterable

from app.readers.document import Document, Page
from app.readers.errors import UnreadableDocument

INVISIBLE = (
    r"\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # zero width and bidi controls
    r"\U000e0000-\U000e007f"  # tag characters: text that people cannot see but models read
    r"\ud800-\udfff"  # lone surrogates: no UTF-8 for them
)
"""Inside a character class. U+200C and U+200D stay: Telugu and Hindi spelling needs them."""
_REMOVED = re.compile(rf"[\x00-\x08\x0e-\x1f{INVISIBLE}]+")
_LINE_BREAK = re.compile(r"\r\n|[\r\v\f]")
MAX_TITLE_CHARS = 300


def clean(text: str) -> str:
    """Line breaks become \\n; other C0 controls except \\t and invisible characters go; no other change."""
    return _REMOVED.sub("", _LINE_BREAK.sub("\n", text))


def cleaned_document(
    kind: str, pages: Iterable[Page], *, title: str | None = None, warnings: list[str] | None = None
) -> Document:
    """Raises UnreadableDocument(no_text) when nothing but white space is left."""
    cleaned = [Page(page.number, clean(page.text)) for page in pages]
    if not any(page.text.strip() for page in cleaned):
        raise UnreadableDocument("no_text", document=kind)
    shown_title = " ".join(clean(title or "").split())[:MAX_TITLE_CHARS]
    return Document(kind, cleaned, shown_title or None, warnings or [])
