"""Looks at a zip's table of contents before anything is unpacked (OWASP ASVS 5.2.3)."""

import struct
import zipfile
import zlib
from io import BytesIO

from app.readers.errors import UnreadableDocument

MALFORMED_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(RuntimeError, ValueError, OSError, EOFError),
)
"""What `zipfile` lets out of a damaged file."""
MAX_TOTAL_BYTES = 200 * 10**6
MAX_RATIO = 100
MAX_ENTRIES = 5000
_RATIO_MATTERS_FROM = 10**6  # repetitive styles of a small document compress well and cost nothing
_PROLOG_BYTES = 4096


def check_archive(data: bytes) -> None:
    """Raises UnreadableDocument: archive_bomb, encrypted, bad_file.

    The sizes are those that the archive declares; `zipfile` never unpacks more than that.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_sizes(entries, len(data))
            _check_entries(archive, entries)
    except MALFORMED_ARCHIVE as exc:
        raise UnreadableDocument("bad_file") from exc


def _check_sizes(entries: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    total = sum(entry.file_size for entry in entries)
    large = [entry for entry in entries if entry.file_size > _RATIO_MATTERS_FROM]
    steep = any(entry.file_size > MAX_RATIO * entry.compress_size for entry in large)
    overall = total > _RATIO_MATTERS_FROM and total > MAX_RATIO * packed_bytes
    if len(entries) > MAX_ENTRIES or total > MAX_TOTAL_BYTES or steep or overall:
        raise UnreadableDocument("archive_bomb")


def _check_entries(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names) or "[Content_Types].xml" not in names:
        raise UnreadableDocument("bad_file")
    if any(entry.flag_bits & 1 for entry in entries):
        raise UnreadableDocument("encrypted")
    for entry in entries:
        if entry.filename.lower().endswith((".xml", ".rels")):
            _refuse_doctype(archive, entry)


def _refuse_doctype(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """ISO 29500-2 forbids document type definitions; only attacks with entities bring one."""
    with archive.open(entry) as part:
        prolog = part.read(_PROLOG_BYTES).replace(b"\0", b"")
    if b"<!DOCTYPE" in prolog:
        raise UnreadableDocument("bad_file")
