"""What is wrong with a request before its path is looked at."""

import re
from typing import NamedTuple

from starlette.types import Scope

MOST_TARGET_BYTES = 8 * 1024
MOST_HEADERS = 100
MOST_HEADER_BYTES = 64 * 1024
HOST = re.compile(rb"(?:[A-Za-z0-9._-]{0,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")


class Refusal(NamedTuple):
    status: int
    code: str
    detail: str


def head_refusal(scope: Scope) -> Refusal | None:
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_TARGET_BYTES:
        return Refusal(414, "url_too_long", "The address is longer than this service accepts.")
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS or sum(len(name) + len(value) for name, value in headers) > MOST_HEADER_BYTES:
        return Refusal(431, "headers_too_large", "There are more headers than this service accepts.")
    hosts = [value for name, value in headers if name == b"host"]
    missing = not hosts and scope["http_version"] == "1.1"
    if missing or len(hosts) > 1 or not all(HOST.match(host) for host in hosts):
        return Refusal(400, "invalid_host", "Send one Host header, with a name or an address.")
    return None
