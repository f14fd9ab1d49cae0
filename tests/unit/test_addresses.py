"""Whom X-Forwarded-For is believed about, and what counts as one address (H18)."""

import ipaddress
from typing import Any

import pytest

from app.api.addresses import address_of, look_behind_proxies

TRUSTED = [ipaddress.ip_network(network) for network in ("10.0.0.0/8", "2001:db8:1::/48")]


def scope(peer: str | None, *forwarded: str, proto: str | None = None, kind: str = "http") -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    headers += [(b"x-forwarded-proto", proto.encode())] if proto else []
    return {"type": kind, "scheme": "http", "client": (peer, 1) if peer else None, "headers": headers}


def seen(peer: str | None, *forwarded: str) -> str:
    made = scope(peer, *forwarded)
    look_behind_proxies(made, TRUSTED)
    return address_of(made)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # a stranger's word
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.9, 198.51.100.1"], "198.51.100.1"),  # the left one is an invention
        ("10.0.0.1", ["192.0.2.9", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.1.2.3, 10.0.0.9"], "198.51.100.1"),  # three proxies of ours
        ("10.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, unknown, 10.0.0.9"], "10.0.0.9"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8:7::1]:4711"], "2001:db8:7::/64"),
        ("2001:db8:1::5", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1" + ", 10.0.0.2" * 1000], "10.0.0.2"),  # no proxies of ours, so many
        (None, ["198.51.100.1"], "unknown"),
        ("fe80::1%eth0", [], "fe80::/64"),
    ],
)
def test_the_last_address_that_somebody_of_ours_has_seen(peer: str | None, forwarded: list[str], client: str) -> None:
    assert seen(peer, *forwarded) == client


def test_a_subscriber_of_ipv6_is_one_address() -> None:
    assert seen("2001:db8:7::1") == seen("2001:db8:7:0:ffff::2")
    assert seen("2001:db8:7::1") != seen("2001:db8:7:1::1")


def test_nobody_is_trusted_unless_named() -> None:
    made = scope("127.0.0.1", "198.51.100.1", proto="https")
    look_behind_proxies(made, ())
    assert (address_of(made), made["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", "http, https", "https"),
        ("10.0.0.1", "https, http", "http"),
        ("10.0.0.1", "gopher", "http"),
        ("203.0.113.7", "https", "http"),
    ],
)
def test_the_scheme_is_the_nearest_proxys_word(peer: str, proto: str, scheme: str) -> None:
    made = scope(peer, "198.51.100.1", proto=proto)
    look_behind_proxies(made, TRUSTED)
    assert made["scheme"] == scheme
