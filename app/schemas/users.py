import re
import unicodedata
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.schemas.common import FilledText, Request, Response, Text

Role = Literal["user", "admin"]
Keys = Literal["revoke", "keep"]
"""What becomes of the API keys that a user made."""
MOST_EMAIL_CHARS = 254
ADDRESS = re.compile(r"[^\s@\"(),:;<>\[\]\\]{1,64}@[\w-]{1,63}(\.[\w-]{1,63})+")


def normalised_email(value: str) -> str:
    """In the one spelling that is stored and compared."""
    return unicodedata.normalize("NFKC", value).strip().lower()


def _address(value: str) -> str:
    email = normalised_email(value)
    if len(email) > MOST_EMAIL_CHARS or not email.isprintable() or not ADDRESS.fullmatch(email):
        raise PydanticCustomError("invalid_value", "It is no e-mail address.")
    return email


Email = Annotated[Text, AfterValidator(_address), Field(max_length=MOST_EMAIL_CHARS)]
DisplayName = Annotated[FilledText, Field(max_length=200)]


class UserCreate(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"email": "lakshmi@shop.example", "password": "correct horse battery", "display_name": "Lakshmi"}
            ]
        }
    )

    email: Email
    password: Text = Field(repr=False, description="PASSWORD_MIN_LENGTH to PASSWORD_MAX_LENGTH characters, any.")
    display_name: DisplayName | None = None


class UserUpdate(Request):
    """Fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "admin"}, {"disabled": True}]})

    role: Role | None = None
    disabled: Annotated[bool, Field(strict=True)] | None = Field(
        None, description="Who is disabled cannot log in, and what they hold ends within seconds."
    )
    display_name: DisplayName | None = None


class UserOut(Response):
    id: UUID = Field(description="Also the `user_id` of their sessions.")
    email: str
    display_name: str | None
    role: Role
    disabled: bool
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None


class Me(UserOut):
    tenant_id: UUID
    scopes: list[str] = Field(description="What the role allows.")
