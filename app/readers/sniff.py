"""What a file is, judged by its first bytes; and a name for it that is safe to show."""

import re
import unicodedata

from app.readers.clean import INVISIBLE
from app.readers.errors import UnreadableDocument
from app.readers.suffixes import ALLOWED_SUFFIXES, KIND_BY_SUFFIX

__all__ = ["ALLOWED_SUFFIXES", "HEAD_BYTES", "normalise_filename", "sniff", "suffix_of"]

HEAD_BYTES = 4096
"""How much of the file `sniff` wants to see; less is fine for shorter files."""
MAX_NAME_BYTES = 255
_LONGEST_SUFFIX = 16
_NAMELESS = "document"
_UNPRINTABLE = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{INVISIBLE}]")

_PDF_WITHIN = 1024  # ISO 32000 readers look for the header this far into the file
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK\x03\x04"
_DOCX_FIRST_ENTRIES = (
    *(b"[Content_Types].xml", b"_rels/", b"docProps/"),
    *(b"docMetadata/", b"word/", b"customXml/"),
)
_BINARY = (
    b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\x89PNG", b"\xff\xd8\xff", b"\x1f\x8b",
    b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd", b"PK\x05\x06", b"PK\x07\x08",
    b"SQLite format 3\0", b"\0asm", b"{\\rtf", b"II*\0", b"MM\0*",
)  # fmt: skip
# As letters they may begin a text.
_BINARY_IF_ZEROS = (b"MZ", b"GIF8", b"RIFF", b"BM", b"ID3", b"OggS", b"BZh")
_HTML = re.compile(  # atomic groups: without them a run of comments costs exponential time
    rb"\s*(?><\?xml.*?\?>\s*)?(?><!--.*?-->\s*)*<(?:!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL
)


def sniff(head: bytes, filename: str) -> str:
    """`head` is the first HEAD_BYTES bytes. Returns pdf, docx, doc, txt, md or html.

    Raises UnreadableDocument: unsupported_type, empty_file or type_mismatch. A zip that starts like a .docx
    is taken for one; what it truly is only its reader can say.
    """
    claimed = KIND_BY_SUFFIX.get(suffix_of(filename))
    if claimed is None:
        raise UnreadableDocument("unsupported_type")
    if not head:
        raise UnreadableDocument("empty_file")
    content = _content(head[:HEAD_BYTES])
    if claimed == "pdf" and content == "text" and b"%PDF-" in head[:_PDF_WITHIN]:
        return "pdf"
    if content not in _FITTING[claimed]:
        raise UnreadableDocument("type_mismatch")
    return content if content in ("pdf", "docx", "doc") else claimed


_FITTING = {
    "pdf": {"pdf"},
    # An encrypted .docx is an OLE container, and people rename one of the two into the other.
    "docx": {"docx", "doc"},
    "doc": {"docx", "doc"},
    "txt": {"text"},
    "md": {"text"},
    "html": {"text", "html"},
}


def _content(head: bytes) -> str:
    """pdf, docx, doc, html, text or other."""
    if head.startswith(_ZIP):
        name_length = int.from_bytes(head[26:28], "little")
        return "docx" if head[30 : 30 + name_length].startswith(_DOCX_FIRST_ENTRIES) else "other"
    if head.startswith(_OLE):
        return "doc"
    if head.startswith(_BINARY) or (head.startswith(_BINARY_IF_ZEROS) and b"\0" in head):
        return "other"
    text = head.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    if text.lstrip().startswith(b"%PDF-"):
        return "pdf"
    return "html" if _HTML.match(text) else "text"


def suffix_of(filename: str) -> str:
    """Lower case with its dot; empty when there is none. `.txt` alone counts as a suffix."""
    _, dot, suffix = normalise_filename(filename).rpartition(".")
    return (dot + suffix).lower() if dot else ""


def normalise_filename(name: str) -> str:
    """For display: last path part, NFC, no control, bidi or invisible characters, 1 to 255 UTF-8 bytes."""
    visible = unicodedata.normalize("NFC", _UNPRINTABLE.sub("", name))
    parts = [part.strip() for part in re.split(r"[/\\]", visible)]
    named = [part for part in parts if part.strip(". ")]
    return _shortened(named[-1]).strip() if named else _NAMELESS


def _shortened(name: str) -> str:
    """Cut before the suffix, so that the type survives."""
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, dot, suffix = name, "", ""
    room = MAX_NAME_BYTES - len((dot + suffix).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + suffix
