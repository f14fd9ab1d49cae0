"""Server-sent events, as language models send them: one `data:` line an event."""

from collections.abc import AsyncGenerator, AsyncIterator

from app.providers.llm.errors import ModelFailed

LONGEST_LINE = 16 << 20
"""Bytes. Longer than any text that is let through: what comes as one huge piece is cut, not refused."""
OTHER_FIELDS = (b":", b"event:", b"id:", b"retry:")


async def data_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """What stands after `data:`. ModelFailed(bad_response) when it is something else than server-sent events."""
    buffer = bytearray()
    searched = 0
    async for chunk in chunks:
        buffer += chunk
        while (end := buffer.find(b"\n", searched)) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            searched = 0
            if data := _data(line):
                yield data
        searched = len(buffer)
        if searched > LONGEST_LINE:
            raise ModelFailed("bad_response")
    if data := _data(bytes(buffer)):
        yield data


def _data(line: bytes) -> bytes:
    line = line.strip()
    if line.startswith(b"data:"):
        return line[len(b"data:") :].strip()
    if line and not line.startswith(OTHER_FIELDS):
        raise ModelFailed("bad_response")
    return b""
