"""Cross-origin requests: nothing unless ALLOWED_ORIGINS names the page's origin. Never `*`, never `null`, and never
credentials of the browser: this service has no cookies, and a page sends its key in a header that it sets itself."""

from collections.abc import Mapping, Set

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = "GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = ", ".join(
    (
        *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Range"),
        *("X-API-Key", "X-Request-ID"),
    )
)
ANSWER_HEADERS = ", ".join(
    (
        *("Content-Disposition", "ETag", "Idempotency-Replayed", "Location", "RateLimit", "RateLimit-Policy"),
        *("Retry-After", "X-Request-ID"),
    )
)
REMEMBERED_SECONDS = 600


class Cors:
    def __init__(self, app: ASGIApp, origins: Set[str] = frozenset()) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        known = origin if origin in self._origins else None
        if known and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await Response(status_code=204, headers=_preflight(known))(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.add_vary_header("Origin")  # for all, so that no cache hands one origin's answer to another
                if known:
                    answer["Access-Control-Allow-Origin"] = known
                    answer["Access-Control-Expose-Headers"] = ANSWER_HEADERS
            await send(message)

        await self._app(scope, receive, send_on)


def _preflight(origin: str) -> Mapping[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": REQUEST_HEADERS,
        "Access-Control-Max-Age": str(REMEMBERED_SECONDS),
        "Vary": "Origin",
    }
