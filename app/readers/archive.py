"""Looks at a zip's table of contents before anything is unpacked (OWASP ASVS 5.2.3), and says what it is."""

import re
import stat
import struct
import zipfile
import zlib
from io import BytesIO
from itertools import pairwise

from app.readers.errors import UnreadableDocument

MALFORMED_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(RuntimeError, ValueError, OSError, EOFError),
)
"""What `zipfile` lets out of a damaged file."""
MAX_TOTAL_BYTES = 200 * 10**6
MAX_RATIO = 100
MAX_ENTRIES = 5000
MIMETYPES = {
    b"application/vnd.oasis.opendocument.text": "odt",
    b"application/vnd.oasis.opendocument.text-template": "odt",
    b"application/epub+zip": "epub",
}
"""What stands in the entry `mimetype`, which these formats put first and do not compress."""
_RATIO_MATTERS_FROM = 10**6  # repetitive styles of a small document compress well and cost nothing
_PROLOG_BYTES = 4096
_LONGEST_MIMETYPE = 200
_LONGEST_TYPES = 2**20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # no document format allows others
_LOCAL_HEADER = struct.Struct("<26x2H")
_OUTSIDE = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]|^[A-Za-z]:|\0")
_TYPES = "[Content_Types].xml"
_MAIN_PART = re.compile(
    rb"\.(wordprocessingml|ms-word|spreadsheetml|ms-excel|presentationml|ms-powerpoint)\.\w+(?:\.\w+)?\.main\+xml"
)
_KINDS = {
    b"wordprocessingml": "docx",
    b"ms-word": "docx",
    b"spreadsheetml": "xlsx",
    b"ms-excel": "xlsx",
    b"presentationml": "pptx",
    b"ms-powerpoint": "pptx",
}


def check_archive(data: bytes) -> None:
    """Raises UnreadableDocument: archive_bomb, encrypted, bad_file.

    The sizes are those that the archive declares; `zipfile` never unpacks more than that.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_sizes(entries, len(data))
            _check_overlaps(entries, data, archive.start_dir)
            _check_entries(entries)
            _check_doctypes(archive)
    except MALFORMED_ARCHIVE as exc:
        raise UnreadableDocument("bad_file") from exc


def kind_of_archive(data: bytes) -> str:
    """docx, xlsx, pptx, odt or epub: what it is, whatever it is called.

    Raises UnreadableDocument: type_mismatch for any other zip, unsupported_type for a relative of these, and what
    check_archive raises.
    """
    check_archive(data)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = set(archive.namelist())
            if _TYPES in names:
                return _kind_by_types(_beginning(archive, _TYPES, _LONGEST_TYPES))
            said = _beginning(archive, "mimetype", _LONGEST_MIMETYPE).strip() if "mimetype" in names else b""
    except MALFORMED_ARCHIVE as exc:
        raise UnreadableDocument("bad_file") from exc
    if said in MIMETYPES:
        return MIMETYPES[said]
    if said.startswith(b"application/vnd.oasis.opendocument."):
        raise UnreadableDocument("unsupported_type")
    if "META-INF/container.xml" in names:
        return "epub"
    if names >= {"content.xml", "META-INF/manifest.xml"}:
        return "odt"
    raise UnreadableDocument("type_mismatch")


def _kind_by_types(types: bytes) -> str:
    """From the content type of the package's main part, with macros or without; those are never run."""
    types = types.replace(b"\0", b"")
    main = _MAIN_PART.search(types)
    if main is None:
        raise UnreadableDocument("unsupported_type" if b"ms-excel.sheet.binary" in types else "type_mismatch")
    return _KINDS[main[1]]


def _beginning(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    with archive.open(name) as entry:
        return entry.read(most)


def _check_sizes(entries: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    total = sum(entry.file_size for entry in entries)
    large = [entry for entry in entries if entry.file_size > _RATIO_MATTERS_FROM]
    steep = any(entry.file_size > MAX_RATIO * entry.compress_size for entry in large)
    overall = total > _RATIO_MATTERS_FROM and total > MAX_RATIO * packed_bytes
    if len(entries) > MAX_ENTRIES or total > MAX_TOTAL_BYTES or steep or overall:
        raise UnreadableDocument("archive_bomb")


def _check_overlaps(entries: list[zipfile.ZipInfo], data: bytes, end: int) -> None:
    """Bombs let many entries share the same packed bytes (Fifield, "A better zip bomb")."""
    spans = []
    for entry in entries:
        name_length, extra_length = _LOCAL_HEADER.unpack_from(data, entry.header_offset)
        packed = _LOCAL_HEADER.size + name_length + extra_length + entry.compress_size
        spans.append((entry.header_offset, entry.header_offset + packed))
    starts_and_ends = [*sorted(spans), (end, end)]
    if any(before[1] > after[0] for before, after in pairwise(starts_and_ends)):
        raise UnreadableDocument("archive_bomb")


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    """Nothing is written to disk, yet no program that makes documents names files outside of them or links."""
    if any(entry.flag_bits & 1 for entry in entries):
        raise UnreadableDocument("encrypted")
    names = {entry.filename for entry in entries}
    odd = any(_is_odd(entry) for entry in entries)
    if odd or len(names) < len(entries):
        raise UnreadableDocument("bad_file")


def _is_odd(entry: zipfile.ZipInfo) -> bool:
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    return is_link or entry.compress_type not in _METHODS or _OUTSIDE.search(entry.orig_filename) is not None


def _check_doctypes(archive: zipfile.ZipFile) -> None:
    """ISO 29500-2 forbids document type definitions in OOXML; only attacks with entities bring one.

    In EPUB and OpenDocument some parts have them rightly.
    """
    names = archive.namelist()
    for name in names if _TYPES in names else ():
        is_xml = name.lower().endswith((".xml", ".rels"))
        if is_xml and b"<!DOCTYPE" in _beginning(archive, name, _PROLOG_BYTES).replace(b"\0", b""):
            raise UnreadableDocument("bad_file")
