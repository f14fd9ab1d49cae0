from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.schemas.chat import TurnStatus
from app.schemas.common import Response
from app.schemas.messages import Citation

Because = Literal[
    "document_deleted",
    "document_updated",
    "document_added",
    "embedding_space_changed",
    "reranker_changed",
    "mode_changed",
    "rank_moved",
    "query_forgotten",
    "not_recorded",
]


class TraceHit(Response):
    """A passage that was considered, and the parts its score is made of. Older turns recorded fewer of them."""

    n: int = Field(description="Its place, from 1; what was shown has its number as a source.")
    chunk_id: UUID
    document_id: UUID | None = None
    document_version: int | None = None
    title: str | None = Field(None, description="The document's title today; null once it was deleted.")
    page: int | None = Field(None, description="From 1; null where the format has no pages.")
    score: float = Field(description="What ordering and thresholds use, in 0..1.")
    cosine: float | None = Field(None, description="Likeness of the vectors; null when the words alone found it.")
    vector_rank: int | None = Field(None, description="Its place by vectors alone, from 1.")
    lexical: float | None = Field(None, description="The part of the score that the words gave.")
    text_rank: int | None = Field(None, description="Its place by words alone, from 1.")
    used: bool = Field(True, description="Whether the answer had it as a source.")


class Trace(Response):
    """How the passages were found."""

    query: str | None = Field(None, description="What was searched for, after rewriting with the conversation.")
    mode: str | None = Field(None, description="The legs that were used: `hybrid`, `vector` or `text`.")
    lang: str | None = Field(None, description="ISO 639-1, of the query.")
    exact: bool | None = Field(None, description="True when every passage was compared; false when an index was used.")
    threshold: float | None = Field(None, description="Below this score no passage holds an answer.")
    answerable: bool | None = Field(None, description="Whether a passage reached the threshold.")
    support: float | None = Field(
        None,
        description="How well sentences of the sources support an answer, where no language model was asked; 0..1.",
    )
    space: str | None = Field(None, description="The embedding model whose vectors were searched.")
    reranker: str | None = Field(None, description="The cross-encoder that gave the scores, if one did.")
    timing: dict[str, float] = Field(default_factory=dict, description="Milliseconds.")
    hits: list[TraceHit] = Field(default_factory=list, description="Best first.")


class TurnTrace(Response):
    """Why this answer."""

    turn_id: UUID
    status: TurnStatus
    question: str
    request: dict[str, Any] = Field(description="The options that the turn was asked with.")
    trace: Trace | None = Field(description="Null while the turn runs, and when it ended before anything was recorded.")
    model: str | None = Field(None, description="What wrote the answer.")
    prompt_version: str | None = Field(None, description="Null when no language model was asked.")
    usage: dict[str, Any] | None = Field(None, description="Tokens.")
    finish_reason: str | None = None
    error_code: str | None = None
    citations: list[Citation] = Field(default_factory=list, description="Those of the answer, checked.")


class _Span(Response):
    model_config = ConfigDict(populate_by_name=True)


class MovedHit(_Span):
    chunk: UUID = Field(description="Today's id of the passage.")
    from_: int = Field(alias="from")
    to: int


class ScoreChange(_Span):
    chunk: UUID = Field(description="Today's id of the passage.")
    from_: float = Field(alias="from")
    to: float


class ReplayChanges(Response):
    added: list[TraceHit]
    removed: list[TraceHit]
    moved: list[MovedHit]
    score_changes: list[ScoreChange] = Field(description="Of passages found both times, beyond rounding.")


class Reason(_Span):
    """Something that has changed since; `from` and `to` are versions, models or places, as `code` has it."""

    code: Because
    detail: str
    document_id: UUID | None = None
    chunk: UUID | None = None
    from_: int | str | None = Field(None, alias="from")
    to: int | str | None = None


class TurnReplay(Response):
    """The turn's question on today's index. Nothing is stored, and no language model is asked."""

    turn_id: UUID
    query: str = Field(description="What was searched for.")
    before: list[TraceHit] = Field(description="What the answer had as sources.")
    now: list[TraceHit] = Field(description="What it would have today.")
    changes: ReplayChanges
    same: bool = Field(description="The same passages in the same order; their scores may differ.")
    because: list[Reason]
