"""EPUB 2 and 3: the chapters in reading order, each read as HTML, as one page.

Left out: tables of contents, notes about the book except its title, media. Nothing outside the file is fetched.
"""

import posixpath
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import unquote

from lxml import etree

from app.readers.archive import MALFORMED_ARCHIVE, check_archive
from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.errors import UnreadableDocument
from app.readers.html import decode_html, text_and_title
from app.readers.limits import DEFAULT_LIMITS, Limits

Element = Any  # lxml has no types of its own

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_MALFORMED = (*MALFORMED_ARCHIVE, etree.XMLSyntaxError, KeyError)


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    if not data:
        raise UnreadableDocument("empty_file")
    check_archive(data)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            path = _package_path(archive)
            package = _xml(archive, path)
            names = list(dict.fromkeys(_chapter_names(package, posixpath.dirname(path))))
            chapters = list(_chapters(archive, names, limits))
    except _MALFORMED as exc:
        raise UnreadableDocument("bad_file") from exc
    if not chapters:
        raise UnreadableDocument("bad_file")
    missing = len(names) - len(chapters)
    warnings = [f"{missing} of {len(names)} chapters are missing."] if missing else []
    text = "\n\n".join(chapter for chapter in chapters if chapter)
    return cleaned_document("epub", [Page(None, text)], title=_title(package), warnings=warnings)


def _xml(archive: zipfile.ZipFile, name: str) -> Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    root = etree.fromstring(archive.read(name), parser)
    if root is None:
        raise UnreadableDocument("bad_file")
    return root


def _package_path(archive: zipfile.ZipFile) -> str:
    for rootfile in _xml(archive, _CONTAINER).iter("{*}rootfile"):
        return unquote(rootfile.get("full-path", ""))
    raise UnreadableDocument("bad_file")


def _title(package: Element) -> str:
    return next(("".join(title.itertext()) for title in package.iter("{*}title", "{*}Title")), "")


def _chapter_names(package: Element, folder: str) -> Iterator[str]:
    """In the order of the spine; tables of contents are named by the manifest (EPUB 3) or the guide (EPUB 2)."""
    items = {item.get("id"): item for item in package.iter("{*}item")}
    guide = (entry for entry in package.iter("{*}reference") if entry.get("type") == "toc")
    contents = {_name(folder, entry) for entry in guide if "#" not in entry.get("href", "")}  # else part of a chapter
    for entry in package.iter("{*}itemref"):
        item = items.get(entry.get("idref"))
        if item is None or "html" not in item.get("media-type", "") or "nav" in item.get("properties", "").split():
            continue
        if (name := _name(folder, item)) not in contents:
            yield name


def _name(folder: str, item: Element) -> str:
    path, _, _ = item.get("href", "").partition("#")
    return posixpath.normpath(posixpath.join(folder, unquote(path)))


def _chapters(archive: zipfile.ZipFile, names: list[str], limits: Limits) -> Iterator[str]:
    """Those that are there; some makers forget some."""
    there = set(archive.namelist())
    encrypted = _encrypted_names(archive) if _ENCRYPTION in there else set()
    total = 0
    for name in names:
        if name in encrypted:
            raise UnreadableDocument("encrypted")
        if name not in there:
            continue
        text, _ = text_and_title(decode_html(archive.read(name)))
        total += len(text)
        if total > limits.max_text_bytes:
            raise UnreadableDocument("too_large")
        yield text


def _encrypted_names(archive: zipfile.ZipFile) -> set[str]:
    """Fonts are often among them, mangled in a way that any reading system can undo."""
    references = _xml(archive, _ENCRYPTION).iter("{*}CipherReference")
    return {posixpath.normpath(unquote(reference.get("URI", ""))) for reference in references}
