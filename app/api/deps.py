"""Named dependencies, so that signatures read as sentences."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.api.guard import parse_json
from app.api.rate_limit import RateLimits
from app.api.validation import refuse_fields
from app.core.caller import ADMIN, Caller
from app.core.errors import Forbidden, Invalid, NotFound
from app.repositories.paging import Paging
from app.runtime import Runtime
from app.schemas.common import MAX_LIMIT

API_KEY = APIKeyHeader(
    name="X-API-Key",
    scheme_name="ApiKey",
    auto_error=False,
    description="The key that the service printed or was given.",
)
BEARER = HTTPBearer(
    scheme_name="Bearer",
    auto_error=False,
    description="A user's access token, from `/api/v1/auth/login`; or the API key, `rgc_...`.",
)


WEAK = "W/"
NO_VERSION = 0
"""What a weak ETag names: If-Match compares strongly (RFC 9110, 13.1.1), so it matches nothing."""


def get_runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


def get_rate_limits(request: Request) -> RateLimits:
    limits: RateLimits = request.app.state.rate_limits
    return limits


def get_caller(
    request: Request,
    _key: Annotated[str | None, Security(API_KEY)],
    _bearer: Annotated[object, Security(BEARER)],
) -> Caller:
    """Set by the guarded route; the parameters tell OpenAPI how to authorize."""
    caller: Caller = request.state.caller
    return caller


def _digits(value: object) -> object:
    """`5.0`, `1_0` and ` 5` are not how a number is written here, whatever Python makes of them."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,20}", value):
        raise PydanticCustomError("wrong_type", "It must be a whole number.")
    return value


DIGITS = BeforeValidator(_digits)
"""Stands after the bounds: OpenAPI shows those only of what is inside."""


class Scope:
    """Any one of these. Forbidden when the key was made for something else."""

    def __init__(self, *names: str) -> None:
        self._names = {*names, "admin"}

    def __call__(self, caller: Annotated[Caller, Depends(get_caller)]) -> Caller:
        if self._names.isdisjoint(caller.scopes):
            raise Forbidden
        return caller


def get_reindexer(caller: Annotated[Caller, Depends(Scope("ingest"))]) -> Caller:
    """Of users, the admins."""
    if caller.user_id is not None and caller.role != ADMIN:
        raise Forbidden
    return caller


def get_paging(
    skip: Annotated[int, Field(ge=0, le=2**31 - 1), DIGITS, Query(description="How many to leave out.")] = 0,
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT), DIGITS, Query(description="How many to return.")] = 50,
    cursor: Annotated[
        str | None,
        Query(max_length=500, description="`next_cursor` of the page before; stays right while rows come."),
    ] = None,
) -> Paging:
    if cursor is not None and skip:
        raise Invalid("invalid_request", "Give `skip` or `cursor`, not both.", pointer="/cursor")
    return Paging(limit=limit, skip=skip, cursor=cursor)


def get_if_match(
    if_match: Annotated[str | None, Header(description="The ETag you read; 412 when it has changed since.")] = None,
) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    value = if_match.strip().removeprefix(WEAK).strip('"')
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise Invalid("invalid_etag", "If-Match must hold an ETag that this service gave.", pointer="/If-Match")
    return NO_VERSION if if_match.strip().startswith(WEAK) else int(value)


async def refuse_input(request: Request) -> None:
    """For a route whose address says it all. An empty body or `{}` is none."""
    refuse_fields(dict(request.query_params), part="query")
    body = await request.body()
    if body:
        refuse_fields(parse_json(body))


def parse_id(value: str, not_found: NotFound) -> UUID:
    """Ids have one spelling; anything else names nothing."""
    try:
        parsed = UUID(value)
    except ValueError as exc:
        raise not_found from exc
    if str(parsed) != value:
        raise not_found
    return parsed


RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
RateLimitsDep = Annotated[RateLimits, Depends(get_rate_limits)]
CallerDep = Annotated[Caller, Depends(get_caller)]
ChatCaller = Annotated[Caller, Depends(Scope("chat"))]
IngestCaller = Annotated[Caller, Depends(Scope("ingest"))]
StatusCaller = Annotated[Caller, Depends(Scope("chat", "ingest"))]
"""Whoever adds a document may see what becomes of it, without reading it."""
ReindexCaller = Annotated[Caller, Depends(get_reindexer)]
AdminCaller = Annotated[Caller, Depends(Scope("admin"))]
PagingDep = Annotated[Paging, Depends(get_paging)]
IfMatch = Annotated[int | None, Depends(get_if_match)]
VersionQuery = Annotated[
    int | None, Field(ge=1, le=2**31 - 1), DIGITS, Query(description="Of the document. Default: the newest.")
]
IdPath = Annotated[str, Path(json_schema_extra={"format": "uuid"})]
