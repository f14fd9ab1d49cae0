"""Whom webhooks may call. Their URLs come from clients, so they must not lead into the private network.

A name is resolved once, and every address that it has must be public. Callers connect to these very addresses: a
second resolution could give another one (DNS rebinding). One parser, httpx's, reads the URL for the judgement and for
the connection.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

import httpx

from app.core.errors import RagchatError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PORTS = {"http": 80, "https": 443}
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
INWARD = [ipaddress.ip_network(network) for network in ("168.63.129.16", "192.0.0.0/24", "192.88.99.0/24", "3fff::/20")]
"""Not in every Python's table: a cloud's service for its own machines, special purposes, documentation."""


class TargetRefused(RagchatError):
    default_code = "webhook_target_refused"
    default_detail = "Webhooks may not call this address."


@dataclass(frozen=True, slots=True)
class Target:
    url: httpx.URL
    host: str
    """In ASCII, as it goes into the TLS handshake; no brackets, no final dot."""
    addresses: tuple[Address, ...]
    """At least one, in the order in which to try them."""


class Targets:
    def __init__(self, allowed: str, *, https_only: bool) -> None:
        """`allowed`: comma-separated host names, addresses and networks that may be private, and without TLS."""
        self._https_only = https_only
        self._names: set[str] = set()
        self._networks: list[Network] = []
        for entry in filter(None, (part.strip().strip("[]").lower() for part in allowed.split(","))):
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._names.add(entry.rstrip("."))

    async def resolve(self, url: str) -> Target:
        """TargetRefused; OSError when the name has no address now."""
        parsed = parse(url)
        host = parsed.raw_host.decode("ascii")
        try:
            addresses = await _addresses(host, parsed.port or PORTS[parsed.scheme])
        except UnicodeError as exc:  # an empty or endless part between two dots
            raise TargetRefused from exc
        name = _name(parsed)
        if not all(self._may_call(name, address, parsed.scheme) for address in addresses):
            raise TargetRefused
        return Target(parsed, name, addresses)

    def require_tls(self, url: str) -> None:
        """For a name that has no address now. TargetRefused for one without TLS that is not listed."""
        parsed = parse(url)
        if self._https_only and parsed.scheme != "https" and _name(parsed) not in self._names:
            raise TargetRefused

    def _may_call(self, name: str, address: Address, scheme: str) -> bool:
        if name in self._names or any(address in network for network in self._networks):
            return True
        return is_public(address) and (scheme == "https" or not self._https_only)


def parse(url: str) -> httpx.URL:
    """TargetRefused for what is no http or https URL, or brings credentials along."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as exc:
        raise TargetRefused from exc
    named = parsed.raw_host and b"%" not in parsed.raw_host
    port = parsed.port is None or 0 < parsed.port < 65536
    if parsed.scheme not in PORTS or not named or not port or parsed.userinfo:
        raise TargetRefused
    return parsed


def _name(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").lower().rstrip(".")


async def _addresses(host: str, port: int) -> tuple[Address, ...]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(_plain(ipaddress.ip_address(entry[4][0])) for entry in found))


def _plain(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_public(address: Address) -> bool:
    """Reached over the Internet, also through the IPv4 address that an IPv6 one may hold (6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in INWARD)
