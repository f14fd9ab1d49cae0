"""Pure ASGI middleware: request ids, the access log, security headers, and the answer to what nobody expected."""

import re
import time
from collections.abc import Sequence
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.addresses import Network, look_behind_proxies
from app.api.errors import HTTP_ERROR, HTTP_PROBLEMS, problem, problem_response
from app.api.rate_limit import rate_limit_headers
from app.api.request_head import head_refusal
from app.core.audit import ANONYMOUS, Origin, network_of, origin
from app.core.errors import RateLimited
from app.core.log_fields import METHODS, OTHER
from app.core.logging import get_logger

REQUEST_ID = re.compile(r"[\w.-]{1,64}\Z", re.ASCII)
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer that does not say something else: the explorer's page has a policy of its own, files may be kept."""
log = get_logger("access")


class RequestContext:
    """Outermost. The path that is logged is the route's template: ids are fields, names never are."""

    def __init__(self, app: ASGIApp, proxies: Sequence[Network] = (), hsts_seconds: int = 0) -> None:
        self._app = app
        self._proxies = proxies
        self._hsts_seconds = hsts_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.match(given) else uuid4().hex
        scope["request_id"] = request_id
        scope["rate_limits"] = []
        look_behind_proxies(scope, self._proxies)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        host, _ = scope.get("client") or (None, 0)
        origin.set(Origin(network_of(host), request_id, ANONYMOUS))
        await self._answer(scope, receive, _Answer(scope, receive, send, self._headers(scope)))

    def _headers(self, scope: Scope) -> dict[str, str]:
        headers = SECURITY_HEADERS | {"X-Request-ID": scope["request_id"]}
        if self._hsts_seconds and scope["scheme"] in {"https", "wss"}:
            headers["Strict-Transport-Security"] = f"max-age={self._hsts_seconds}"
        return headers

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        began = time.perf_counter()
        try:
            refusal = head_refusal(scope)
            if refusal is None:
                await self._app(scope, receive, answer.send)
            else:
                await answer.problem(*refusal)
        except Exception:
            log.exception("request.failed", route=_route(scope))
            if answer.status:
                raise
            await answer.problem(500, "internal", "Something went wrong on our side.")
        finally:
            milliseconds = round(1000 * (time.perf_counter() - began), 1)
            method = scope.get("method", "WEBSOCKET")
            method = method if method in METHODS else OTHER
            log.info("request", method=method, route=_route(scope), status=answer.status, ms=milliseconds)


class _Answer:
    """Adds the headers that every answer has, and puts a problem in the place of the framework's plain-text errors."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        self.status = 0
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = headers
        self._replaced = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_plain_error(message):
            self._replaced = True
            await self.problem(message["status"], *HTTP_PROBLEMS.get(message["status"], HTTP_ERROR))
        elif message["type"] == "websocket.close" and not self.status:  # the router's word for an unknown address
            await self.problem(404, *HTTP_PROBLEMS[404])
        elif not self._replaced:
            await self._pass_on(message)

    async def problem(self, status: int, code: str, detail: str) -> None:
        response = problem_response(HTTPConnection(self._scope), status, code, detail)
        await response(self._scope, self._receive, self._pass_on)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self.status = 101
        elif message["type"] in {"http.response.start", "websocket.http.response.start"}:
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in (self._headers | rate_limit_headers(self._scope["rate_limits"])).items():
                headers.setdefault(name, value)
        await self._send(message)


class AddressLimit:
    """How often an address may ask, whatever it asks for and whoever it says it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            try:
                await scope["app"].state.rate_limits.hit_address(scope)
            except RateLimited as exc:
                await problem(HTTPConnection(scope), exc)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_plain_error(message: Message) -> bool:
    kind = Headers(raw=message["headers"]).get("content-type", "")
    return bool(message["status"] >= 400) and kind.startswith("text/plain")


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "path", "") or "unmatched"
