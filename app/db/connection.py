"""Connections that say who is asking in the message that begins a transaction: no round trip of its own."""

from typing import Any

import asyncpg

from app.core.caller import Caller

APPLICATION = "ragchat_app"
SYSTEM = "ragchat_system"
BEGIN = "BEGIN;"
ADMIN = "admin"


class CallerConnection(asyncpg.Connection):
    """`announcement` is sent with the next BEGIN; without one, row-level security shows nothing."""

    __slots__ = ("announcement",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.announcement = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        if query == BEGIN:
            query = BEGIN + self.announcement
        status: str = await super().execute(query, *args, timeout=timeout)
        return status


def announcement(caller: Caller) -> str:
    """For this transaction alone: it ends with it."""
    if caller.system:
        return f"SET LOCAL ROLE {SYSTEM};"
    if caller.user_id == "":
        raise ValueError("a user without a name would be the whole tenant")
    user = _literal(caller.user_id or "")
    admin = "on" if caller.user_id is None or ADMIN in caller.scopes else "off"
    return f"SET LOCAL app.tenant_id='{caller.tenant_id}';SET LOCAL app.user_id={user};SET LOCAL app.admin={admin};"


def _literal(value: str) -> str:
    """Byte by byte in digits: whatever a user is called, and however the server reads quotes."""
    return "E'" + "".join(f"\\x{byte:02x}" for byte in value.encode()) + "'"
