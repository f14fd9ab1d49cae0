"""Errors carry a stable code and a kind; how a kind is told to a client is the edge's business.

RagchatError
├── Invalid            the request is malformed or breaks a rule
├── Unauthorized       no valid credential
├── Forbidden          the role lacks this function
├── NotFound           unknown, or not the caller's
├── Conflict           the state of the thing does not allow it
├── StaleVersion       If-Match names an older version
├── KeyReused          an Idempotency-Key that belongs to another request
├── TooLarge           over a stated limit
├── Unsupported        a media type that this service does not take
├── RateLimited        too often; see retry_after
├── Unavailable        a part that is needed is down; worth a retry
├── StorageFull        no room left
└── UnsafeSettings     the service must not start like this
"""

from enum import StrEnum

from app.core.quotas import Quota


class Kind(StrEnum):
    INVALID = "invalid"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    STALE_VERSION = "stale_version"
    KEY_REUSED = "key_reused"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    STORAGE_FULL = "storage_full"
    INTERNAL = "internal"


class RagchatError(Exception):
    """`code` is a stable word for programs, `detail` one sentence for people without anything they sent."""

    kind = Kind.INTERNAL
    default_code = "internal"
    default_detail = "Something went wrong on our side."

    def __init__(
        self,
        code: str | None = None,
        detail: str | None = None,
        *,
        pointer: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.code = code or self.default_code
        self.detail = detail or self.default_detail
        self.pointer = pointer
        self.retry_after = retry_after
        super().__init__(self.code)


class Invalid(RagchatError):
    kind = Kind.INVALID
    default_code = "invalid_request"
    default_detail = "The request is not valid."


class Unauthorized(RagchatError):
    kind = Kind.UNAUTHORIZED
    default_code = "unauthorized"
    default_detail = "A valid API key or access token is needed."


class Forbidden(RagchatError):
    kind = Kind.FORBIDDEN
    default_code = "forbidden"
    default_detail = "This credential may not do that."


class NotFound(RagchatError):
    kind = Kind.NOT_FOUND
    default_code = "not_found"
    default_detail = "There is nothing here by that name."


class Conflict(RagchatError):
    kind = Kind.CONFLICT
    default_code = "conflict"
    default_detail = "The current state does not allow this."


class StaleVersion(RagchatError):
    kind = Kind.STALE_VERSION
    default_code = "stale_version"
    default_detail = "It has changed since you read it; read it again."


class KeyReused(RagchatError):
    kind = Kind.KEY_REUSED
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used for another request; use a new one."


class TooLarge(RagchatError):
    kind = Kind.TOO_LARGE
    default_code = "too_large"
    default_detail = "That is larger than this service accepts."


class Unsupported(RagchatError):
    kind = Kind.UNSUPPORTED
    default_code = "unsupported_type"
    default_detail = "This media type is not supported."


class RateLimited(RagchatError):
    kind = Kind.RATE_LIMITED
    default_code = "rate_limited"
    default_detail = "Too many requests; try again later."
    quota: Quota | None = None
    """Which one is used up, where there is one."""


class Unavailable(RagchatError):
    kind = Kind.UNAVAILABLE
    default_code = "unavailable"
    default_detail = "A part of the service is not available; try again shortly."


class StorageFull(RagchatError):
    kind = Kind.STORAGE_FULL
    default_code = "storage_full"
    default_detail = "There is no room left to store this."


class UnsafeSettings(RagchatError):
    """The service must not start like this; `detail` is the one line to show."""
