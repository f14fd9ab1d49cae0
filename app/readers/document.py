"""What a reader returns: the text of a document, page by page."""

from dataclasses import dataclass, field

PAGE_BREAK = "\f"
"""Stands between pages in `Document.text`; offsets of chunks count into that text."""


@dataclass(frozen=True, slots=True)
class Page:
    """`number` counts from 1; None where the format has no pages."""

    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    kind: str
    pages: list[Page]
    title: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return PAGE_BREAK.join(page.text for page in self.pages)
