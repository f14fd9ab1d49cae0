"""Sends webhooks: one POST to an address that was judged, no proxy, no redirect, no cookie, no time without an end."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping

import httpx

from app.core.errors import RagchatError
from app.providers.targets import Address, Target, TargetRefused, Targets

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 20.0
RESOLVE_SECONDS = 5.0
READ_SECONDS = 1.0
READ_BYTES = 1 << 16
"""Of the answer's body: receivers do not like to be hung up on while they write."""


class WebhookFailed(RagchatError):
    """The message did not arrive, or nobody said that it did; another attempt may help."""


class WebhookSender:
    def __init__(self, allowed: str, *, https_only: bool, total_seconds: float = TOTAL_SECONDS) -> None:
        self._targets = Targets(allowed, https_only=https_only)
        self._total_seconds = total_seconds
        self._tls: ssl.SSLContext | None = None

    async def check(self, url: str) -> None:
        """TargetRefused. A name that has no address now may have one later."""
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                await self._targets.resolve(url)
        except OSError:
            self._targets.require_tls(url)

    async def deliver(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer. WebhookFailed when there is none."""
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._send(await self._targets.resolve(url), headers, body)
        except TargetRefused as exc:
            raise WebhookFailed(exc.code, exc.detail) from exc
        except (TimeoutError, httpx.TimeoutException) as exc:
            raise WebhookFailed("webhook_timeout", "The receiver did not answer in time.") from exc
        except (OSError, httpx.TransportError) as exc:
            raise WebhookFailed("webhook_unreachable", "There was no connection, or no answer on it.") from exc

    async def _send(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        """Tries the addresses in turn until one takes the connection."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        timeout = httpx.Timeout(self._total_seconds, connect=CONNECT_SECONDS)
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=timeout) as client:
            *others, last = target.addresses
            for address in others:
                with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                    return await _post(client, target, address, headers, body)
            return await _post(client, target, last, headers, body)


async def _post(
    client: httpx.AsyncClient, target: Target, address: Address, headers: Mapping[str, str], body: bytes
) -> int:
    """To this address; the name is in Host, and in the TLS handshake, where the certificate must be for it."""
    request = client.build_request(
        "POST",
        target.url.copy_with(host=str(address)),
        content=body,
        headers={**headers, "Host": target.url.netloc.decode("ascii"), "Connection": "close"},
        extensions={"sni_hostname": target.host},
    )
    response = await client.send(request, stream=True, follow_redirects=False)
    try:
        await _read_some(response)
    finally:
        await response.aclose()
    return response.status_code


async def _read_some(response: httpx.Response) -> None:
    """The status has been said: whatever goes wrong with the rest changes nothing."""
    seen = 0
    with contextlib.suppress(httpx.TransportError, TimeoutError):
        async with asyncio.timeout(READ_SECONDS):
            async for block in response.aiter_raw():
                seen += len(block)
                if seen >= READ_BYTES:
                    return
