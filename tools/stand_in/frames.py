"""The binary framing of AWS event streams: lengths, headers and two checksums around each event."""

import json
import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32

STRING = 7
"""The one type of header that is used here."""
PRELUDE_AND_CHECKSUMS = 16


def event(kind: str, payload: Mapping[str, Any]) -> bytes:
    return _frame({":message-type": "event", ":event-type": kind}, payload)


def exception(kind: str, message: str) -> bytes:
    return _frame({":message-type": "exception", ":exception-type": kind}, {"message": message})


def with_wrong_checksum(frame: bytes) -> bytes:
    """As if one byte had changed on its way."""
    return frame[:-1] + bytes([frame[-1] ^ 0xFF])


def _frame(headers: Mapping[str, str], payload: Mapping[str, Any]) -> bytes:
    body = json.dumps(payload, ensure_ascii=False).encode()
    head = b"".join(_header(name, value) for name, value in {**headers, ":content-type": "application/json"}.items())
    prelude = struct.pack("!II", PRELUDE_AND_CHECKSUMS + len(head) + len(body), len(head))
    message = prelude + struct.pack("!I", crc32(prelude)) + head + body
    return message + struct.pack("!I", crc32(message))


def _header(name: str, value: str) -> bytes:
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", STRING, len(value)) + value.encode()
