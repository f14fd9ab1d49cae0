"""Any server that speaks OpenAI's chat completions: OpenAI, Ollama, vLLM, LiteLLM, llama.cpp."""

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal

import aiohttp

from app.core.logging import get_logger
from app.providers.llm.budgets import Budgets
from app.providers.llm.errors import ModelFailed, Reason, reason_of_status, seconds
from app.providers.llm.grace import with_grace
from app.providers.llm.sse import data_lines
from app.providers.ports import Delta, Finished, Prompt

StopReason = Literal["stop", "length", "refused"]
STOPS: Mapping[str, StopReason] = {"length": "length", "content_filter": "refused"}
"""Any other is `stop`."""
LIMITS = ("max_tokens", "max_completion_tokens")
DONE = b"[DONE]"
ERROR_BYTES = 64 << 10
"""Of the body of an error; the rest is not read."""
UNREADABLE = (ValueError, AttributeError, TypeError, KeyError)
log = get_logger(__name__)


class OpenAIModel:
    def __init__(
        self, model: str, *, base_url: str, api_key: str = "", window: int = 8192, connect_seconds: float = 2.0
    ) -> None:
        self.name = f"openai/{model}"
        self.window = window
        self._model = model
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._limit = "max_completion_tokens" if "api.openai.com" in base_url else "max_tokens"
        """OpenAI's newer models know the one only, most other servers only the other."""
        self._learned = False
        self._asks_usage = True
        self._connect_seconds = connect_seconds
        self._opened: aiohttp.ClientSession | None = None

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Finished, None]:
        response = await self._send(self._body(prompt))
        try:
            async with contextlib.aclosing(_items(response)) as items:
                async for item in items:
                    yield item
        finally:
            response.close()

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        said = [{"role": message.role, "content": message.content} for message in prompt.messages]
        body = {"model": self._model, "messages": system + said, self._limit: prompt.max_tokens, "stream": True}
        return body | ({"stream_options": {"include_usage": True}} if self._asks_usage else {})

    async def _send(self, body: Mapping[str, Any]) -> aiohttp.ClientResponse:
        """Neither the address nor what the server said goes to the log: it may repeat the prompt."""
        try:
            response = await self._session().post(self._url, json=body, headers=self._headers, allow_redirects=False)
            if response.status != 200:
                async with response:
                    raise self._refused(response, body, await _start_of(response))
        except (aiohttp.ClientError, OSError) as exc:
            log.warning("llm.unreachable", model=self.name, error=type(exc).__name__)
            raise ModelFailed(reason=_reason_before(exc)) from exc
        return response

    def _refused(self, response: aiohttp.ClientResponse, sent: Mapping[str, Any], said: str) -> ModelFailed:
        reason = reason_of_status(response.status)
        log.warning("llm.refused", model=self.name, status=response.status)
        return ModelFailed(
            reason=reason,
            retry_after=seconds(response.headers.get("retry-after")),
            retried=True if reason == "invalid" and self._learn(sent, said) else None,
        )

    def _learn(self, sent: Mapping[str, Any], said: str) -> bool:
        """Whether the next call will be another: the refusal names a parameter that this server does not know."""
        if "stream_options" in sent and "stream_options" in said:
            self._asks_usage = False
            return True
        for name, other in (LIMITS, LIMITS[::-1]):
            if name in sent and name in said and (self._limit == other or not self._learned):
                self._limit, self._learned = other, True
                return True
        return False

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(connect=self._connect_seconds, sock_read=Budgets().total),
                headers={"Accept": "text/event-stream", "Accept-Encoding": "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
            )
        return self._opened


class _Answer:
    """What is known of an answer so far."""

    def __init__(self) -> None:
        self.stopped: StopReason | None = None
        self.begun = False
        self.done = False
        self.usage: Mapping[str, Any] = {}
        self.failure: Exception | None = None

    def ended(self) -> bool:
        return self.stopped is not None or self.done

    def read(self, batch: Sequence[bytes]) -> str:
        """The text in it, up to the event with which something is wrong."""
        texts: list[str] = []
        try:
            for data in batch:
                texts.append(self._text(data))  # noqa: PERF401 - what came before a failure is kept
        except (ModelFailed, *UNREADABLE) as exc:
            self.failure = exc
        return "".join(texts)

    def _text(self, data: bytes) -> str:
        self.begun = True
        if data == DONE:
            self.done = True
            return ""
        event = json.loads(data)
        if event.get("error"):
            raise ModelFailed(reason=_reason_of_error(event["error"]))
        self.usage = event.get("usage") or self.usage
        text: Any = ""
        for choice in (event.get("choices") or [])[:1]:
            if choice.get("finish_reason"):
                self.stopped = STOPS.get(choice["finish_reason"], "stop")
            delta = choice.get("delta") or {}
            text = delta.get("content") or delta.get("refusal")
        return text if isinstance(text, str) else ""

    def finished(self) -> Finished:
        tokens = (self.usage.get("prompt_tokens"), self.usage.get("completion_tokens"))
        known = [value if isinstance(value, int) else 0 for value in tokens]
        return Finished(self.stopped or "stop", *known)


async def _items(response: aiohttp.ClientResponse) -> AsyncGenerator[Delta | Finished, None]:
    answer = _Answer()
    try:
        async with contextlib.aclosing(data_lines(response.content.iter_any())) as batches:
            async for batch in with_grace(batches, answer.ended):
                if text := answer.read(batch):
                    yield Delta(text)
                if answer.failure:
                    raise answer.failure
    except (ModelFailed, aiohttp.ClientError, OSError, *UNREADABLE) as exc:
        if not answer.ended():
            raise _failure(exc) from exc
    if not answer.ended():
        raise ModelFailed(reason="interrupted" if answer.begun else "empty_answer")
    yield answer.finished()


def _failure(exc: Exception) -> ModelFailed:
    """Of a stream that had begun."""
    if isinstance(exc, ModelFailed):
        return exc
    if isinstance(exc, TimeoutError):
        return ModelFailed(reason="timeout")
    return ModelFailed(reason="interrupted" if isinstance(exc, aiohttp.ClientError | OSError) else "bad_response")


def _reason_before(exc: Exception) -> Reason:
    if isinstance(exc, TimeoutError) and not isinstance(exc, aiohttp.ConnectionTimeoutError):
        return "timeout"
    return "bad_response" if isinstance(exc, aiohttp.ClientResponseError) else "unavailable"


async def _start_of(response: aiohttp.ClientResponse) -> str:
    body = b""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > ERROR_BYTES:
                break
    return body[:ERROR_BYTES].decode(errors="replace")


def _reason_of_error(error: Any) -> Reason:
    """Of an error among the events: servers agree on the field, not on the words in it."""
    words = " ".join(str(error.get(name)) for name in ("type", "code")) if isinstance(error, dict) else str(error)
    if "rate_limit" in words or "429" in words:
        return "throttled"
    return "invalid" if "invalid_request" in words or "400" in words else "unavailable"
