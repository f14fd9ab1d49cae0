"""Forms, read strictly: one file, few fields, UTF-8, each name once, and to the end."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from urllib.parse import parse_qsl

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.core.errors import Invalid

MOST_FILES = 1
MOST_FIELDS = 10
Items = list[tuple[str, UploadFile | str]]


class _Parser(MultiPartParser):
    """Wants the closing boundary: without it a part of the form is lost in silence."""

    _ended = False

    def on_end(self) -> None:
        self._ended = True

    async def parse(self) -> FormData:
        self.stream = self._to_its_end(self.stream)
        return await super().parse()

    async def _to_its_end(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for block in stream:
            yield block
        if not self._ended:
            raise MultiPartException("The form ends early.")


@contextlib.asynccontextmanager
async def read_form(request: Request, *, max_field_bytes: int) -> AsyncIterator[Items]:
    """The form's (name, value) pairs. Invalid(malformed_multipart), Invalid(duplicate_field)."""
    _, options = parse_options_header(request.headers.get("content-type"))
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise _malformed()
    parser = _Parser(
        request.headers, request.stream(), max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=max_field_bytes
    )
    try:
        form = await parser.parse()
    except MultiPartException as exc:
        raise _malformed() from exc
    try:
        items = form.multi_items()
        if len({name for name, _ in items}) < len(items):
            raise Invalid("duplicate_field", "A form field was sent twice.")
        yield items
    finally:
        await form.close()


def read_urlencoded(body: bytes) -> dict[str, str]:
    """Invalid(malformed_form), Invalid(duplicate_field)."""
    try:
        items = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as exc:
        raise Invalid("malformed_form", f"The form is not valid, or has more than {MOST_FIELDS} fields.") from exc
    if len({name for name, _ in items}) < len(items):
        raise Invalid("duplicate_field", "A form field was sent twice.")
    return dict(items)


def _malformed() -> Invalid:
    detail = f"The form is not valid multipart/form-data in UTF-8 with {MOST_FILES} file and {MOST_FIELDS} fields."
    return Invalid("malformed_multipart", detail)
