"""UUID version 7 (RFC 9562, 5.7): ids that sort by their time of birth, to the millisecond."""

import os
import time
from uuid import UUID


def new_id() -> UUID:
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | (random >> 62 & 0xFFF) << 64
    value |= 0b10 << 62 | random & (1 << 62) - 1
    return UUID(int=value)


def seconds_of(id_: UUID) -> int:
    """When it was born, since 1970."""
    return (id_.int >> 80) // 1000
