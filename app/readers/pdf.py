"""PDF: PDFium for the text, pypdf for what PDFium will not open. Pages are numbered from 1 in file order.

PDFium is 10 times faster and gets Indic scripts right; pypdf repairs more and tries the empty owner password.
Scripts, forms, attachments and links are never run, opened or followed by either. Page headers and footers are
left out but for their first occurrence.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import pypdfium2

from app.readers.clean import cleaned_document
from app.readers.document import Document, Page
from app.readers.errors import UnreadableDocument
from app.readers.furniture import without_furniture
from app.readers.hyphens import resolve_hyphens
from app.readers.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from pypdf import PdfReader

# pypdf lets these out when a damaged file hands it other objects than it expects.
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, AssertionError)


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    if not data:
        raise UnreadableDocument("empty_file")
    try:
        pdf = pypdfium2.PdfDocument(data)  # tries the empty user password by itself
    except pypdfium2.PdfiumError:
        return _read_with_pypdf(data, limits)
    with pdf:
        if len(pdf) == 0:
            return _read_with_pypdf(data, limits)
        _check_page_count(len(pdf), limits)
        texts = list(_texts(pdf, limits))
        title = pdf.get_metadata_value("Title")
    return _document(resolve_hyphens(texts), title)


def _texts(pdf: pypdfium2.PdfDocument, limits: Limits) -> Iterator[str]:
    total = 0
    for index in range(len(pdf)):
        text = _page_text(pdf, index)
        total += len(text)
        if total > limits.max_text_bytes:
            raise UnreadableDocument("too_large")
        yield text


def _page_text(pdf: pypdfium2.PdfDocument, index: int) -> str:
    """Empty for a page that is damaged: the others are still worth reading."""
    try:
        page = pdf[index]
        text_page = page.get_textpage()
    except pypdfium2.PdfiumError:
        return ""
    try:
        text: str = text_page.get_text_range()
    except RecursionError:  # pypdfium2 skips leading invisible characters one call deeper each
        text = text_page.get_text_bounded()
    text_page.close()
    page.close()
    return text


def _read_with_pypdf(data: bytes, limits: Limits) -> Document:
    from pypdf.errors import LimitReachedError, PyPdfError

    try:
        reader = _opened_with_pypdf(data)
        _check_page_count(reader.get_num_pages(), limits)
        texts = [page.extract_text() for page in reader.pages]
        title = reader.metadata.title if reader.metadata else None
    except LimitReachedError as exc:
        raise UnreadableDocument("too_large") from exc
    except (PyPdfError, *_MALFORMED) as exc:
        raise UnreadableDocument("bad_file") from exc
    return _document(texts, title)


def _opened_with_pypdf(data: bytes) -> "PdfReader":
    from pypdf import PdfReader

    try:
        reader = PdfReader(BytesIO(data))
    except RecursionError:
        raise
    except RuntimeError as exc:  # a way of encrypting that pypdf does not know
        raise UnreadableDocument("encrypted") from exc
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableDocument("encrypted")
    return reader


def _check_page_count(count: int, limits: Limits) -> None:
    if count == 0:
        raise UnreadableDocument("bad_file")
    if count > limits.max_pages:
        raise UnreadableDocument("too_many_pages")


def _document(texts: list[str], title: str | None) -> Document:
    silent = sum(not text.strip() for text in texts)
    warnings = [f"{silent} of {len(texts)} pages hold no text."] if silent else []
    pages = (Page(number, text) for number, text in enumerate(without_furniture(texts), start=1))
    return cleaned_document("pdf", pages, title=title, warnings=warnings)
