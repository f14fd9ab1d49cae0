"""What every adapter of a language model must do; both against the stand-in, over real sockets and real parsers."""

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.providers.llm.bedrock import BedrockModel
from app.providers.llm.errors import ModelFailed
from app.providers.llm.openai import OpenAIModel
from app.providers.ports import ChatMessage, ChatModel, Delta, Finished, Prompt
from tests import stand_in as servers
from tests.stand_in import StandIn

stand_in, aws_environment = servers.stand_in, servers.aws_environment
PROMPT = Prompt(
    "Answer from the passages.",
    [ChatMessage("user", "Hello?"), ChatMessage("assistant", "Hello."), ChatMessage("user", "నమస్కారం, how are you?")],
    max_tokens=321,
)


@dataclass
class Heard:
    text: str = ""
    deltas: list[str] = field(default_factory=list)
    finished: Finished | None = None
    failed: ModelFailed | None = None


async def listen(model: ChatModel, prompt: Prompt = PROMPT) -> Heard:
    heard = Heard()
    try:
        async for item in model.stream(prompt):
            if isinstance(item, Delta):
                heard.deltas.append(item.text)
            else:
                assert heard.finished is None
                heard.finished = item
    except ModelFailed as exc:
        heard.failed = exc
    heard.text = "".join(heard.deltas)
    return heard


class Adapters:
    """Models of one kind, closed at the end of the test."""

    def __init__(self, kind: str, stand_in: StandIn) -> None:
        self.kind = kind
        self.stand_in = stand_in
        self._made: list[ChatModel] = []

    def __call__(self, mode: str, *, url: str = "") -> ChatModel:
        return self.named(self.stand_in.model(mode), url=url)

    def named(self, id_: str, *, url: str = "") -> ChatModel:
        url = url or self.stand_in.url
        model: ChatModel = (
            BedrockModel(id_, endpoint_url=url, connect_seconds=2.0)
            if self.kind == "bedrock"
            else OpenAIModel(id_, base_url=f"{url}/v1/", api_key="sk-of-the-tests", connect_seconds=2.0)
        )
        self._made.append(model)
        return model

    def asked(self, model: ChatModel) -> dict[str, Any]:
        return self.stand_in.asked(model.name.partition("/")[2])

    async def close(self) -> None:
        for model in self._made:
            await model.close()


@pytest.fixture(params=["bedrock", "openai"])
async def adapters(request: pytest.FixtureRequest, stand_in: StandIn, aws_environment: None) -> AsyncIterator[Adapters]:
    made = Adapters(request.param, stand_in)
    yield made
    await made.close()


class TestAnswers:
    async def test_every_token_once_in_order_with_the_usage(self, adapters: Adapters) -> None:
        heard = await listen(adapters("tokens:count=2000"))
        assert heard.failed is None
        assert heard.text == "".join(f"{n} " for n in range(1, 2001))
        assert heard.finished is not None
        assert (heard.finished.reason, heard.finished.output_tokens) == ("stop", 2000)
        assert heard.finished.input_tokens > 0

    async def test_tokens_come_as_they_are_made(self, adapters: Adapters) -> None:
        model, came = adapters("tokens:count=4:rate=8"), []
        began = time.monotonic()
        async for item in model.stream(PROMPT):
            if isinstance(item, Delta):
                came.append(time.monotonic() - began)
        assert len(came) == 4
        assert came[-1] - came[0] > 0.2

    async def test_text_of_any_script_is_whole_wherever_it_was_cut(self, adapters: Adapters) -> None:
        said = 'తెలుగు నమస్కారం 👩‍👩‍👧 <b>"quoted"</b>\n\n- [1] `x`\\ data: {}'
        adapters.stand_in.set_mode("pieces", f"say:{said}")
        assert (await listen(adapters.named("pieces"))).text == said

    async def test_the_prompt_arrives_as_it_was_given(self, adapters: Adapters) -> None:
        heard = await listen(adapters("echo:by=50"))
        sent = json.loads(heard.text)
        if adapters.kind == "bedrock":
            assert sent["system"] == [{"text": PROMPT.system}]
            assert [(said["role"], said["content"][0]["text"]) for said in sent["messages"]] == [
                (said.role, said.content) for said in PROMPT.messages
            ]
            assert sent["inferenceConfig"] == {"maxTokens": 321}
        else:
            assert [(said["role"], said["content"]) for said in sent["messages"]] == [
                ("system", PROMPT.system),
                *((said.role, said.content) for said in PROMPT.messages),
            ]
            assert sent["max_tokens"] == 321

    async def test_an_empty_system_prompt_is_left_out(self, adapters: Adapters) -> None:
        sent = json.loads((await listen(adapters("echo"), Prompt("", PROMPT.messages, 10))).text)
        assert "system" not in json.dumps(sent)

    @pytest.mark.parametrize(
        ("mode", "reason"), [("tokens", "stop"), ("length", "length"), ("refused", "refused"), ("silent", "stop")]
    )
    async def test_why_it_stopped(self, adapters: Adapters, mode: str, reason: str) -> None:
        heard = await listen(adapters(mode))
        assert heard.finished is not None
        assert heard.finished.reason == reason

    async def test_usage_may_be_missing(self, adapters: Adapters) -> None:
        assert (await listen(adapters("no-usage"))).finished == Finished("stop", 0, 0)

    async def test_one_huge_delta(self, adapters: Adapters) -> None:
        heard = await listen(adapters("huge"))
        assert len(heard.text) == 5_000_000
        assert heard.finished is not None

    async def test_the_connection_is_used_again(self, adapters: Adapters) -> None:
        model = adapters("tokens:count=2")
        for _ in range(3):
            assert (await listen(model)).failed is None
        assert adapters.asked(model)["count"] == 3
        assert adapters.asked(model)["hung_up"] == 0

    async def test_many_at_once(self, adapters: Adapters) -> None:
        model = adapters("tokens:count=20:rate=100")
        heard = await asyncio.gather(*(listen(model) for _ in range(60)))
        assert {one.text for one in heard} == {"".join(f"{n} " for n in range(1, 21))}


BEFORE = [
    ("throttle", "throttled", True),
    ("unavailable", "unavailable", True),
    ("invalid", "invalid", False),
    ("forbidden", "unauthorized", False),
    ("cut-before", "unavailable", True),
    ("garbage", "bad_response", True),
    ("empty", "empty_answer", True),
    ("throttle-mid:after=0", "throttled", True),
    ("error-mid:after=0", "unavailable", True),
    ("bad-crc:after=0", "bad_response", True),
]
MIDDLE = [
    ("throttle-mid", "throttled"),
    ("error-mid", "unavailable"),
    ("cut", "interrupted"),
    ("end-early", "interrupted"),
    ("bad-crc", "bad_response"),
]


class TestFailures:
    @pytest.mark.parametrize(("mode", "reason", "retried"), BEFORE)
    async def test_before_the_first_word(self, adapters: Adapters, mode: str, reason: str, retried: bool) -> None:
        model = adapters(mode)
        heard = await listen(model)
        assert heard.failed is not None
        assert (heard.failed.reason, heard.failed.retried) == (reason, retried)
        assert (heard.deltas, heard.finished) == ([], None)
        assert adapters.asked(model)["count"] == 1, "the library has tried again by itself"

    @pytest.mark.parametrize(("mode", "reason"), MIDDLE)
    async def test_in_the_middle(self, adapters: Adapters, mode: str, reason: str) -> None:
        heard = await listen(adapters(mode))
        assert heard.failed is not None
        assert heard.failed.reason == reason
        assert heard.text == "1 2 3 4 5 "
        assert heard.finished is None

    async def test_how_long_to_wait_is_told(self, adapters: Adapters) -> None:
        heard = await listen(adapters("throttle:retry-after=7"))
        assert heard.failed is not None
        assert heard.failed.retry_after == 7.0

    async def test_nobody_listens(self, adapters: Adapters) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
            heard = await listen(adapters("tokens", url=f"http://127.0.0.1:{taken.getsockname()[1]}"))
        assert heard.failed is not None
        assert heard.failed.reason == "unavailable"

    async def test_nobody_takes_the_connection(self, adapters: Adapters) -> None:
        """A full backlog: the connection is neither taken nor refused."""
        async with _deaf() as url:
            async with asyncio.timeout(10):
                heard = await listen(adapters("tokens", url=url))
        assert heard.failed is not None
        assert heard.failed.reason == "unavailable"

    async def test_other_answers_after_a_failure(self, adapters: Adapters) -> None:
        """A broken connection is not used again."""
        model = adapters("half-503:count=3")
        adapters.stand_in.set_mode(model.name.partition("/")[2], "cut")
        assert (await listen(model)).failed is not None
        adapters.stand_in.set_mode(model.name.partition("/")[2], "tokens:count=3")
        assert (await listen(model)).text == "1 2 3 "


class TestHangingUp:
    async def test_leaving_in_the_middle_closes_the_connection(self, adapters: Adapters) -> None:
        model = adapters("endless:rate=100")
        stream = model.stream(PROMPT)
        assert isinstance(await anext(stream), Delta)
        assert adapters.asked(model)["open"] == 1
        await stream.aclose()  # type: ignore[attr-defined]
        await self._hung_up(adapters, model)

    @pytest.mark.parametrize("mode", ["hang-before", "hang-mid", "blank:rate=50"])
    async def test_cancelling_closes_the_connection(self, adapters: Adapters, mode: str) -> None:
        model = adapters(mode)
        task = asyncio.create_task(listen(model))
        async with asyncio.timeout(10):
            while adapters.asked(model)["open"] == 0:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await self._hung_up(adapters, model)

    @staticmethod
    async def _hung_up(adapters: Adapters, model: ChatModel) -> None:
        async with asyncio.timeout(5):
            while adapters.asked(model)["hung_up"] != 1:
                await asyncio.sleep(0.02)
        assert adapters.asked(model)["open"] == 0


class TestCredentials:
    async def test_bedrock_without_any(self, stand_in: StandIn, aws_environment: None) -> None:
        del os.environ["AWS_ACCESS_KEY_ID"]  # put back by the fixture
        model = BedrockModel(stand_in.model("tokens"), endpoint_url=stand_in.url)
        heard = await listen(model)
        await model.close()
        assert heard.failed is not None
        assert heard.failed.reason == "unauthorized"

    async def test_bedrock_signs(self, stand_in: StandIn, aws_environment: None) -> None:
        model = BedrockModel(stand_in.model("tokens"), endpoint_url=stand_in.url, region="ap-south-1")
        assert (await listen(model)).failed is None
        await model.close()
        signed = stand_in.asked(model.name.partition("/")[2])["headers"]["authorization"]
        assert "/ap-south-1/bedrock/aws4_request" in signed

    @pytest.mark.parametrize(("key", "sent"), [("sk-of-the-tests", "Bearer sk-of-the-tests"), ("", None)])
    async def test_openai(self, stand_in: StandIn, aws_environment: None, key: str, sent: str | None) -> None:
        model = OpenAIModel(stand_in.model("tokens"), base_url=stand_in.openai_url, api_key=key)
        assert (await listen(model)).failed is None
        await model.close()
        assert stand_in.asked(model.name.partition("/")[2])["headers"].get("authorization") == sent

    async def test_neither_key_nor_prompt_is_logged(
        self, adapters: Adapters, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        for mode in ("invalid", "forbidden", "garbage", "bad-crc", "cut-before"):
            await listen(adapters(mode))
        logged = caplog.text + "".join(capfd.readouterr())
        assert "llm." in logged
        for secret in ("sk-of-the-tests", "the-secret-of-the-tests", "how are you"):
            assert secret not in logged


class TestServersOfOpenAIsFormat:
    async def test_newer_models_want_another_parameter(self, stand_in: StandIn, aws_environment: None) -> None:
        """The refusal says so; the next call does it right, and so do all after it."""
        model = OpenAIModel(stand_in.model("new-parameters:count=3"), base_url=stand_in.openai_url)
        first = await listen(model)
        assert first.failed is not None
        assert first.failed.retried
        assert (await listen(model)).text == "1 2 3 "
        assert stand_in.asked(model.name.partition("/")[2])["last"]["max_completion_tokens"] == 321
        await model.close()

    async def test_older_servers_know_no_usage(self, stand_in: StandIn, aws_environment: None) -> None:
        model = OpenAIModel(stand_in.model("old-parameters:count=3"), base_url=stand_in.openai_url)
        first = await listen(model)
        assert first.failed is not None
        assert first.failed.retried
        heard = await listen(model)
        assert (heard.text, heard.finished) == ("1 2 3 ", Finished("stop", 0, 0))
        await model.close()

    @pytest.mark.parametrize(
        ("body", "text", "reason"),
        [
            (b'data: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\ndata: [DONE]\r\n\r\n', "a", "stop"),
            (b': ping\n\ndata:{"choices":[{"delta":{"content":"a"}}]}\nevent: x\ndata: [DONE]', "a", "stop"),
            (b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"length"}]}\n', "a", "length"),
            (b'data: {"choices":[{"delta":{"content":null},"finish_reason":null}]}\ndata: [DONE]\n', "", "stop"),
            (b'data: {"choices":[],"prompt_filter_results":[]}\ndata: {"choices":[{"delta":{"refusal":"no"},'
             b'"finish_reason":"content_filter"}],"usage":null}\n', "no", "refused"),
        ],
    )  # fmt: skip
    async def test_other_spellings(self, body: bytes, text: str, reason: str) -> None:
        heard = await _heard_from(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + body)
        assert heard.failed is None
        assert heard.finished is not None
        assert (heard.text, heard.finished.reason) == (text, reason)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>\n<p>Sign in</p>\n</html>", "bad_response"),
            (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "bad_response"),
            (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "invalid"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "bad_response"),
            (b"HTTP/1.1 200 OK\r\n\r\ndata: 5\n", "bad_response"),
            (b'HTTP/1.1 200 OK\r\n\r\ndata: {"error":{"message":"m","code":429}}\n', "throttled"),
            (b'HTTP/1.1 200 OK\r\n\r\ndata: {"error":"overloaded"}\n', "unavailable"),
        ],
    )
    async def test_other_failures(self, answer: bytes, reason: str) -> None:
        heard = await _heard_from(answer)
        assert heard.failed is not None
        assert heard.failed.reason == reason

    async def test_a_line_without_an_end_is_not_kept_without_an_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.providers.llm.sse.LONGEST_LINE", 1 << 16)
        heard = await _heard_from(b"HTTP/1.1 200 OK\r\n\r\ndata: " + b"x" * (1 << 18))
        assert heard.failed is not None
        assert heard.failed.reason == "bad_response"

    async def test_nothing_after_the_end_is_waited_for(self) -> None:
        """The answer is complete; a server that keeps the connection open must not spoil it."""
        body = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
        heard = await _heard_from(b"HTTP/1.1 200 OK\r\n\r\n" + body, keep_open=True)
        assert (heard.text, heard.finished) == ("a", Finished("stop"))


@contextlib.asynccontextmanager
async def _deaf() -> AsyncIterator[str]:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def _heard_from(answer: bytes, *, keep_open: bool = False) -> Heard:
    """From a server that sends these bytes, whatever it is asked, and closes the connection."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if keep_open:
                await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    model = OpenAIModel("m", base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    try:
        async with asyncio.timeout(20):
            return await listen(model)
    finally:
        await model.close()
        server.close()
