"""What every protected route does before its body is read: who is asking, how often, and in which media type.

FastAPI reads the body before it runs dependencies; a stranger must not make us read 50 MiB.
"""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from app.api.bodies import in_time
from app.api.rate_limit import quotas_of
from app.core.caller import Caller
from app.core.errors import Invalid, Unauthorized, Unsupported
from app.core.tokens import is_token
from app.services.auth import AuthService

MAXIMUM_DEPTH = 64
MAXIMUM_KEYS = 10_000
MAXIMUM_DIGITS = 64
MAXIMUM_PARTS = 100_000
"""Brackets and commas: bounds what a body of many small values costs to read."""
STRING_OR_MARK = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{},]', re.DOTALL)
"""The closing quote is optional: looked for again from each quote of an open string, it would cost squared time."""
CHARSET = re.compile(r"(?:^|;)[ \t]*charset[ \t]*=[ \t]*\"?([^\";\s]*)", re.ASCII)
UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})
MOST_TOKENS = 4
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


async def authenticate(auth: AuthService, headers: Headers) -> Caller:
    """From `X-API-Key` or `Authorization: Bearer`; several are fine when they are the same principal."""
    keys = [value.encode("latin-1") for value in headers.getlist("x-api-key")]
    bearers = []
    for value in headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            bearers.append(token.strip().encode("latin-1"))
    given = [*dict.fromkeys([*keys, *bearers])]
    if not given:
        raise Unauthorized
    if len(given) > 1 and (keys or len(given) > MOST_TOKENS or not all(map(is_token, given))):
        raise _ambiguous()  # no two keys are the same principal, and no key is a user
    callers = [await (auth.authenticate_key(one) if one in keys else auth.authenticate(one)) for one in given]
    if len({caller.principal for caller in callers}) > 1:
        raise _ambiguous()
    return callers[0]


def _ambiguous() -> Invalid:
    return Invalid("ambiguous_credentials", "Two different credentials were sent; send one.")


class StrictRequest(Request):
    """JSON as RFC 8259 has it: UTF-8, no NaN, no name twice, of bounded depth and size."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json


class GuardedRoute(APIRoute):
    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        takes_json = self.body_field is not None
        quotas = quotas_of(self.endpoint)

        async def guarded(request: Request) -> Response:
            state = request.app.state
            caller = await authenticate(state.runtime.auth, request.headers)
            request.state.caller = caller
            await state.rate_limits.hit(request.scope, caller, quotas)
            response = await handle(_checked(request, takes_json=takes_json))
            if response.status_code == 204:
                del response.headers["content-type"]  # of nothing
            return response

        return guarded


class OpenRoute(APIRoute):
    """Nobody is asked who they are; everything else is looked at as on a guarded route."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        takes_json = self.body_field is not None

        async def opened(request: Request) -> Response:
            return await handle(_checked(request, takes_json=takes_json))

        return opened


def _checked(request: Request, *, takes_json: bool) -> StrictRequest:
    check_query(request.scope["query_string"])
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Unsupported("unsupported_encoding", "Compressed requests are not supported.")
    if takes_json:
        require_json(request.headers)
    return StrictRequest(request.scope, in_time(request.receive))


def check_query(query: bytes) -> None:
    """UTF-8 without U+0000, each name once: `?limit=10&limit=20` is a mistake, not a choice of ours to make."""
    plain = unquote_to_bytes(query)
    if b"\0" in plain:
        raise Invalid("invalid_character", "U+0000 is not allowed in the query.")
    try:
        plain.decode()
    except UnicodeDecodeError as exc:
        raise Invalid("invalid_unicode", "The query is not valid UTF-8.") from exc
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    if len(set(names)) < len(names):
        raise Invalid("duplicate_parameter", "A query parameter was given twice.")


def require_json(headers: Headers) -> None:
    """In UTF-8, which is what JSON is sent in (RFC 8259, 8.1); the media type has no parameter for another one."""
    media_type, _, parameters = headers.get("content-type", "").lower().partition(";")
    media_type = media_type.strip()
    if media_type != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", media_type, re.ASCII):
        raise Unsupported("unsupported_type", "Send the body as application/json.")
    if any(charset not in UTF_8 for charset in CHARSET.findall(parameters)):
        raise Unsupported("unsupported_type", "Send JSON in UTF-8.")


def parse_json(body: bytes | str) -> Any:
    """Invalid(code="malformed_json"), also for what Python's parser would let pass."""
    try:
        text = body.decode() if isinstance(body, bytes) else body
        _check_shape(text)
        keys = 0

        def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal keys
            keys += len(pairs)
            found = dict(pairs)
            if len(found) < len(pairs) or keys > MAXIMUM_KEYS:
                raise _malformed("An object has a name twice, or there are too many names.")
            return found

        return json.loads(
            text, object_pairs_hook=members, parse_constant=_no_constant, parse_float=_float, parse_int=_int
        )
    except (ValueError, RecursionError) as exc:
        raise _malformed("The body is not valid JSON.") from exc


def _check_shape(text: str) -> None:
    """Python's parser recurses and builds everything first: depth and size are judged before it runs."""
    depth = 0
    marks = (match.group() for match in STRING_OR_MARK.finditer(text))
    for count, mark in enumerate((mark for mark in marks if not mark.startswith('"')), start=1):
        depth += (mark in "[{") - (mark in "]}")
        if depth > MAXIMUM_DEPTH:
            raise _malformed("The JSON is nested too deeply.")
        if count > MAXIMUM_PARTS:
            raise _malformed("The JSON holds too many values.")


def _no_constant(_name: str) -> float:
    raise ValueError("not a JSON number")


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("out of range")
    return value


def _int(digits: str) -> int:
    if len(digits) > MAXIMUM_DIGITS:
        raise ValueError("too many digits")
    return int(digits)


def _malformed(detail: str) -> Invalid:
    return Invalid("malformed_json", detail)
