"""Cursors: opaque to clients, strictly parsed here. They hold a position, never a permission."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Paging:
    """Either an offset or a cursor; `limit` is at least 1."""

    limit: int = 50
    skip: int = 0
    cursor: str | None = None


def encode_cursor(*parts: Any) -> str:
    plain = json.dumps([p.isoformat() if isinstance(p, datetime) else str(p) for p in parts])
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def decode_position(cursor: str) -> tuple[datetime, UUID]:
    """The (time, id) of the last row seen. Invalid(code="invalid_cursor") for anything else."""
    first, second = _parts(cursor, 2)
    try:
        moment = datetime.fromisoformat(first)
        if moment.tzinfo is None:
            raise _invalid()
        return moment.astimezone(UTC), UUID(second)
    except (ValueError, OverflowError) as exc:
        raise _invalid() from exc


def decode_seq(cursor: str) -> int:
    (value,) = _parts(cursor, 1)
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise _invalid()
    return int(value)


def _parts(cursor: str, count: int) -> list[str]:
    try:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts = json.loads(decoded)
    except (binascii.Error, ValueError, RecursionError) as exc:
        raise _invalid() from exc
    if not isinstance(parts, list) or len(parts) != count or not all(isinstance(part, str) for part in parts):
        raise _invalid()
    return parts


def _invalid() -> Invalid:
    return Invalid("invalid_cursor", "The cursor is not one that this list gave.", pointer="/cursor")
