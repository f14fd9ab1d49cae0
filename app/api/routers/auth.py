"""Logging in, and who one is."""

from typing import Any

from fastapi import APIRouter, Request, Response, status

from app.api.addresses import address_of
from app.api.bodies import JSON_BYTES
from app.api.deps import CallerDep, RateLimitsDep, RuntimeDep
from app.api.forms import read_urlencoded
from app.api.guard import GuardedRoute, OpenRoute, require_json
from app.api.validation import valid
from app.core.errors import Invalid
from app.schemas.auth import LoginRequest, PasswordChange, RefreshRequest, TokenPair
from app.schemas.users import Me, UserCreate, UserOut

PREFIX = "/api/v1/auth"
MOST_BYTES = 2 * JSON_BYTES
"""A password of a megabyte is refused as a password, not as a body."""
router = APIRouter(prefix=PREFIX, tags=["auth"], route_class=OpenRoute, max_body_size=MOST_BYTES)
guarded = APIRouter(prefix=PREFIX, tags=["auth"], route_class=GuardedRoute, max_body_size=JSON_BYTES)
FORM = "application/x-www-form-urlencoded"
OF_OAUTH = ("grant_type", "scope", "client_id", "client_secret")
"""What OAuth 2 forms hold beside the name and the password."""
LOGIN_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": LoginRequest.model_json_schema()},
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["username", "password"],
                    "properties": {
                        "username": {"type": "string", "description": "The e-mail address."},
                        "password": {"type": "string", "format": "password"},
                        "grant_type": {"type": "string", "enum": ["password"]},
                    },
                }
            },
        },
    }
}


@router.post("/register", status_code=status.HTTP_201_CREATED, operation_id="auth_register", summary="Make an account")
async def register(request: Request, runtime: RuntimeDep, limits: RateLimitsDep, body: UserCreate) -> UserOut:
    await limits.hit_login(address_of(request.scope), body.email)
    return await runtime.accounts.logins.register(body)


@router.post(
    "/login", operation_id="auth_login", openapi_extra=LOGIN_BODY, summary="Log in, with JSON or a form of OAuth 2",
)  # fmt: skip
async def login(request: Request, runtime: RuntimeDep, limits: RateLimitsDep, response: Response) -> TokenPair:
    body = await _credentials(request)
    if (body.email is None) == (body.username is None):
        raise Invalid("invalid_request", "Send either `email` or `username`.", pointer="/email")
    email = body.email or body.username or ""
    await limits.hit_login(address_of(request.scope), email)
    response.headers["Cache-Control"] = "no-store"
    return await runtime.accounts.logins.login(email, body.password)


async def _credentials(request: Request) -> LoginRequest:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != FORM:
        require_json(request.headers)
        return valid(LoginRequest, await request.json())
    form = read_urlencoded(await request.body())
    if form.get("grant_type", "password") != "password":
        raise Invalid("unsupported_grant", "The only `grant_type` is `password`.", pointer="/grant_type")
    return valid(LoginRequest, {name: value for name, value in form.items() if name not in OF_OAUTH})


@router.post("/refresh", operation_id="auth_refresh", summary="The next pair of tokens; the refresh token is used up")
async def refresh(
    request: Request, runtime: RuntimeDep, limits: RateLimitsDep, body: RefreshRequest, response: Response
) -> TokenPair:
    await limits.hit_login(address_of(request.scope))
    response.headers["Cache-Control"] = "no-store"
    return await runtime.accounts.logins.refresh(body.refresh_token)


@guarded.post(
    "/logout", status_code=status.HTTP_204_NO_CONTENT, operation_id="auth_logout",
    summary="End this login: its tokens work no more",
)  # fmt: skip
async def logout(runtime: RuntimeDep, caller: CallerDep) -> None:
    await runtime.accounts.logins.logout(caller)


@guarded.get("/me", operation_id="auth_me", summary="Who am I")
async def me(runtime: RuntimeDep, caller: CallerDep) -> Me:
    return await runtime.accounts.logins.me(caller)


@guarded.put(
    "/me/password", status_code=status.HTTP_204_NO_CONTENT, operation_id="auth_change_password",
    summary="Change my password: my other logins end",
)  # fmt: skip
async def change_password(
    request: Request, runtime: RuntimeDep, limits: RateLimitsDep, caller: CallerDep, body: PasswordChange
) -> None:
    account = await runtime.accounts.logins.me(caller)
    await limits.hit_login(address_of(request.scope), account.email)
    await runtime.accounts.logins.change_password(caller, body)
