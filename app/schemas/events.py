"""The realtime protocol `ragchat.v1`: what clients send and what the service tells, over WebSocket and SSE.

The seeds' messages work as they are: unknown fields are ignored, `query` and `message` stand for `content`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter

from app.schemas.chat import ClientMessageId
from app.schemas.common import Id, Text
from app.schemas.search import Lang, Source, TopK

PROTOCOL = "ragchat.v1"
MaybeDocumentIds = Annotated[list[Id], Field(max_length=100, description="These documents only; `[]` is all.")]


class ClientEvent(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Hello(ClientEvent):
    type: Literal["hello"]
    protocol: Text = PROTOCOL
    lang: Lang | None = None


class SessionStart(ClientEvent):
    type: Literal["session_start"]
    lang: Lang | None = None


class UserMessage(ClientEvent):
    type: Literal["user_message", "chat_message"]
    id: ClientMessageId | None = None
    content: Annotated[Text, Field(validation_alias=AliasChoices("content", "query", "message"))]
    top_k: TopK | None = None
    lang: Lang | None = None
    use_rag: Annotated[bool, Field(strict=True)] = True
    document_ids: MaybeDocumentIds | None = None


class Cancel(ClientEvent):
    type: Literal["cancel"]
    turn_id: Id


class Retry(ClientEvent):
    type: Literal["retry"]
    turn_id: Id


class Resume(ClientEvent):
    type: Literal["resume"]
    turn_id: Id
    after: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] = 0


class Ping(ClientEvent):
    type: Literal["ping"]
    id: Annotated[Text, Field(max_length=128)] | None = None


AnyClientEvent = Annotated[
    Hello | SessionStart | UserMessage | Cancel | Retry | Resume | Ping, Field(discriminator="type")
]
CLIENT_EVENT: TypeAdapter[AnyClientEvent] = TypeAdapter(AnyClientEvent)
CLIENT_TYPES = frozenset(
    {"hello", "session_start", "user_message", "chat_message", "cancel", "retry", "resume", "ping"}
)


class ServerEvent(BaseModel):
    """`seq` is 1, 2, 3... without gaps within a turn, and 0 outside of one."""

    session_id: UUID
    turn_id: UUID | None = None
    seq: int
    timestamp: datetime


class SessionLimits(BaseModel):
    max_message_chars: int
    max_frame_bytes: int
    max_frames_per_minute: int
    idle_seconds: float


class ReadyEvent(ServerEvent):
    type: Literal["ready"]
    protocol: str
    content: str
    langs: list[str]
    limits: SessionLimits
    capabilities: list[str]
    running_turn_id: UUID | None


class SystemEvent(ServerEvent):
    type: Literal["welcome", "system"]
    content: str
    code: str
    retry_after_ms: int | None = None


class SessionStarted(ServerEvent):
    type: Literal["session_start"]
    content: str


class Pong(ServerEvent):
    type: Literal["pong"]
    id: str | None


class TurnStarted(ServerEvent):
    type: Literal["turn_started"]
    reply_to: str | None
    user_message_id: UUID


class StatusEvent(ServerEvent):
    type: Literal["status"]
    state: Literal["queued", "transcribing", "translating", "retrieving", "generating", "speaking"]


class SourcesEvent(ServerEvent):
    """Before the first delta; an empty list when there are none."""

    type: Literal["sources"]
    docs: list[Source]


class DeltaEvent(BaseModel):
    """The most frequent one, so it leaves out the session and the time."""

    type: Literal["delta"]
    turn_id: UUID
    seq: int
    text: str


class CitationEvent(ServerEvent):
    """Checked against the passage; `start` and `end` are code points in the answer, `char_start` and `char_end` in the
    document's extracted text."""

    type: Literal["citation"]
    n: int
    start: int
    end: int
    document_id: UUID | None
    document_version: int | None
    chunk_id: UUID | None
    page: int | None
    char_start: int | None
    char_end: int | None


class FinalMessage(ServerEvent):
    """Named as the client asked: `assistant_message` for `user_message`, else `chat_response`."""

    type: Literal["assistant_message", "chat_response"]
    message_id: UUID
    content: str
    answer: str
    docs: list[Source]
    llm_used: bool
    fallback_reason: str | None
    audio_url: str | None
    lang: str
    metadata: dict[str, Any]


class Done(ServerEvent):
    """Exactly one, last."""

    type: Literal["done"]
    status: Literal["completed", "cancelled", "failed", "interrupted"]
    finish_reason: Literal["stop", "length", "refused", "no_context", "fallback", "cancelled", "error"]
    message_id: UUID | None
    usage: dict[str, int]
    timing: dict[str, float]


class ErrorEvent(ServerEvent):
    type: Literal["error"]
    code: str
    message: str
    retryable: bool
    retry_after_ms: int | None
    reply_to: str | None


AnyServerEvent = Annotated[
    ReadyEvent
    | SystemEvent
    | SessionStarted
    | Pong
    | TurnStarted
    | StatusEvent
    | SourcesEvent
    | DeltaEvent
    | CitationEvent
    | FinalMessage
    | Done
    | ErrorEvent,
    Field(discriminator="type"),
]
SERVER_EVENT: TypeAdapter[AnyServerEvent] = TypeAdapter(AnyServerEvent)


def protocol_schema() -> dict[str, Any]:
    """JSON Schema of both directions."""
    return {
        "protocol": PROTOCOL,
        "client": CLIENT_EVENT.json_schema(by_alias=False),
        "server": SERVER_EVENT.json_schema(mode="serialization"),
    }
