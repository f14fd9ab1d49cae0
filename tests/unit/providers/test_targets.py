"""Which URLs webhooks may call: every way to write an address of the private network is seen (H86)."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from app.providers.targets import TargetRefused, Targets

PRIVATE = [
    "127.0.0.1:5432", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7f000001", "017700000001", "0", "0.0.0",
    "localhost", "LOCALHOST", "169.254.169.254", "2852039166", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "203.0.113.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "168.63.129.16", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::ffff:a9fe:a9fe]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]",
    "[fec0::1]", "[ff02::1]", "[ff0e::1]", "[2002:7f00:1::]", "[2002:a00:1::1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]", "[64:ff9b::c000:c0]", "[64:ff9b:1::7f00:1]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[2001:db8::1]", "[3fff::1]", "[100::1]", "[4000::1]",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "93.184.215.14:8443", "16843009", "0x1010101", "[2606:4700:4700::1111]", "[64:ff9b::1.1.1.1]",
    "[2002:101:101::]", "[::ffff:1.1.1.1]", "172.32.0.1", "100.128.0.1",
]  # fmt: skip
IMPOSSIBLE = [
    "", "x", "example.com", "//example.com/", "http:", "http://", "http:///x", "http://:80/", "http://[::1",
    "http://[]/", "http://[v1.a]/", "http://a..example/", "http://.example/", "http://" + "a" * 64 + ".example/",
    "http://1.1.1.1:0/", "http://1.1.1.1:65536/", "http://1.1.1.1:99999/", "http://1.1.1.1:x/", "http://1.1.1.1:-1/",
    "http://exa mple.com/", "http://1.1.1.1\n/", "http://１２７.0.0.1/", "http://127.0.0.1%2eexample.com/",
    "http://1.1.1.1%00.example.com/", "http://[fe80::1%25eth0]/", "http://user@1.1.1.1/", "http://user:pw@1.1.1.1/",
    "http://:pw@1.1.1.1/", "http://1.1.1.1\\@127.0.0.1/", "gopher://1.1.1.1/", "file:///etc/passwd", "s3://bucket/x",
    "ftp://1.1.1.1/", "ws://1.1.1.1/", "javascript:alert(1)", "data:text/plain,x", "unix:///var/run/docker.sock",
]  # fmt: skip
Resolve = Callable[..., list[Any]]


def resolves_to(*addresses: str) -> Resolve:
    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return getaddrinfo


async def refused(targets: Targets, url: str) -> bool:
    try:
        await targets.resolve(url)
    except TargetRefused:
        return True
    return False


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", PRIVATE)
async def test_private_addresses_are_refused_however_they_are_written(host: str, scheme: str) -> None:
    assert await refused(Targets("", https_only=False), f"{scheme}://{host}/hook")


@pytest.mark.parametrize("host", PUBLIC)
async def test_public_addresses_are_not(host: str) -> None:
    target = await Targets("", https_only=False).resolve(f"http://{host}/hook")
    assert len(target.addresses) == 1


@pytest.mark.parametrize("url", IMPOSSIBLE, ids=repr)
async def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    assert await refused(Targets("", https_only=False), url)


async def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = Targets("", https_only=False)
    monkeypatch.setattr(socket, "getaddrinfo", resolves_to("1.1.1.1", "1.0.0.1"))
    assert [str(address) for address in (await targets.resolve("http://a.example/")).addresses] == [
        "1.1.1.1",
        "1.0.0.1",
    ]
    monkeypatch.setattr(socket, "getaddrinfo", resolves_to("1.1.1.1", "10.0.0.1"))
    assert await refused(targets, "http://a.example/")


@pytest.mark.parametrize(
    ("allowed", "host", "may"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "[::ffff:127.0.0.1]", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.0.8.0/24", "10.0.8.200", True),
        ("10.0.8.1/24", "10.0.8.200", True),
        ("10.0.8.0/24", "10.0.9.1", False),
        (" fd00::/8 , 10.0.8.0/24,", "[fd12::1]", True),
        ("[::1]", "[::1]", True),
        ("localhost", "localhost", True),
        ("LocalHost.", "LOCALHOST", True),
        ("localhost", "127.0.0.1", False),
        ("host", "localhost", False),
        (",,", "127.0.0.1", False),
    ],
)
async def test_exceptions_are_names_addresses_and_networks(allowed: str, host: str, may: bool) -> None:
    assert await refused(Targets(allowed, https_only=False), f"http://{host}/") is not may


async def test_production_wants_tls_but_for_the_exceptions() -> None:
    targets = Targets("10.0.8.0/24", https_only=True)
    assert await refused(targets, "http://1.1.1.1/")
    assert not await refused(targets, "https://1.1.1.1/")
    assert not await refused(targets, "http://10.0.8.1/")
    assert await refused(targets, "https://10.0.9.1/")


async def test_a_name_without_an_address_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **options: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OSError, match="unknown"):
        async with asyncio.timeout(5):
            await Targets("", https_only=False).resolve("http://a.example/")
