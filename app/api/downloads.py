"""An original file as an answer: an attachment that no browser runs, whole or in part, with its hash as ETag."""

import re
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from app.api.errors import problem_response
from app.readers.encoding import is_utf8
from app.readers.suffixes import MEDIA_TYPES
from app.services.documents import Original

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)


async def send_original(
    request: Request, original: Original, content: Callable[[Original, int, int], AsyncIterator[bytes]]
) -> Response:
    headers = {
        "ETag": f'"{original.sha256.hex()}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(original.filename, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, no-cache",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    start, end, code = _range(request, original.size_bytes, headers["ETag"])
    if code == 416:
        size = {"Content-Range": f"bytes */{original.size_bytes}"}
        return problem_response(request, 416, "invalid_range", "The file ends before that range.", headers=size)
    if code == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{original.size_bytes}"
    headers["Content-Length"] = str(end - start)
    blocks = content(original, start, end)
    # The first block is read before the status is sent: a missing file is a problem, not a broken answer.
    first = await anext(blocks, b"")
    headers["Content-Type"] = _content_type(original, first)
    return StreamingResponse(_all_of(first, blocks), status_code=code, headers=headers)


async def _all_of(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for block in rest:
        yield block


def _content_type(original: Original, first: bytes) -> str:
    """With the encoding only where the whole file was looked at: it is whatever its author used."""
    media_type = MEDIA_TYPES.get(original.kind, "application/octet-stream")
    if media_type.startswith("text/") and len(first) == original.size_bytes and is_utf8(first):
        return f"{media_type}; charset=utf-8"
    return media_type


def _range(request: Request, size: int, etag: str) -> tuple[int, int, int]:
    """(start, end, status) of RFC 9110, 14.2: one range is honoured; several are answered with the whole."""
    asked = request.headers.get("range", "")
    found = RANGE.match(asked)
    if found is None or request.headers.get("if-range", etag) != etag or found.group(1) == found.group(2) == "":
        return 0, size, 200
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        return 0, 0, 416
    return start, end, 206
