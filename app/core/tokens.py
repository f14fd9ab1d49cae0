"""Access tokens of users: JWT, which this file alone knows.

python-jose checks the signature. What its defaults let pass is refused here: other algorithms, headers that point
somewhere or must be understood (`crit`), encrypted tokens, missing claims, and times that are no whole numbers.
"""

import base64
import json
import re
import time
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid4

from jose import jws
from jose.exceptions import JOSEError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.errors import Unauthorized

ALGORITHM = "HS256"
NAME = "ragchat"
"""Issuer and audience."""
LEEWAY_SECONDS = 10
SEGMENTS = re.compile(r"([\w-]{1,256})\.([\w-]{1,1600})\.([\w-]{43})", re.ASCII)
"""Short enough that a header cannot nest deeply; the last one is 32 bytes."""
LATEST = 2**40


@dataclass(frozen=True, slots=True)
class AccessToken:
    tenant_id: UUID
    user_id: UUID
    family_id: UUID
    expires_at: float


class _Claims(BaseModel):
    model_config = ConfigDict(strict=True)

    iss: Literal["ragchat"]
    aud: Literal["ragchat"]
    sub: str
    tenant: str
    family: str
    token_use: Literal["access"]
    jti: str = Field(min_length=1)
    iat: int = Field(ge=0, le=LATEST)
    nbf: int = Field(0, ge=0, le=LATEST)
    exp: int = Field(ge=0, le=LATEST)


def is_token(credential: bytes) -> bool:
    """Whether it looks like a JWT: three parts or more, the first of them JSON in base64."""
    return credential.startswith(b"ey") and b"." in credential


class Tokens:
    def __init__(self, secret: str, *, seconds: int) -> None:
        self._secret = secret
        self.seconds = seconds

    def issue(self, tenant_id: UUID, user_id: UUID, family_id: UUID) -> str:
        now = int(time.time())
        claims = {
            "iss": NAME, "aud": NAME, "sub": str(user_id), "tenant": str(tenant_id), "family": str(family_id),
            "token_use": "access", "jti": str(uuid4()), "iat": now, "exp": now + self.seconds,
        }  # fmt: skip
        return str(jws.sign(claims, self._secret, algorithm=ALGORITHM))

    def read(self, credential: bytes) -> AccessToken:
        """Unauthorized(invalid_token) for anything that this service did not issue, or that is over."""
        try:
            token = _plain(credential)
            claims = _Claims.model_validate_json(jws.verify(token, self._secret, algorithms=[ALGORITHM]))
            read = AccessToken(_id(claims.tenant), _id(claims.sub), _id(claims.family), claims.exp)
        except (JOSEError, ValidationError, ValueError) as exc:
            raise invalid_token() from exc
        now = time.time()
        if claims.exp <= now - LEEWAY_SECONDS or max(claims.iat, claims.nbf) > now + LEEWAY_SECONDS:
            raise invalid_token()
        return read


def invalid_token() -> Unauthorized:
    return Unauthorized("invalid_token", "The access token is not valid, or no longer.")


def _plain(credential: bytes) -> str:
    """ValueError unless it is spelled as ours are: no other header, no second spelling of the same signature."""
    token = credential.decode("ascii")
    segments = SEGMENTS.fullmatch(token)
    if segments is None:
        raise ValueError("not three short segments")
    header = json.loads(_decoded(segments[1]))
    if not isinstance(header, dict) or header not in ({"alg": ALGORITHM}, {"alg": ALGORITHM, "typ": "JWT"}):
        raise ValueError("another header")
    _decoded(segments[3])
    return token


def _decoded(segment: str) -> bytes:
    decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(decoded).decode().rstrip("=") != segment:
        raise ValueError("not the one spelling")
    return decoded


def _id(text: str) -> UUID:
    parsed = UUID(text)
    if str(parsed) != text:
        raise ValueError("not spelled as ours are")
    return parsed
