"""Amazon Bedrock through its Converse API, so that every model id works alike. Credentials as the AWS CLI finds them.

Needed: bedrock:InvokeModelWithResponseStream on the model or the inference profile.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any, Literal

import aioboto3  # type: ignore[import-untyped]
import aiohttp
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from botocore.eventstream import ParserError  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ReadTimeoutError,
)  # fmt: skip
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from app.core.logging import get_logger
from app.providers.llm.budgets import Budgets
from app.providers.llm.errors import ModelFailed, Reason, reason_of_status, seconds
from app.providers.llm.grace import with_grace
from app.providers.ports import Delta, Finished, Prompt

StopReason = Literal["stop", "length", "refused"]
STOPS: Mapping[str, StopReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "refused",
    "content_filtered": "refused",
}
"""Any other is `stop`."""
CODES: Mapping[str, Reason] = {
    "ThrottlingException": "throttled",
    "TooManyRequestsException": "throttled",
    "ServiceQuotaExceededException": "throttled",
    "ModelNotReadyException": "unavailable",
    "ModelErrorException": "unavailable",
    "ModelStreamErrorException": "unavailable",
    "InternalServerException": "unavailable",
    "ServiceUnavailableException": "unavailable",
    "ModelTimeoutException": "timeout",
    "ValidationException": "invalid",
    "ResourceNotFoundException": "invalid",
    "AccessDeniedException": "unauthorized",
    "UnrecognizedClientException": "unauthorized",
    "ExpiredTokenException": "unauthorized",
    "InvalidSignatureException": "unauthorized",
}
"""For the rest the status decides."""
CONNECTIONS = 1000
UNREADABLE = (ParserError, ResponseParserError, ValueError, LookupError, TypeError, AttributeError)
"""Damaged frames come as a plain Exception of the parser, not as an error of botocore."""
BROKEN = (*UNREADABLE, BotoCoreError, ClientError, aiohttp.ClientError, OSError)
log = get_logger(__name__)


class BedrockModel:
    def __init__(
        self, model: str, *, endpoint_url: str = "", region: str = "", window: int = 8192, connect_seconds: float = 2.0
    ) -> None:
        self.name = f"bedrock/{model}"
        self.window = window
        self._model = model
        self._endpoint_url = endpoint_url
        self._region = region
        self._connect_seconds = connect_seconds
        self._exit = contextlib.AsyncExitStack()
        self._opening = asyncio.Lock()
        self._opened: Any = None

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Finished, None]:
        with _aws_errors(self.name):
            client = await self._client()
            response = await client.converse_stream(**self._request(prompt))
            events = response["stream"]
        try:
            async with contextlib.aclosing(_items(events)) as items:
                async for item in items:
                    yield item
        finally:
            events.close()

    async def close(self) -> None:
        self._opened = None
        await self._exit.aclose()

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        messages = [{"role": said.role, "content": [{"text": said.content}]} for said in prompt.messages]
        request = {"modelId": self._model, "messages": messages, "inferenceConfig": {"maxTokens": prompt.max_tokens}}
        return request | ({"system": [{"text": prompt.system}]} if prompt.system else {})

    async def _client(self) -> Any:
        """Opened when it is first needed: credentials that cannot be found now may be there in a minute."""
        async with self._opening:
            if self._opened is None:
                session = aioboto3.Session(region_name=self._region or None)
                client = session.client(
                    "bedrock-runtime", endpoint_url=self._endpoint_url or None, config=self._config()
                )
                self._opened = await self._exit.enter_async_context(client)
            return self._opened

    def _config(self) -> AioConfig:
        return AioConfig(
            connect_timeout=self._connect_seconds,
            read_timeout=Budgets().total,
            retries={"mode": "standard", "total_max_attempts": 1},  # the chain's business
            max_pool_connections=CONNECTIONS,
        )


class _Answer:
    """What is known of an answer so far."""

    def __init__(self) -> None:
        self.stopped: StopReason | None = None
        self.begun = False
        self.usage: Mapping[str, Any] = {}

    def ended(self) -> bool:
        return self.stopped is not None

    def read(self, event: Mapping[str, Any]) -> str:
        """The text in an event; thoughts and tools are not told."""
        self.begun = True
        if "contentBlockDelta" in event:
            return str(event["contentBlockDelta"]["delta"].get("text", ""))
        if "messageStop" in event:
            self.stopped = STOPS.get(event["messageStop"]["stopReason"], "stop")
        elif "metadata" in event:
            self.usage = event["metadata"].get("usage", {})
        return ""

    def finished(self) -> Finished:
        return Finished(self.stopped or "stop", self.usage.get("inputTokens", 0), self.usage.get("outputTokens", 0))


async def _items(events: AsyncIterator[Mapping[str, Any]]) -> AsyncGenerator[Delta | Finished, None]:
    """A stream that simply ends raises nothing in botocore: without `messageStop` it was cut off."""
    answer = _Answer()
    try:
        async for event in with_grace(aiter(events), answer.ended):
            if text := answer.read(event):
                yield Delta(text)
    except BROKEN as exc:
        if not answer.ended():
            raise ModelFailed(reason=_reason(exc, begun=True)) from exc
    if not answer.ended():
        raise ModelFailed(reason="interrupted" if answer.begun else "empty_answer")
    yield answer.finished()


@contextlib.contextmanager
def _aws_errors(model: str) -> Iterator[None]:
    """What AWS says stays out of the log: it may repeat the prompt."""
    try:
        yield
    except BROKEN as exc:
        code = exc.response["Error"].get("Code", "") if isinstance(exc, ClientError) else type(exc).__name__
        log.warning("llm.refused", model=model, error=code)
        raise ModelFailed(reason=_reason(exc, begun=False), retry_after=_retry_after(exc)) from exc


def _reason(exc: Exception, *, begun: bool) -> Reason:
    if isinstance(exc, ClientError):
        return _reason_of_code(exc)
    if isinstance(exc, NoCredentialsError):
        return "unauthorized"
    if isinstance(exc, ParamValidationError | NoRegionError):
        return "invalid"
    if isinstance(exc, ReadTimeoutError | aiohttp.SocketTimeoutError) and not isinstance(exc, ConnectTimeoutError):
        return "timeout"
    if isinstance(exc, UNREADABLE):
        return "bad_response"
    return "interrupted" if begun else "unavailable"


def _reason_of_code(exc: ClientError) -> Reason:
    """Among the events of a stream the same names begin in lower case, and there is no status."""
    code = str(exc.response.get("Error", {}).get("Code", ""))
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return CODES.get(code[:1].upper() + code[1:]) or reason_of_status(status)


def _retry_after(exc: Exception) -> float | None:
    if not isinstance(exc, ClientError):
        return None
    headers = exc.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return seconds(headers.get("retry-after"))
