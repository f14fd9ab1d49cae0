"""Where an answer may lead to."""

from collections.abc import Set

import regex

_URL = regex.compile(
    r"(?i)(?P<scheme>https?)://(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::(?P<port>\d{1,5}))?"
    r"(?:[/?#][a-z0-9\-._~!$&'*+,;=:@%/?#]*)?"
)
"""Nothing that two programs could read in two ways: no user, no backslash, no letters but ASCII."""
_USUAL_PORTS = {"http": "80", "https": "443"}


class Places:
    """Hosts of an allow-list and the addresses of documents."""

    def __init__(self, allowed_hosts: Set[str], document_urls: Set[str]) -> None:
        self._hosts = frozenset(map(_ascii, allowed_hosts))
        self._documents = frozenset(url for url in document_urls if regex.fullmatch(r"[!-~]+", url))

    def allow_link(self, target: str) -> bool:
        if target in self._documents:
            return True
        url = _URL.fullmatch(target)
        return url is not None and self.allow_host(url["host"], url["port"], scheme=url["scheme"])

    def allow_host(self, host: str, port: str | None = None, *, scheme: str = "https") -> bool:
        suffix = "" if port is None or port == _USUAL_PORTS[scheme.lower()] else f":{port}"
        labels = host.lower().split(".")
        return any(".".join(labels[at:]) + suffix in self._hosts for at in range(len(labels)))


def _ascii(host: str) -> str:
    """As a browser sends it: punycode for what is not ASCII."""
    return host.strip().lower().strip(".").encode("idna").decode("ascii")
