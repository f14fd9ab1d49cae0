"""Shapes of OpenAI's API, as far as they mean something here. What a client sends beyond them is ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.schemas.common import Text
from app.schemas.search import Source

PARTS = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                "required": ["type", "text"],
            },
        },
        {"type": "null"},
    ]
}
TEXTS = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2048},
    ]
}
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
ModelName = Annotated[Text, Field(max_length=255)]
User = Annotated[Text, Field(max_length=255, description="Whose session it becomes; `openai` without one.")]


class OpenAIRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")


class CompletionMessage(OpenAIRequest):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[Any, WithJsonSchema(PARTS)] = Field(None, description="Text, or parts of text.")


class StreamOptions(OpenAIRequest):
    include_usage: Flag | None = None


class CompletionRequest(OpenAIRequest):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "ragchat", "messages": [{"role": "user", "content": "How many days of leave do I get?"}]}
            ]
        }
    )

    model: ModelName = Field(description="`ragchat`, or `ragchat-plain` without the documents.")
    messages: Annotated[list[CompletionMessage], Field(min_length=1)]
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    n: Count | None = Field(None, description="One answer is all there is.")
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    user: User | None = None


class EmbeddingRequest(OpenAIRequest):
    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "ragchat", "input": ["twenty days of leave"]}]})

    model: ModelName = Field(description="The embedding model in use, or `ragchat`.")
    input: Annotated[Any, WithJsonSchema(TEXTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Count | None = None


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["ragchat"] = "ragchat"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class UrlCitation(BaseModel):
    start_index: int = Field(description="Code points in the content.")
    end_index: int
    url: str
    title: str


class Annotation(BaseModel):
    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[Annotation]


FinishReason = Literal["stop", "length", "content_filter"]


class Choice(BaseModel):
    index: Literal[0] = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: FinishReason


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """OpenAI's, and beside it what an answer has everywhere else."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    sources: list[Source]
    session_id: str | None
    turn_id: str | None
    llm_used: bool | None
    fallback_reason: str | None


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class OpenAIErrorBody(BaseModel):
    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(examples=["messages[0].content"])
    code: str = Field(description="The same stable words as elsewhere.", examples=["invalid_request"])


class OpenAIError(BaseModel):
    error: OpenAIErrorBody
