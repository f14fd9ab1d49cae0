"""OpenAI's chat completions, as a stream of server-sent events and as one JSON object."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tools.stand_in.steps import Damage, Fail, Refuse, Say, Stop
from tools.stand_in.wire import Answer, Usage

REFUSALS = {
    "throttled": (429, "rate_limit_exceeded", "Rate limit reached for requests."),
    "unavailable": (503, "server_error", "The server is overloaded."),
    "invalid": (400, "invalid_request_error", "The request is not valid."),
    "forbidden": (401, "invalid_api_key", "Incorrect API key provided."),
}
STOPS = {"stop": "stop", "length": "length", "refused": "content_filter"}
DONE = b"data: [DONE]\n\n"


class OpenAIWire:
    content_type = "text/event-stream"

    def __init__(self, model: str, *, usage: bool) -> None:
        self._common = {"id": "chatcmpl-stand-in", "created": 0, "model": model}
        self._usage = usage
        """Whether the client asked for it with `stream_options`."""

    def begin(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def event(self, step: Say | Fail | Damage) -> bytes:
        if isinstance(step, Damage):
            return b'data: {"choices": [{"delta": {"cont\n\n'
        if isinstance(step, Fail):
            _, name, message = REFUSALS[step.kind]
            return _data({"error": {"message": message, "type": name, "code": name}})
        return self._chunk({"content": step.text})

    def end(self, step: Stop, usage: Usage) -> Iterator[bytes]:
        yield self._chunk({}, STOPS[step.reason])
        if step.usage and self._usage:
            yield _data({**self._common, "object": "chat.completion.chunk", "choices": [], "usage": _tokens(usage)})
        yield DONE

    def whole(self, step: Stop, usage: Usage) -> Mapping[str, Any]:
        message = {"role": "assistant", "content": "".join(usage.text)}
        choice = {"index": 0, "message": message, "finish_reason": STOPS[step.reason]}
        counted = {"usage": _tokens(usage)} if step.usage else {}
        return {**self._common, "object": "chat.completion", "choices": [choice], **counted}

    def refusal(self, step: Refuse) -> Answer:
        status, name, message = REFUSALS[step.kind]
        error = {"message": step.message or message, "type": name, "param": None, "code": name}
        return Answer(status, {"error": error}, {"retry-after": step.retry_after} if step.retry_after else {})

    def _chunk(self, delta: Mapping[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _data({**self._common, "object": "chat.completion.chunk", "choices": [choice]})


def _data(value: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def _tokens(usage: Usage) -> Mapping[str, int]:
    total = usage.input_tokens + usage.output_tokens
    return {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens, "total_tokens": total}
