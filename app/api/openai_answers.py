"""A turn's events as OpenAI spells them: one completion, or chunks of one."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal

from app.api.errors import STATUS
from app.api.openai_errors import openai_error
from app.core.errors import RagchatError
from app.core.ids import seconds_of
from app.services.completions import Reply
from app.services.failures import failure_of
from app.services.live_turns import Event

FINISH_REASONS: dict[str, Literal["length", "content_filter"]] = {"length": "length", "refused": "content_filter"}
"""Every other end is `stop`."""
Chunk = dict[str, Any]


class Answer:
    """What is known of an answer so far. `base_url` is where its sources can be opened."""

    def __init__(self, reply: Reply, model: str, base_url: str) -> None:
        self._reply = reply
        self._base_url = base_url
        self._head = {"id": f"chatcmpl-{reply.id}", "created": seconds_of(reply.id), "model": model}
        self._docs: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._error: RagchatError | None = None
        self._llm_used: bool | None = None
        self._fallback_reason: str | None = None
        self._done: Event | None = None

    async def whole(self) -> dict[str, Any]:
        """Raises what the turn failed with: an answer that was broken off is none."""
        content = ""
        async for event in self._reply.events:
            content += self._take(event)
        message = {"role": "assistant", "content": content, "refusal": None, "annotations": self._annotations}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason()}
        head = self._head | {"object": "chat.completion", "choices": [choice], "usage": self._usage()}
        return head | self._found() | self._made_by()

    async def chunks(self, *, include_usage: bool) -> AsyncGenerator[Chunk, None]:
        """Raises what fails before the first text, so that it still gets a status; later errors are a chunk."""
        delta: Chunk = {"role": "assistant"}
        rest = {"usage": None} if include_usage else {}
        extra = rest
        try:
            async for event in self._reply.events:
                text = self._take(event)
                if text:
                    extra = rest if "role" not in delta else rest | self._found()
                    yield self._chunk(delta | {"content": text}, extra)
                    delta = {}
            reason = self._finish_reason()
        except RagchatError as exc:
            if "role" in delta:
                raise
            yield openai_error(STATUS[exc.kind], exc.code, exc.detail)
            return
        if "role" in delta:
            yield self._chunk(delta | {"content": ""}, rest | self._found())
        if self._annotations:
            yield self._chunk({"annotations": self._annotations}, rest)
        yield self._chunk({}, rest | self._made_by(), reason)
        if include_usage:
            yield self._head | {"object": "chat.completion.chunk", "choices": [], "usage": self._usage()}

    def _take(self, event: Event) -> str:
        """The text that it brings."""
        match event["type"]:
            case "delta":
                text: str = event["text"]
                return text
            case "sources":
                self._docs = [{name: doc[name] for name in doc if name != "doc_id"} for doc in event["docs"]]
            case "citation":
                self._cite(event)
            case "error":
                self._error = failure_of(event)
            case "assistant_message":
                self._llm_used, self._fallback_reason = event["llm_used"], event["fallback_reason"]
            case "done":
                self._done = event
        return ""

    def _cite(self, event: Event) -> None:
        for doc in self._docs:
            if doc["n"] == event["n"]:
                url = self._base_url + (doc["url"] or f"/api/v1/documents/{doc['document_id']}/content")
                place = {"start_index": event["start"], "end_index": event["end"], "url": url, "title": doc["title"]}
                self._annotations.append({"type": "url_citation", "url_citation": place})

    def _finish_reason(self) -> str:
        """Raises what went wrong."""
        if self._error is not None:
            raise self._error
        if self._done is None:  # its last events could not be stored
            raise RagchatError
        return FINISH_REASONS.get(self._done["finish_reason"], "stop")

    def _usage(self) -> dict[str, int]:
        usage = self._done["usage"] if self._done else {}
        return {
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": usage["total_tokens"],
        }

    def _found(self) -> dict[str, Any]:
        session_id = self._reply.session_id
        turn_id = str(self._reply.id) if session_id else None
        return {"sources": self._docs, "session_id": str(session_id) if session_id else None, "turn_id": turn_id}

    def _made_by(self) -> dict[str, Any]:
        return {"llm_used": self._llm_used, "fallback_reason": self._fallback_reason}

    def _chunk(self, delta: Chunk, extra: dict[str, Any], finish_reason: str | None = None) -> Chunk:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._head | {"object": "chat.completion.chunk", "choices": [choice]} | extra


async def begun(chunks: AsyncGenerator[Chunk, None]) -> AsyncIterator[Chunk | None]:
    """Waits for the first chunk, whose absence is still an answer with a status. The iterator ends with None, but for
    an error."""
    first = await anext(chunks)
    return _rest(first, chunks)


async def _rest(first: Chunk, chunks: AsyncGenerator[Chunk, None]) -> AsyncIterator[Chunk | None]:
    last = first
    async with contextlib.aclosing(chunks):
        yield first
        async for chunk in chunks:
            last = chunk
            yield chunk
    if "error" not in last:
        yield None
