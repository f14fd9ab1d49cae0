from typing import Literal

from pydantic import ConfigDict, Field

from app.schemas.common import Request, Response, Text


class LoginRequest(Request):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "lakshmi@shop.example", "password": "correct horse battery"}]}
    )

    email: Text | None = Field(None, max_length=1000)
    username: Text | None = Field(None, max_length=1000, description="Another name for `email`, as OAuth 2 has it.")
    password: Text = Field(repr=False)


class RefreshRequest(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"refresh_token": "rgr_..."}]})

    refresh_token: Text = Field(max_length=500, repr=False)


class PasswordChange(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"current_password": "correct horse battery", "new_password": "staple battery horse"}]
        }
    )

    current_password: Text = Field(repr=False)
    new_password: Text = Field(repr=False, description="PASSWORD_MIN_LENGTH to PASSWORD_MAX_LENGTH characters, any.")


class TokenPair(Response):
    access_token: str = Field(description="Send it as `Authorization: Bearer ...`.", repr=False)
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a kind, not a token
    expires_in: int = Field(description="Seconds that the access token works.")
    refresh_token: str = Field(
        description="Gives the next pair at /auth/refresh, once. Used twice, it ends the login.", repr=False
    )
