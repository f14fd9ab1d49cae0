"""What a file is, judged by its first bytes; and a name for it that is safe to show."""

import re
import unicodedata

from app.readers import ARCHIVES
from app.readers.archive import MIMETYPES
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
_MIMETYPE = re.compile(rb"application/[\w.+-]+?(?=\s*(?:PK[\x01-\x08]|\Z))")
_OOXML_ENTRY = re.compile(rb"PK\x03\x04.{26}(word|xl|ppt)/", re.DOTALL)
_OOXML_KINDS = {b"word": "docx", b"xl": "xlsx", b"ppt": "pptx"}
_FIRST_ENTRIES = (
    *(b"[Content_Types].xml", b"_rels/", b"docProps/", b"docMetadata/", b"customXml/"),
    *(b"META-INF/", b"Configurations2/", b"Thumbnails/", b"Pictures/", b"OEBPS/", b"OPS/", b"EPUB/"),
)
_FIRST_SUFFIXES = (b".xml", b".rels", b".opf", b".ncx", b".xhtml", b".html", b".htm")
_BINARY = (
    b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\x89PNG", b"\xff\xd8\xff", b"\x1f\x8b",
    b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd", b"PK\x05\x06", b"PK\x07\x08",
    b"SQLite format 3\0", b"\0asm", b"II*\0", b"MM\0*",
)  # fmt: skip
# As letters they may begin a text.
_BINARY_IF_ZEROS = (b"MZ", b"GIF8", b"RIFF", b"BM", b"ID3", b"OggS", b"BZh")
_HTML = re.compile(  # atomic groups: without them a run of comments costs exponential time
    rb"\s*(?><\?xml.*?\?>\s*)?(?><!--.*?-->\s*)*<(?:!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL
)

_MAIL = re.compile(rb"\s*(?:From [^\r\n]*[\r\n]+)?[!-9;-~]{1,76}[ \t]*:")


def sniff(head: bytes, filename: str) -> str:
    """`head` is the first HEAD_BYTES bytes. Returns a value of KIND_BY_SUFFIX.

    Raises UnreadableDocument: unsupported_type, empty_file or type_mismatch. A zip that may be a document is taken
    for what its first bytes tell or its name says; what it truly is only its reader can say.
    """
    claimed = KIND_BY_SUFFIX.get(suffix_of(filename))
    if claimed is None:
        raise UnreadableDocument("unsupported_type")
    if not head:
        raise UnreadableDocument("empty_file")
    content = _content(head[:HEAD_BYTES])
    if claimed == "pdf" and content == "text" and b"%PDF-" in head[:_PDF_WITHIN]:
        return "pdf"
    if content not in _FITTING[claimed] or (claimed == "eml" and not _MAIL.match(_narrow(head))):
        raise UnreadableDocument("type_mismatch")
    if content == "zip":
        return "docx" if claimed == "doc" else claimed
    return claimed if content in ("text", "html") else content


# People rename one into another, and an encrypted .docx or .xlsx is an OLE container as .doc is.
_OFFICE = ARCHIVES | {"zip", "doc"}
_FITTING = {
    **dict.fromkeys(ARCHIVES, _OFFICE),
    "doc": _OFFICE | {"rtf"},
    "rtf": {"rtf"},
    "pdf": {"pdf"},
    **dict.fromkeys(("txt", "md", "csv", "eml"), frozenset({"text"})),
    "html": {"text", "html"},
}


def _content(head: bytes) -> str:
    """A kind that has marks of its own, zip (some document in a zip), text or other."""
    if head.startswith(_ZIP):
        return _content_of_zip(head)
    if head.startswith(_OLE):
        return "doc"
    if head.startswith(_BINARY) or (head.startswith(_BINARY_IF_ZEROS) and b"\0" in head):
        return "other"
    text = _narrow(head).lstrip()
    if text.startswith(b"%PDF-"):
        return "pdf"
    if text.startswith(b"{\\rtf"):
        return "rtf"
    return "html" if _HTML.match(text) else "text"


def _narrow(head: bytes) -> bytes:
    """UTF-16 looks like ASCII then, where it is."""
    return head.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")


def _content_of_zip(head: bytes) -> str:
    """By the first entries; an OOXML package may begin with anything, so XML in front is given the benefit."""
    name_end = 30 + int.from_bytes(head[26:28], "little")
    name = head[30:name_end]
    if name == b"mimetype":
        said = _MIMETYPE.match(head, name_end + int.from_bytes(head[28:30], "little"))
        return MIMETYPES.get(said[0], "other") if said else "zip"
    if found := _OOXML_ENTRY.search(head):
        return _OOXML_KINDS[found[1]]
    return "zip" if name.startswith(_FIRST_ENTRIES) or name.endswith(_FIRST_SUFFIXES) else "other"


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
