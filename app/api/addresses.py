"""Who a request comes from: the peer, or whom a trusted proxy names."""

import ipaddress
from collections.abc import Sequence

from starlette.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MOST_PROXIES = 16
SECURE = {"http": "https", "ws": "wss"}
UNKNOWN = "unknown"
"""A socket of the file system, say."""


def look_behind_proxies(scope: Scope, trusted: Sequence[Network]) -> None:
    """Puts the client's own address and scheme in the place of the nearest proxy's, if that one is trusted.

    Proxies append to X-Forwarded-For: read from the right, the first address that is no trusted proxy is the last one
    that somebody of ours has seen. What stands to its left may be anybody's invention.
    """
    peer = _parse((scope.get("client") or ("",))[0])
    if peer is None or not _is_trusted(peer, trusted):
        return
    client = peer
    for hop in reversed(_values(scope, b"x-forwarded-for")[-MOST_PROXIES:]):
        named = _parse(hop)
        if named is None:
            break
        client = named
        if not _is_trusted(named, trusted):
            break
    scope["client"] = (str(client), 0)
    if _values(scope, b"x-forwarded-proto")[-1:] == ["https"]:
        scope["scheme"] = SECURE.get(scope["scheme"], scope["scheme"])


def address_of(scope: Scope) -> str:
    """For counting. A subscriber of IPv6 has a /64 at least, and each address in it for nothing."""
    address = _parse((scope.get("client") or ("",))[0])
    if address is None:
        return UNKNOWN
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)


def _values(scope: Scope, header: bytes) -> list[str]:
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == header]
    return [value.strip() for value in ",".join(lines).split(",")]


def _parse(text: str) -> Address | None:
    """`192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443`; None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
