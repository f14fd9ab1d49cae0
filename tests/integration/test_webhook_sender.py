"""One delivery, on real sockets: to the address that was judged, under the name in the URL, never without an end."""

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.providers.targets import TargetRefused
from app.providers.webhooks import WebhookFailed, WebhookSender
from tests.integration.processes import free_port
from tests.integration.receivers import receiving
from tests.unit.providers.test_targets import IMPOSSIBLE, PRIVATE

LOOPBACK = "127.0.0.0/8"
Names = dict[str, list[list[str]]]


async def send(url: str, *, allowed: str = LOOPBACK, seconds: float = 10) -> int:
    sender = WebhookSender(allowed, https_only=False, total_seconds=seconds)
    return await sender.deliver(url, {"webhook-id": "m-1"}, b"{}")


async def code_of(url: str, *, allowed: str = LOOPBACK, seconds: float = 10) -> str:
    with pytest.raises(WebhookFailed) as raised:
        await send(url, allowed=allowed, seconds=seconds)
    return raised.value.code


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """name: what each question for it is answered with, the last answer for good."""
    known: Names = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        if host not in known:
            return [*real(host, port, *args, **options)]
        answers = known[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


class TestAddress:
    @pytest.mark.parametrize("host", PRIVATE)
    async def test_private_ones_are_refused(self, host: str) -> None:
        assert await code_of(f"http://{host}/", allowed="") == "webhook_target_refused"

    @pytest.mark.parametrize("url", IMPOSSIBLE, ids=repr)
    async def test_so_is_what_is_no_plain_web_address(self, url: str) -> None:
        assert await code_of(url) == "webhook_target_refused"

    async def test_the_one_that_was_judged_is_called(self, names: Names) -> None:
        """A name that has another address by the time of the connection."""
        names["rebinds.example"] = [["127.0.0.1"], ["127.0.0.2"]]
        with receiving() as judged, receiving(host="127.0.0.2", port=judged.port) as other:
            assert await send(judged.url(host="rebinds.example"), allowed="127.0.0.1") == 200
            assert other.arrivals == []
        (arrival,) = judged.arrivals
        assert arrival.headers["host"] == f"rebinds.example:{judged.port}"
        assert (arrival.headers["webhook-id"], arrival.body) == ("m-1", b"{}")

    async def test_the_next_one_is_tried_when_nobody_is_there(self, names: Names) -> None:
        names["two.example"] = [["127.0.0.3", "127.0.0.1"], ["127.0.0.1", "127.0.0.3"], ["127.0.0.3", "127.0.0.4"]]
        with receiving() as receiver:
            for _ in range(2):
                assert await send(receiver.url(host="two.example")) == 200
            assert await code_of(receiver.url(host="two.example")) == "webhook_unreachable"
            assert len(receiver.arrivals) == 2

    async def test_a_name_without_one_is_unreachable(self) -> None:
        assert await code_of("http://nobody.invalid/") == "webhook_unreachable"

    async def test_proxies_and_netrc_of_the_environment_are_not_used(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        with receiving() as receiver:
            assert await send(receiver.url()) == 200
            assert "authorization" not in receiver.arrivals[0].headers


def certificate(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """(file of the authority, context of a server with a certificate of it for the names)"""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)

    def begin(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1))

    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"), False,
    )  # fmt: skip
    authority = (
        begin(issuer, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    subjects: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
    ]
    leaf = (
        begin(x509.Name([]), key.public_key())
        .add_extension(x509.SubjectAlternativeName(subjects), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + leaf.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "authority.pem", context


class TestCertificate:
    async def test_must_be_for_the_name_in_the_url(
        self, names: Names, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        authority, context = certificate(tmp_path, "hooks.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        names |= {"hooks.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]}
        asked: list[str | None] = []
        context.sni_callback = lambda _socket, name, _context: asked.append(name)
        with receiving(tls=context) as receiver:
            assert await send(receiver.url(host="hooks.example", scheme="https")) == 200
            assert await code_of(receiver.url(host="other.example", scheme="https")) == "webhook_unreachable"
            assert await code_of(receiver.url(scheme="https")) == "webhook_unreachable"
            assert [arrival.headers["host"] for arrival in receiver.arrivals] == [f"hooks.example:{receiver.port}"]
        assert asked == ["hooks.example", "other.example", None]

    async def test_may_be_for_an_address(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        authority, context = certificate(tmp_path, "127.0.0.1")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        with receiving(tls=context) as receiver:
            assert await send(receiver.url(scheme="https")) == 200

    async def test_must_be_of_an_authority_that_is_trusted(self, names: Names, tmp_path: Path) -> None:
        _, context = certificate(tmp_path, "hooks.example")
        names["hooks.example"] = [["127.0.0.1"]]
        with receiving(tls=context) as receiver:
            assert await code_of(receiver.url(host="hooks.example", scheme="https")) == "webhook_unreachable"
            assert receiver.arrivals == []


Speak = Callable[[asyncio.StreamWriter], Any]


@contextlib.asynccontextmanager
async def speaking(speak: Speak) -> AsyncIterator[str]:
    """A server that reads the head of a request and then does as it likes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await speak(writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def silence(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def hang_up(_writer: asyncio.StreamWriter) -> None:
    return


async def no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n\r\n")
    await writer.drain()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"a" * 8000 + b"\r\n")
        await writer.drain()


async def endless_hints(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def stuck_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nabc")
    await writer.drain()
    await asyncio.sleep(60)


async def cut_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 9\r\nContent-Encoding: gzip\r\n\r\nabc")
    await writer.drain()


class TestAnswer:
    @pytest.mark.parametrize(
        ("speak", "code"),
        [
            (silence, "webhook_timeout"),
            (endless_hints, "webhook_timeout"),
            (hang_up, "webhook_unreachable"),
            (no_http, "webhook_unreachable"),
            (endless_head, "webhook_unreachable"),
        ],
    )
    async def test_none_that_counts(self, speak: Speak, code: str) -> None:
        async with speaking(speak) as url:
            assert await code_of(url, seconds=0.5 if code == "webhook_timeout" else 20) == code

    @pytest.mark.parametrize(("speak", "status"), [(stuck_body, 202), (cut_body, 500)])
    async def test_the_status_counts_whatever_becomes_of_the_body(self, speak: Speak, status: int) -> None:
        async with speaking(speak) as url:
            assert await send(url) == status

    async def test_of_the_body_little_is_read(self) -> None:
        sent = 0

        async def endless_body(writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"10000\r\n" + b"a" * 65_536 + b"\r\n")
                await writer.drain()
                sent += 65_536

        async with speaking(endless_body) as url:
            assert await send(url) == 200
        assert sent < 16 * 2**20  # what the sockets hold, and no more


@pytest.mark.parametrize(
    ("url", "allowed", "may"),
    [
        ("http://nobody.invalid/hook", "", False),
        ("http://nobody.invalid/hook", "10.0.0.0/8, other.invalid", False),
        ("https://nobody.invalid/hook", "", True),
        ("http://Nobody.invalid./hook", "nobody.invalid", True),
    ],
)
async def test_a_name_without_an_address_still_wants_tls_in_production(url: str, allowed: str, may: bool) -> None:
    sender = WebhookSender(allowed, https_only=True)
    if may:
        await sender.check(url)
    else:
        with pytest.raises(TargetRefused):
            await sender.check(url)
