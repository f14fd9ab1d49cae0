"""How often: quotas for each principal and address, counted in this process or in Redis (docs/limits.md).

A guarded route counts as `default`; what costs more names its own quota beside that, in one line under the route:

    @router.post("/sessions/{session_id}/chat", ...)
    @counts_as("chat")

Routes that somebody may use to guess a password say so before they look at it:

    await limits.hit_login(address_of(request.scope), account)
"""

import contextlib
import hashlib
import math
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.types import Scope

from app.api.addresses import address_of
from app.core.caller import Caller
from app.core.errors import RateLimited, Unavailable
from app.core.logging import get_logger
from app.core.quotas import Quota
from app.core.settings import Settings
from app.providers.counters import open_counters
from app.providers.counters.memory import MemoryCounters
from app.providers.ports import Counters, Left
from app.runtime import settings_key
from app.schemas.users import normalised_email

MEBIBYTE = 1 << 20
DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
UNCOUNTED = frozenset({"/health", "/livez", "/readyz"})
"""Load balancers ask often, and a flood must not make a healthy service look dead."""
MARK = "__counts_as__"
log = get_logger(__name__)
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def counts_as(*names: str) -> Callable[[Endpoint], Endpoint]:
    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, MARK, names)
        return endpoint

    return mark


def quotas_of(endpoint: object) -> tuple[str, ...]:
    names: tuple[str, ...] = getattr(endpoint, MARK, ())
    return names


def rate_limit_headers(counted: Sequence[tuple[Quota, Left]]) -> dict[str, str]:
    """draft-ietf-httpapi-ratelimit-headers: what there is in a window, and what is left until when."""
    if not counted:
        return {}
    policies = (f'"{quota.name}";q={quota.amount};w={quota.seconds}' for quota, _ in counted)
    states = (f'"{quota.name}";r={left.amount};t={max(1, math.ceil(left.seconds))}' for quota, left in counted)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def announced_mebibytes(headers: Headers, most_bytes: int) -> int:
    """A body that does not say how long it is counts as the largest one."""
    length = headers.get("content-length", "")
    return math.ceil((int(length) if DIGITS.fullmatch(length) else most_bytes) / MEBIBYTE)


def _came_through_a_stranger(scope: Scope) -> bool:
    """Somebody forwarded it who is not in TRUSTED_PROXIES: the port is still the connection's own."""
    peer = scope.get("client")
    return bool(peer and peer[1]) and any(name == b"x-forwarded-for" for name, _ in scope["headers"])


class RateLimits:
    def __init__(self, settings: Settings, counters: Counters, secret: str) -> None:
        self.quotas = {quota.name: quota for quota in settings.quotas}
        self._counters = counters
        self._spare = MemoryCounters()
        self._hinted = False
        self._secret = hashlib.sha256(secret.encode()).digest()

    async def hit(self, scope: Scope, caller: Caller, names: tuple[str, ...] = ()) -> None:
        """One request of the caller, of a route that counts as these beside `default`. RateLimited."""
        for name in ("default", *names):
            if self.quotas[name].amount:
                await self._take(self.quotas[name], caller.principal)
                left = await self._left(self.quotas[name], caller.principal)
                scope.get("rate_limits", []).append((self.quotas[name], left))

    async def hit_address(self, scope: Scope) -> None:
        """Every request, before anybody knows whose it is."""
        if scope["path"] in UNCOUNTED:
            return
        try:
            await self._take(self.quotas["address"], address_of(scope))
        except RateLimited:
            if not self._hinted and _came_through_a_stranger(scope):
                self._hinted = True
                log.warning("rate_limit.proxy_not_trusted")  # else all of its clients are one address, for ever
            raise

    async def hit_principal(self, name: str, caller: Caller, amount: int = 1) -> None:
        """What is no request of its own: a question or a frame on a socket, bytes of a file."""
        quota = self.quotas[name]
        await self._take(quota, caller.principal, min(amount, quota.amount))

    async def hit_login(self, address: str, account: str | None = None) -> None:
        """One attempt to register, to log in, to refresh or to change a password. RateLimited; Unavailable when
        attempts cannot be counted: who may guess as often as they like guesses a password in the end."""
        await self._take(self.quotas["login_address"], address, spare=False)
        if account is not None:
            await self._take(self.quotas["login"], normalised_email(account), spare=False)

    async def _take(self, quota: Quota, subject: str, amount: int = 1, *, spare: bool = True) -> None:
        if not quota.amount:
            return
        key = self._key(subject)
        try:
            taken = await self._counters.take(quota, key, amount)
        except Unavailable:
            if not spare:
                raise
            taken = await self._spare.take(quota, key, amount)
        if not taken:
            refusal = RateLimited(retry_after=(await self._left(quota, subject)).seconds)
            refusal.quota = quota
            raise refusal

    async def _left(self, quota: Quota, subject: str) -> Left:
        key = self._key(subject)
        try:
            return await self._counters.left(quota, key)
        except Unavailable:
            return await self._spare.left(quota, key)

    def _key(self, subject: str) -> str:
        """Addresses and names of accounts are personal: a shared store sees neither."""
        said = subject.encode(errors="backslashreplace")
        return hashlib.blake2b(said, digest_size=16, key=self._secret).hexdigest()


@contextlib.asynccontextmanager
async def open_rate_limits(settings: Settings) -> AsyncIterator[RateLimits]:
    counters = open_counters(settings.rate_limit_storage_uri.get_secret_value())
    try:
        yield RateLimits(settings, counters, settings_key(settings))
    finally:
        await counters.close()
