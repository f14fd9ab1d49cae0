"""The stand-in speaks as the real servers do, as judged by their own clients' parsers, and keeps count."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aioboto3  # type: ignore[import-untyped]
import httpx
import pytest
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer  # type: ignore[import-untyped]
from botocore.exceptions import ClientError, EventStreamError  # type: ignore[import-untyped]

from tests import stand_in as servers
from tests.conftest import ROOT
from tests.stand_in import StandIn, stand_in_server
from tools.stand_in import frames
from tools.stand_in.modes import MODES

stand_in, aws_environment = servers.stand_in, servers.aws_environment
MESSAGES = [{"role": "user", "content": [{"text": "Hello?"}]}]


def parsed(data: bytes, at_once: int) -> list[tuple[str, Any]]:
    """By botocore's own parser, fed so many bytes at a time."""
    buffer, found = EventStreamBuffer(), []
    for start in range(0, len(data), at_once):
        buffer.add_data(data[start : start + at_once])
        for message in buffer:
            head = message.headers
            found.append((head.get(":event-type") or head[":exception-type"], json.loads(message.payload)))
    return found


class TestFrames:
    @pytest.mark.parametrize("at_once", [1, 7, 4096])
    def test_botocore_reads_them(self, at_once: int) -> None:
        events: list[tuple[str, dict[str, Any]]] = [
            ("messageStart", {"role": "assistant"}),
            ("contentBlockDelta", {"delta": {"text": "తెలుగు"}}),
        ]
        data = b"".join(frames.event(kind, payload) for kind, payload in events)
        data += frames.exception("throttlingException", "Slow down.")
        assert parsed(data, at_once) == [*events, ("throttlingException", {"message": "Slow down."})]

    def test_botocore_sees_a_wrong_checksum(self) -> None:
        with pytest.raises(ChecksumMismatch):
            parsed(frames.with_wrong_checksum(frames.event("messageStart", {"role": "assistant"})), 4096)


@pytest.fixture
async def bedrock(stand_in: StandIn, aws_environment: None) -> AsyncIterator[Any]:
    config = AioConfig(retries={"mode": "standard", "total_max_attempts": 1})
    session = aioboto3.Session(region_name="us-east-1")
    async with session.client("bedrock-runtime", endpoint_url=stand_in.url, config=config) as client:
        yield client


class TestBedrock:
    async def test_events_in_the_order_of_the_real_ones(self, stand_in: StandIn, bedrock: Any) -> None:
        model = stand_in.model("tokens:count=2")
        response = await bedrock.converse_stream(modelId=model, messages=MESSAGES)
        events = [event async for event in response["stream"]]
        assert [next(iter(event)) for event in events] == [
            "messageStart", "contentBlockDelta", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata",
        ]  # fmt: skip
        assert events[4]["messageStop"]["stopReason"] == "end_turn"
        assert events[5]["metadata"]["usage"]["outputTokens"] == 2

    async def test_a_whole_answer(self, stand_in: StandIn, bedrock: Any) -> None:
        answer = await bedrock.converse(modelId=stand_in.model("tokens:count=3"), messages=MESSAGES)
        assert answer["output"]["message"]["content"] == [{"text": "1 2 3 "}]
        assert answer["stopReason"] == "end_turn"

    @pytest.mark.parametrize(
        ("mode", "code"),
        [
            ("throttle", "ThrottlingException"),
            ("unavailable", "ServiceUnavailableException"),
            ("invalid", "ValidationException"),
            ("forbidden", "AccessDeniedException"),
        ],
    )
    async def test_refusals_have_the_real_names(self, stand_in: StandIn, bedrock: Any, mode: str, code: str) -> None:
        for call in (bedrock.converse, bedrock.converse_stream):
            with pytest.raises(ClientError) as raised:
                await call(modelId=stand_in.model(mode), messages=MESSAGES)
            assert raised.value.response["Error"]["Code"] == code

    async def test_throttled_in_the_middle(self, stand_in: StandIn, bedrock: Any) -> None:
        response = await bedrock.converse_stream(modelId=stand_in.model("throttle-mid"), messages=MESSAGES)
        with pytest.raises(EventStreamError) as raised:
            async for _ in response["stream"]:
                pass
        assert raised.value.response["Error"]["Code"] == "throttlingException"

    async def test_a_model_id_with_slashes(self, stand_in: StandIn, bedrock: Any) -> None:
        model = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.some-model-v1:0"
        assert (await bedrock.converse(modelId=model, messages=MESSAGES))["stopReason"] == "end_turn"
        assert stand_in.count(model) == 1


@pytest.fixture
async def http(stand_in: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stand_in.url, trust_env=False, timeout=10) as client:
        yield client


async def ask(http: httpx.AsyncClient, model: str, **options: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello?"}]} | options
    return await http.post("/v1/chat/completions", json=body)


class TestOpenAI:
    async def test_models(self, http: httpx.AsyncClient) -> None:
        models = [model["id"] for model in (await http.get("/v1/models")).json()["data"]]
        assert models == ["stand-in", *(f"stand-in.{mode}" for mode in MODES)]

    async def test_a_whole_answer(self, stand_in: StandIn, http: httpx.AsyncClient) -> None:
        answer = (await ask(http, stand_in.model("tokens:count=3"))).json()
        assert answer["choices"][0]["message"] == {"role": "assistant", "content": "1 2 3 "}
        assert answer["usage"]["completion_tokens"] == 3

    async def test_usage_only_for_those_who_ask(self, stand_in: StandIn, http: httpx.AsyncClient) -> None:
        model = stand_in.model("tokens:count=1")
        bare = await ask(http, model, stream=True)
        full = await ask(http, model, stream=True, stream_options={"include_usage": True})
        assert ('"usage"' in bare.text, '"usage"' in full.text) == (False, True)
        assert bare.text.endswith("data: [DONE]\n\n")

    async def test_echo_returns_what_was_sent(self, stand_in: StandIn, http: httpx.AsyncClient) -> None:
        answer = (await ask(http, stand_in.model("echo"), marker="వ")).json()
        assert json.loads(answer["choices"][0]["message"]["content"])["marker"] == "వ"

    @pytest.mark.parametrize(
        ("mode", "status"), [("throttle", 429), ("unavailable", 503), ("invalid", 400), ("forbidden", 401)]
    )
    async def test_refusals(self, stand_in: StandIn, http: httpx.AsyncClient, mode: str, status: int) -> None:
        answer = await ask(http, stand_in.model(mode))
        assert answer.status_code == status
        assert answer.json()["error"]["message"]

    async def test_every_other_request_fails(self, stand_in: StandIn, http: httpx.AsyncClient) -> None:
        model = stand_in.model("half-503")
        assert [(await ask(http, model)).status_code for _ in range(4)] == [503, 200, 503, 200]

    @pytest.mark.parametrize(("by", "pieces"), [(1, 7), (3, 3), (100, 1)])
    async def test_a_text_in_pieces(self, stand_in: StandIn, http: httpx.AsyncClient, by: int, pieces: int) -> None:
        with stand_in_server("--mode", "say", "--say", "![a](b)", "--by", str(by)) as other:
            async with httpx.AsyncClient(base_url=other.url, trust_env=False) as client:
                answer = await ask(client, "any", stream=True)
        said = [json.loads(line[6:])["choices"][0]["delta"] for line in answer.text.splitlines() if "content" in line]
        assert [delta["content"] for delta in said[1:]] == ["![a](b)"[at : at + by] for at in range(0, 7, by)]
        assert len(said) == pieces + 1


class TestControl:
    async def test_it_counts_and_keeps_the_last_body(self, stand_in: StandIn, http: httpx.AsyncClient) -> None:
        model = stand_in.model("tokens:count=1")
        for number in range(3):
            await ask(http, model, number=number)
        asked = stand_in.asked(model)
        assert (asked["count"], asked["open"], asked["hung_up"], asked["last"]["number"]) == (3, 0, 0, 2)

    async def test_a_mode_can_be_changed_while_it_runs(self, stand_in: StandIn, http: httpx.AsyncClient) -> None:
        stand_in.set_mode("changing", "throttle")
        assert (await ask(http, "changing")).status_code == 429
        stand_in.set_mode("changing", "say:Hello: world")
        assert (await ask(http, "changing")).json()["choices"][0]["message"]["content"] == "Hello: world"

    @pytest.mark.parametrize("model", ["stand-in.nonsense", "stand-in.tokens:colour=red", "stand-in.tokens:count=x"])
    async def test_an_unknown_mode_is_told(self, http: httpx.AsyncClient, model: str) -> None:
        assert (await ask(http, model)).status_code == 400
        assert (await http.put("/_mode", content=model.removeprefix("stand-in.").encode())).status_code == 400

    async def test_it_survives_what_is_not_http(self, stand_in: StandIn, http: httpx.AsyncClient) -> None:
        host, _, port = stand_in.url.removeprefix("http://").partition(":")
        for sent in (b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"x" * 100_000):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        assert (await http.post("/v1/chat/completions", content=b"{")).status_code == 400
        assert (await http.get("/nowhere")).status_code == 404


@pytest.fixture
def child() -> Iterator["subprocess.Popen[str]"]:
    arguments = [sys.executable, "-m", "tools.stand_in", "--port", "0", "--with-parent"]
    with subprocess.Popen(
        arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        yield started
        started.kill()


def test_it_ends_with_the_process_that_started_it(child: "subprocess.Popen[str]") -> None:
    assert child.stdout is not None
    assert child.stdin is not None
    assert "listens on http://127.0.0.1:" in child.stdout.readline()
    child.stdin.close()
    assert child.wait(10) == 0
