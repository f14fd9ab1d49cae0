"""OpenAI's API, so that any of its clients can chat with the documents."""

import base64
import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import JSONResponse

from app.api.bodies import JSON_BYTES
from app.api.deps import ChatCaller, RuntimeDep
from app.api.errors import STATUS
from app.api.guard import GuardedRoute
from app.api.openai_answers import Answer, Chunk, begun
from app.api.openai_errors import PREFIX, openai_error
from app.api.openai_requests import conversation, texts_to_embed
from app.api.rate_limit import counts_as
from app.api.streams import EventStream
from app.core.errors import RagchatError
from app.schemas.openai import Completion, CompletionRequest, EmbeddingList, EmbeddingRequest, Model, ModelList
from app.services.completions import MODELS, model_not_found

router = APIRouter(prefix=PREFIX, tags=["openai"], route_class=GuardedRoute, max_body_size=JSON_BYTES)
CREATED = 1_795_651_200
"""OpenAI dates its models; ours are as old as these routes."""
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `stream`, chunks as server-sent events; `data: [DONE]` is the last one.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get("/models", operation_id="openai_models_list", summary="The models to chat with")
async def list_models(_caller: ChatCaller) -> ModelList:
    return ModelList(data=[Model(id=name, created=CREATED) for name in MODELS])


@router.get("/models/{model:path}", operation_id="openai_models_get", summary="One of them")
async def get_model(_caller: ChatCaller, model: Annotated[str, Path(max_length=255)]) -> Model:
    if model not in MODELS:
        raise model_not_found()
    return Model(id=model, created=CREATED)


@router.post(
    "/chat/completions", operation_id="openai_chat_completions", response_model=Completion, responses=STREAMED,
    summary="Ask; the messages before the last one are the conversation so far",
)  # fmt: skip
@counts_as("chat")
async def complete(runtime: RuntimeDep, caller: ChatCaller, request: Request, body: CompletionRequest) -> Response:
    reply = await runtime.completions.answer(caller, conversation(body))
    answer = Answer(reply, body.model, str(request.base_url).rstrip("/"))
    if not body.stream:
        return JSONResponse(await answer.whole())
    include_usage = bool(body.stream_options and body.stream_options.include_usage)
    chunks = await begun(answer.chunks(include_usage=include_usage))
    return EventStream(chunks, _frame, encode_error=_error_frame)


def _frame(chunk: Chunk | None) -> bytes:
    data = "[DONE]" if chunk is None else json.dumps(chunk, ensure_ascii=False, separators=(",", ":"))
    return f"data: {data}\n\n".encode()


def _error_frame(exc: RagchatError) -> bytes:
    return _frame(openai_error(STATUS[exc.kind], exc.code, exc.detail))


@router.post(
    "/embeddings", operation_id="openai_embeddings", response_model=EmbeddingList,
    summary="Vectors of the embedding model in use",
)  # fmt: skip
async def embed(runtime: RuntimeDep, _caller: ChatCaller, body: EmbeddingRequest) -> Response:
    texts = texts_to_embed(body.input)
    made = await runtime.embeddings.embed(body.model, texts, dimensions=body.dimensions)
    if body.encoding_format == "base64":
        vectors: list[Any] = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in made.vectors]
    else:
        vectors = made.vectors.tolist()
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    usage = {"prompt_tokens": made.tokens, "total_tokens": made.tokens}
    return JSONResponse({"object": "list", "data": data, "model": made.model, "usage": usage})
