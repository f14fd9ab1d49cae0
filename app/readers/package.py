"""A zip of XML parts, as OOXML and OpenDocument files are. No part loads an entity, a DTD or anything from outside."""

import contextlib
import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from lxml import etree

from app.readers.archive import MALFORMED_ARCHIVE, check_archive
from app.readers.errors import UnreadableDocument

Element = Any  # lxml has no types of its own

_SAFE = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_MALFORMED = (*MALFORMED_ARCHIVE, etree.LxmlError, LookupError, OverflowError)
_CORE_PROPERTIES = "core-properties"


@dataclass(frozen=True, slots=True)
class Relation:
    """From one part to another; `kind` is the last word of the type's address."""

    kind: str
    target: str


class Package:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = {name.lower(): name for name in archive.namelist()}  # ISO 29500-2: case does not matter

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._names

    def bytes_of(self, name: str) -> bytes:
        """KeyError when there is no such part."""
        return self._archive.read(self._names[name.lower()])

    def xml(self, name: str) -> Element:
        return _plain(etree.fromstring(self.bytes_of(name), etree.XMLParser(**_SAFE)))

    def elements(self, name: str, *tags: str) -> Iterator[Element]:
        """Each element with one of the local names when it is complete; then it is emptied, to keep memory low."""
        with self._archive.open(self._names[name.lower()]) as part:
            wanted = [f"{{*}}{tag}" for tag in tags]
            for _, element in etree.iterparse(part, tag=wanted, **_SAFE):
                yield _plain(element)
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]

    def relations(self, part: str) -> dict[str, Relation]:
        """By identifier, those to parts of this package only. Empty for a part that has none; "" is the package."""
        folder, name = posixpath.split(part)
        path = posixpath.join(folder, "_rels", f"{name}.rels")
        found = {}
        for node in self.xml(path) if path in self else ():
            if local(node) == "Relationship" and node.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, node.get("Target", ""))).lstrip("/")
                found[node.get("Id", "")] = Relation(node.get("Type", "").rpartition("/")[2], target)
        return found

    def title(self) -> str | None:
        """What the core properties of an OOXML package say."""
        for relation in self.relations("").values():
            if relation.kind == _CORE_PROPERTIES and relation.target in self:
                return next((node.text for node in self.xml(relation.target).iter("{*}title")), None)
        return None


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Package]:
    """Raises UnreadableDocument: empty_file, what check_archive raises, bad_file for what turns out broken inside."""
    if not data:
        raise UnreadableDocument("empty_file")
    check_archive(data)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            yield Package(archive)
    except _MALFORMED as exc:
        raise UnreadableDocument("bad_file") from exc


def _plain(node: Element) -> Element:
    """Without a DTD there is no entity, so every node below is an element."""
    if node.getroottree().docinfo.internalDTD is not None:
        raise UnreadableDocument("bad_file")
    return node


def local(node: Element) -> str:
    """The name without its namespace; Office writes two (ISO 29500, strict and transitional)."""
    name: str = node.tag.rpartition("}")[2]
    return name


def attribute(node: Element, name: str) -> str:
    """Of any namespace but the empty one; empty when there is none."""
    return next((value for key, value in node.attrib.items() if key.endswith("}" + name)), "")
