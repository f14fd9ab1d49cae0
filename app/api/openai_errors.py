"""Errors as clients of OpenAI's API read them: for every address below /v1, in the place of problem+json."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse

from app.core.errors import Invalid
from app.schemas.common import ProblemError

PREFIX = "/v1"
TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""By status; others are the request's fault below 500, and the server's above."""


def is_openai_path(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def openai_error(status: int, code: str, detail: str, errors: Sequence[ProblemError] | None = None) -> dict[str, Any]:
    """`code` is the same word as everywhere else; `param` names the first thing that is wrong."""
    param = _param(errors[0].pointer) if errors else None
    message = f"{param}: {errors[0].detail}" if errors and param else detail
    default = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": TYPES.get(status, default), "param": param, "code": code}}


def openai_response(
    status: int, code: str, detail: str, errors: Sequence[ProblemError] | None, headers: Mapping[str, str]
) -> JSONResponse:
    return JSONResponse(openai_error(status, code, detail, errors), status_code=status, headers=headers)


def _param(pointer: str) -> str | None:
    """`/messages/0/content` as `messages[0].content`."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", pointer.strip("/").replace("/", ".")) or None


def unsupported_parameter(detail: str, pointer: str) -> Invalid:
    return Invalid("unsupported_parameter", detail, pointer=pointer)
