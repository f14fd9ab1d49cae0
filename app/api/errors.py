"""Errors as problem+json (RFC 9457). Here, and nowhere else, a kind becomes a status.

Nothing that a client sent, no exception text, no path and no library's name goes into an answer.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from app.core.errors import Invalid, Kind, RagchatError
from app.core.logging import get_logger
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
    Kind.RATE_LIMITED: 429,
    Kind.INTERNAL: 500,
    Kind.UNAVAILABLE: 503,
    Kind.STORAGE_FULL: 507,
}
HTTP_PROBLEMS = {
    400: ("malformed_json", "The body is not valid JSON."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method; see the Allow header."),
    413: ("too_large", "The request is larger than this address accepts."),
    415: ("unsupported_type", "This media type is not supported."),
}
VALIDATION_DETAILS = {
    "missing": "It is required.",
    "extra_forbidden": "There is no such field.",
    "string_unicode": "Text must be valid Unicode; a lone surrogate is not.",
}
VALIDATION_CODES = {"string_unicode": "invalid_unicode"}


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(RagchatError, on_ragchat_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(ValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)


async def on_ragchat_error(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RagchatError):
        raise exc
    if STATUS[exc.kind] >= 500:
        log.warning("request.unavailable", code=exc.code)
    return problem(request, exc)


async def on_validation_error(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RequestValidationError | ValidationError):
        raise exc
    errors = [_field_error(error) for error in exc.errors()[:50]]
    code = "invalid_request"
    if len(errors) == 1 and errors[0].code in {
        "invalid_character",
        "invalid_unicode",
        "empty_content",
        "too_long",
    }:
        code = errors[0].code
    return problem(request, Invalid(code, "The request is not valid; see `errors`."), errors=errors)


async def on_http_exception(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    code, detail = HTTP_PROBLEMS.get(exc.status_code, ("http_error", "The request could not be handled."))
    return problem_response(request, exc.status_code, code, detail, headers=exc.headers)


def problem(request: Request, exc: RagchatError, errors: list[ProblemError] | None = None) -> Response:
    if errors is None and exc.pointer is not None:
        errors = [ProblemError(pointer=exc.pointer, code=exc.code, detail=exc.detail)]
    headers = {}
    if exc.kind is Kind.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="ragchat", ApiKey realm="ragchat"'
    if exc.retry_after is not None or exc.kind in {Kind.UNAVAILABLE, Kind.RATE_LIMITED}:
        headers["Retry-After"] = str(max(1, round(exc.retry_after or 1)))
    return problem_response(request, STATUS[exc.kind], exc.code, exc.detail, errors=errors, headers=headers)


def problem_response(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[ProblemError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = Problem(
        type=f"/problems/{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path,
        code=code,
        request_id=request.scope.get("request_id", ""),
        errors=errors,
    )
    text = body.model_dump_json(exclude_none=True)
    return Response(text, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _field_error(error: Any) -> ProblemError:
    kind = error["type"]
    location = [str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")]
    pointer = "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in location if part.isascii())
    code = VALIDATION_CODES.get(kind, kind)
    return ProblemError(pointer=pointer[:200], code=code, detail=VALIDATION_DETAILS.get(kind, _message(error)))


def _message(error: Any) -> str:
    """Pydantic's own sentence; it names the rule. Those that quote the input are replaced."""
    if error["type"] in {
        "string_pattern_mismatch",
        "literal_error",
        "enum",
        "uuid_parsing",
        "union_tag_invalid",
    }:
        return "The value is not one of those allowed."
    if error["type"].startswith(("json", "value_error", "assertion")):
        return "The value is not valid."
    return str(error["msg"])
