"""What is written into the audit log, and what is known of whoever causes it.

`origin` is set where work enters the service (a request, a socket, a command) and read where the row is written, so
that no service has to hand an address through.
"""

import ipaddress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

Action = Literal[
    "login", "logout", "token.reuse", "register", "key.create", "key.revoke", "user.role", "user.disable",
    "user.enable", "user.password",
    "user.erase", "user.erased", "user.export", "session.delete", "document.delete", "document.reindex",
    "documents.reindex", "webhook.create", "webhook.delete", "space.switch", "space.drop",
]  # fmt: skip
ACTIONS: tuple[Action, ...] = get_args(Action)
Outcome = Literal["ok", "failed", "refused"]
ObjectType = Literal["user", "key", "session", "document", "webhook", "space", "collection"]
SERVICE = "service"
COMMAND_LINE = "command line"
ANONYMOUS = "anonymous"
"""Whoever logs in, or tries to."""


@dataclass(frozen=True, slots=True)
class Origin:
    """`network` is never a whole address. `actor` stands for whoever has no credential of their own."""

    network: str | None = None
    request_id: str | None = None
    actor: str = SERVICE


origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039  frozen


def network_of(address: str | None) -> str | None:
    """The /24 of an IPv4 address, the /48 of an IPv6 one; None for what is neither."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))
