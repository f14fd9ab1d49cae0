"""What every protected route does before its body is read: who is asking, how often, and in which media type.

FastAPI reads the body before it runs dependencies; a stranger must not make us read 50 MiB.
"""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from app.core.caller import Caller
from app.core.errors import Invalid, Unauthorized, Unsupported
from app.services.auth import AuthService

MAXIMUM_DEPTH = 64
MAXIMUM_KEYS = 10_000
MAXIMUM_DIGITS = 64
STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]')
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


async def authenticate(auth: AuthService, headers: Headers) -> Caller:
    """From `X-API-Key` or `Authorization: Bearer`; both are fine when they are the same principal."""
    keys = [value.encode("latin-1") for value in headers.getlist("x-api-key")]
    for value in headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            keys.append(token.strip().encode("latin-1"))
    if not keys:
        raise Unauthorized
    if len(set(keys)) > 1:
        raise Invalid("ambiguous_credentials", "Two different credentials were sent; send one.")
    return await auth.authenticate(keys[0])


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

        async def guarded(request: Request) -> Response:
            state = request.app.state
            caller = await authenticate(state.runtime.auth, request.headers)
            request.state.caller = caller
            limits = state.rate_limit.hit(caller)
            if "content-encoding" in request.headers:
                raise Unsupported("unsupported_encoding", "Compressed requests are not supported.")
            if takes_json:
                require_json(request.headers)
            response = await handle(StrictRequest(request.scope, request.receive))
            response.headers.update(limits)
            return response

        return guarded


def require_json(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Unsupported("unsupported_type", "Send the body as application/json.")


def parse_json(body: bytes) -> Any:
    """Invalid(code="malformed_json"), also for what Python's parser would let pass."""
    try:
        text = body.decode("utf-8")
        if _deeper_than(text, MAXIMUM_DEPTH):
            raise _malformed("The JSON is nested too deeply.")
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


def _deeper_than(text: str, limit: int) -> bool:
    """Python's parser recurses: depth is judged before it runs, strings skipped."""
    depth = 0
    for match in STRING_OR_BRACKET.finditer(text):
        symbol = match.group()
        if symbol in "[{":
            depth += 1
            if depth > limit:
                return True
        elif symbol in "]}":
            depth -= 1
    return False


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
