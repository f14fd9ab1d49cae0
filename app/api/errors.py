"""Errors as problem+json (RFC 9457). Here, and nowhere else, a kind becomes a status.

Nothing that a client sent, no exception text, no path and no library's name goes into an answer.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Match

from app.api.openai_errors import is_openai_path, openai_response
from app.api.rate_limit import rate_limit_headers
from app.api.validation import field_errors
from app.core.errors import Invalid, Kind, RagchatError, RateLimited
from app.core.logging import get_logger
from app.providers.ports import Left
from app.schemas.common import Problem, ProblemError

MEDIA_TYPE = "application/problem+json"
log = get_logger(__name__)

STATUS: Mapping[Kind, int] = {
    Kind.INVALID: 400,
    Kind.UNAUTHORIZED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.STALE_VERSION: 412,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED: 415,
    Kind.KEY_REUSED: 422,
    Kind.RATE_LIMITED: 429,
    Kind.INTERNAL: 500,
    Kind.UNAVAILABLE: 503,
    Kind.STORAGE_FULL: 507,
}
HTTP_PROBLEMS = {
    400: ("malformed_body", "The body cannot be read."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method; see the Allow header."),
    408: ("body_timeout", "The body came too slowly."),
    413: ("too_large", "The request is larger than this address accepts."),
    416: ("invalid_range", "The Range header asks for what is not there."),
}
"""What the framework answers by itself."""
HTTP_ERROR = ("http_error", "The request could not be handled.")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
LIFTED = {"invalid_character", "invalid_unicode", "empty_content", "too_long", "unsupported_language"}
"""The code of the whole when it is the only fault."""


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(RagchatError, on_ragchat_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)


async def on_ragchat_error(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RagchatError):
        raise exc
    if STATUS[exc.kind] >= 500:
        log.warning("request.unavailable", code=exc.code)
    return problem(request, exc)


async def on_validation_error(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RequestValidationError):
        raise exc
    errors = field_errors(exc.errors())
    code = errors[0].code if len(errors) == 1 and errors[0].code in LIFTED else "invalid_request"
    return problem(request, Invalid(code, "The request is not valid; see `errors`."), errors=errors)


async def on_http_exception(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    if isinstance(exc.__cause__, RagchatError):  # raised while FastAPI read the body
        return problem(request, exc.__cause__)
    headers = {"Allow": allowed_methods(request)} if exc.status_code == 405 else exc.headers
    return problem_response(request, exc.status_code, *HTTP_PROBLEMS.get(exc.status_code, HTTP_ERROR), headers=headers)


def allowed_methods(request: Request) -> str:
    """Of every route of the address: the framework names those of the first one only."""
    scope = {"type": "http", "path": request.scope["path"], "headers": []}
    routes = request.app.router.routes
    return ", ".join(
        method
        for method in METHODS
        if any(route.matches(scope | {"method": method})[0] is Match.FULL for route in routes)
    )


def problem(request: HTTPConnection, exc: RagchatError, errors: list[ProblemError] | None = None) -> Response:
    if errors is None and exc.pointer is not None:
        errors = [ProblemError(pointer=exc.pointer, code=exc.code, detail=exc.detail)]
    headers = {}
    if exc.kind is Kind.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="ragchat", ApiKey realm="ragchat"'
    if exc.retry_after is not None or exc.kind in {Kind.UNAVAILABLE, Kind.RATE_LIMITED}:
        headers["Retry-After"] = str(max(1, math.ceil(exc.retry_after or 1)))
    if isinstance(exc, RateLimited) and exc.quota is not None:
        headers |= rate_limit_headers([(exc.quota, Left(0, exc.retry_after or 1))])
    return problem_response(request, STATUS[exc.kind], exc.code, exc.detail, errors=errors, headers=headers)


def problem_response(
    request: HTTPConnection,
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[ProblemError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    if is_openai_path(request.scope["path"]):
        return openai_response(status, code, detail, errors, headers or {})
    body = Problem(
        type=f"/problems/{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=quote(request.scope["path"]),
        code=code,
        request_id=request.scope.get("request_id", ""),
        errors=errors,
    )
    text = body.model_dump_json(exclude_none=True)
    return Response(text, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)
