"""What of a passage is embedded, and what full text search sees."""

import hashlib

from app.rag.search_words import search_form, title_form


def embedded_text(title: str, heading: str | None, text: str) -> str:
    """The passage under its heading, or the title: alone it often does not say what it is about."""
    above = heading or title
    return text if text.startswith(above) else f"{above}\n{text}"


def content_hash(title: str, heading: str | None, text: str) -> bytes:
    """SHA-256 of what is embedded: equal hashes, equal vectors."""
    return hashlib.sha256(embedded_text(title, heading, text).encode()).digest()


def searched_text(title: str, heading: str | None, text: str) -> str:
    """Longer than what is embedded, for words that stand in the title only."""
    return "\n".join((title_form(title), search_form(f"{heading}\n{text}" if heading else text)))
