"""OpenAI's API, so that any of its clients can chat with the documents."""

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import JSONResponse

from app.api.bodies import JSON_BYTES
from app.api.deps import ChatCaller, RateLimitsDep, RuntimeDep
from app.api.errors import STATUS
from app.api.guard import GuardedRoute
from app.api.idempotency import OnceDep
from app.api.leaving import CLIENT_LEFT, ClientLeft, while_waiting
from app.api.openai_answers import Answer, Chunk, begun
from app.api.openai_embeddings import embedding_list
from app.api.openai_errors import PREFIX, openai_error
from app.api.openai_requests import conversation, texts_to_embed
from app.api.rate_limit import counts_as
from app.api.streams import EventStream
from app.core.caller import Caller
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
async def complete(
    runtime: RuntimeDep, caller: ChatCaller, request: Request, once: OnceDep, body: CompletionRequest
) -> Response:
    asked, base_url = conversation(body), str(request.base_url).rstrip("/")

    async def run(claiming: Caller) -> Response:
        return await _told(Answer(await runtime.completions.answer(claiming, asked), body.model, base_url), body)

    async def read(turn_id: UUID) -> Response:
        return await _told(Answer(await runtime.completions.answered(caller, turn_id), body.model, base_url), body)

    return await once.answer(caller, run, lambda response: response, again=read, early=True)


async def _told(answer: Answer, body: CompletionRequest) -> Response:
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
async def embed(
    request: Request, runtime: RuntimeDep, limits: RateLimitsDep, caller: ChatCaller, body: EmbeddingRequest
) -> Response:
    texts = texts_to_embed(body.input)
    space = runtime.embeddings.space(body.model, dimensions=body.dimensions)
    with runtime.embeddings.place(caller):
        await limits.hit_principal("embeddings", caller, len(texts))
        batches = runtime.embeddings.embed(space, texts)
        written = embedding_list(batches, space.model, body.encoding_format or "float")
        try:
            return Response(await while_waiting(request, written), media_type="application/json")
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT)
