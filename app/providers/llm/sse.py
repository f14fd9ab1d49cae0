"""Server-sent events, as language models send them: one `data:` line an event."""

from collections.abc import AsyncGenerator, AsyncIterator

from app.providers.llm.errors import ModelFailed

LONGEST_LINE = 16 << 20
"""Bytes. Longer than any text that is let through: what comes as one huge piece is cut, not refused."""
OTHER_FIELDS = (b":", b"event:", b"id:", b"retry:")


async def data_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes], None]:
    """What stands after `data:`, in the batches that the network makes: the busier we are, the larger they are.

    ModelFailed(bad_response) when it is something else than server-sent events.
    """
    kept: list[bytes] = []
    size = 0
    async for chunk in chunks:
        before, newline, after = chunk.rpartition(b"\n")
        if newline:
            yield _data(b"".join([*kept, before]))
            kept, size = [], 0
        kept.append(after)
        size += len(after)
        if size > LONGEST_LINE:
            raise ModelFailed(reason="bad_response")
    yield _data(b"".join(kept))


def _data(lines: bytes) -> list[bytes]:
    found = []
    for line in lines.splitlines():
        line = line.strip()
        if line.startswith(b"data:"):
            found.append(line[len(b"data:") :].strip())
        elif line and not line.startswith(OTHER_FIELDS):
            raise ModelFailed(reason="bad_response")
    return found
