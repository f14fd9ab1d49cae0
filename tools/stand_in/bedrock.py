"""Amazon Bedrock's Converse and ConverseStream."""

from collections.abc import Iterator, Mapping
from typing import Any

from tools.stand_in import frames
from tools.stand_in.steps import Damage, Fail, Refuse, Say, Stop
from tools.stand_in.wire import Answer, Usage

REFUSALS = {
    "throttled": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "unavailable": (503, "ServiceUnavailableException", "The service is unavailable."),
    "invalid": (400, "ValidationException", "The request is not valid."),
    "forbidden": (403, "AccessDeniedException", "You don't have access to the model with the specified model ID."),
}
EVENTS = {
    "throttled": "throttlingException",
    "unavailable": "modelStreamErrorException",
    "invalid": "validationException",
    "forbidden": "validationException",
}
STOPS = {"stop": "end_turn", "length": "max_tokens", "refused": "guardrail_intervened"}


class BedrockWire:
    content_type = "application/vnd.amazon.eventstream"

    def begin(self) -> bytes:
        return frames.event("messageStart", {"role": "assistant"})

    def event(self, step: Say | Fail | Damage) -> bytes:
        if isinstance(step, Fail):
            return frames.exception(EVENTS[step.kind], "The model did not go on.")
        text = step.text if isinstance(step, Say) else "damaged"
        frame = frames.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})
        return frame if isinstance(step, Say) else frames.with_wrong_checksum(frame)

    def end(self, step: Stop, usage: Usage) -> Iterator[bytes]:
        yield frames.event("contentBlockStop", {"contentBlockIndex": 0})
        yield frames.event("messageStop", {"stopReason": STOPS[step.reason]})
        if step.usage:
            yield frames.event("metadata", _metadata(usage))

    def whole(self, step: Stop, usage: Usage) -> Mapping[str, Any]:
        message = {"role": "assistant", "content": [{"text": "".join(usage.text)}]}
        return {"output": {"message": message}, "stopReason": STOPS[step.reason], **_metadata(usage)}

    def refusal(self, step: Refuse) -> Answer:
        status, name, message = REFUSALS[step.kind]
        headers = {"x-amzn-errortype": name} | ({"retry-after": step.retry_after} if step.retry_after else {})
        return Answer(status, {"message": step.message or message}, headers)


def _metadata(usage: Usage) -> Mapping[str, Any]:
    total = usage.input_tokens + usage.output_tokens
    tokens = {"inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens, "totalTokens": total}
    return {"usage": tokens, "metrics": {"latencyMs": 1}}
