"""Why a document could not be read: one error, told apart by its code, with one sentence for people each."""

from app.core.errors import Kind, RagchatError
from app.readers.suffixes import ALLOWED_SUFFIXES

SENTENCES = {
    "encrypted": "The document is protected with a password; save a copy without one and upload that.",
    "no_text": "The document holds no text; a scan needs text recognition (OCR) first.",
    "bad_file": "The document is damaged or is not what its name says; open it and save a new copy.",
    "type_mismatch": "The content of the file does not fit its name; check the file and its suffix.",
    "archive_bomb": "The document unpacks to far more data than its size allows, so it was not opened.",
    "parser_timeout": "The document took too long to read; split it into smaller ones.",
    "parser_crashed": "Reading the document failed or took too much memory; open it and save a new copy.",
    "too_large": "The document holds more text than this service accepts; split it into smaller ones.",
    "too_many_pages": "The document has more pages than this service accepts; split it into smaller ones.",
    "unsupported_type": f"This type of file is not supported; send one of {', '.join(ALLOWED_SUFFIXES)} "
    "(.doc from Word 97 or later).",
    "empty_file": "The file is empty: 0 bytes arrived.",
}
PLAIN = frozenset({"txt", "md", "csv", "html", "eml", "xlsx"})
"""Nobody scans a page into one of these."""
_KINDS = {
    "type_mismatch": Kind.UNSUPPORTED,
    "unsupported_type": Kind.UNSUPPORTED,
    "too_large": Kind.TOO_LARGE,
    "too_many_pages": Kind.TOO_LARGE,
}


class UnreadableDocument(RagchatError):
    """`code` is a key of SENTENCES; anything else is a KeyError, a mistake of the caller."""

    kind = Kind.INVALID

    def __init__(self, code: str, *, document: str | None = None) -> None:
        """`document` is its kind, where the sentence depends on it."""
        blank = code == "no_text" and document in PLAIN
        super().__init__(code, "The document holds no text." if blank else SENTENCES[code])
        self.kind = _KINDS.get(code, Kind.INVALID)
