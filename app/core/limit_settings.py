"""The settings of who may ask how often, and of the edge."""

import ipaddress
import re
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

from app.core.errors import UnsafeSettings
from app.core.quotas import Quota

MINUTE, HOUR = 60, 3600
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
PRODUCTION = "in production, off in development. 0 is off."


class LimitSettings(BaseSettings):
    app_env: Literal["development", "test", "production"]
    rate_limit_per_minute: int | None = Field(
        None, ge=0, description=f"Requests a minute for each API key or user. Unset: 60 {PRODUCTION}"
    )
    rate_limit_address_per_minute: int | None = Field(
        None,
        ge=0,
        description="Requests a minute for each address, with and without a credential. "
        f"Unset: five times RATE_LIMIT_PER_MINUTE {PRODUCTION}",
    )
    rate_limit_login_per_minute: int | None = Field(
        None,
        ge=0,
        description="Attempts to register, to log in or to change the password for each account. "
        f"Unset: 10 {PRODUCTION}",
    )
    rate_limit_login_address_per_minute: int | None = Field(
        None, ge=0, description=f"The same, and refreshed tokens, for each address. Unset: 30 {PRODUCTION}"
    )
    rate_limit_chat_per_minute: int | None = Field(
        None, ge=0, description=f"Questions a minute for each API key or user. Unset: 30 {PRODUCTION}"
    )
    rate_limit_embeddings_per_minute: int | None = Field(
        None, ge=0, description=f"Texts to embed a minute for each API key or user. Unset: 3000 {PRODUCTION}"
    )
    rate_limit_uploads_per_hour: int | None = Field(
        None, ge=0, description=f"Documents an hour for each API key or user. Unset: 300 {PRODUCTION}"
    )
    rate_limit_upload_mb_per_hour: int | None = Field(
        None, ge=0, description=f"MiB of documents an hour for each API key or user. Unset: 1000 {PRODUCTION}"
    )
    rate_limit_frames_per_minute: int | None = Field(
        None,
        ge=0,
        description=f"WebSocket frames a minute for each API key or user, on all sockets together. Unset: 600 "
        f"{PRODUCTION} One socket takes 600 anywhere.",
    )
    rate_limit_storage_uri: SecretStr = Field(
        SecretStr(""),
        description="`redis://...` or `rediss://...`, where several processes count together. Empty: each by itself.",
    )
    trusted_proxies: str = Field(
        "",
        description="Comma-separated addresses or networks of your own proxies, whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed, e.g. `10.0.0.0/8`. Empty: nobody's.",
    )
    allowed_origins: str = Field(
        "",
        description="Comma-separated origins whose pages may use the API and open a WebSocket, e.g. "
        "`https://shop.example`. The service's own origin always may.",
    )
    hsts_seconds: int = Field(
        0, ge=0, description="Strict-Transport-Security on answers over HTTPS, for so long; 0 sends none."
    )

    @property
    def requests_per_minute(self) -> int:
        """0 stands for no limit."""
        return self._in_production(self.rate_limit_per_minute, 60)

    @property
    def quotas(self) -> tuple[Quota, ...]:
        """Each by the name that clients see."""
        of = self._in_production
        return (
            Quota("default", self.requests_per_minute, MINUTE),
            Quota("address", of(self.rate_limit_address_per_minute, 5 * self.requests_per_minute), MINUTE),
            Quota("login", of(self.rate_limit_login_per_minute, 10), MINUTE),
            Quota("login_address", of(self.rate_limit_login_address_per_minute, 30), MINUTE),
            Quota("chat", of(self.rate_limit_chat_per_minute, 30), MINUTE),
            Quota("embeddings", of(self.rate_limit_embeddings_per_minute, 3000), MINUTE),
            Quota("uploads", of(self.rate_limit_uploads_per_hour, 300), HOUR),
            Quota("upload_mb", of(self.rate_limit_upload_mb_per_hour, 1000), HOUR),
            Quota("frames", of(self.rate_limit_frames_per_minute, 600), MINUTE),
        )

    def _in_production(self, given: int | None, default: int) -> int:
        if given is not None:
            return given
        return default if self.app_env == "production" else 0

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(origin.rstrip("/") for origin in _listed(self.allowed_origins))

    @property
    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(ipaddress.ip_network(network, strict=False) for network in _listed(self.trusted_proxies))

    @model_validator(mode="after")
    def _origins_are_origins(self) -> Self:
        """Not `*`, which would let every page of the world ask, and not `null`, which sandboxed pages send."""
        if not all(ORIGIN.fullmatch(origin) for origin in self.origins):
            raise UnsafeSettings(
                "origin_invalid", "ALLOWED_ORIGINS holds what is no origin; write them as `https://shop.example`."
            )
        return self

    @model_validator(mode="after")
    def _proxies_are_networks(self) -> Self:
        try:
            _ = self.proxies
        except ValueError:
            raise UnsafeSettings(
                "trusted_proxies_invalid", "TRUSTED_PROXIES holds what is neither an address nor a network."
            ) from None
        return self


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
