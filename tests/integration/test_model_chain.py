"""A chain of language models against the stand-in: what is tried again, what never is, and that everything ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from app.providers.llm import ModelChain, ModelsUnavailable, ProviderInterrupted
from app.providers.llm.breaker import BreakerLimits
from app.providers.llm.budgets import Budgets
from app.providers.llm.openai import OpenAIModel
from app.providers.ports import ChatMessage, Delta, Finished, ModelStarted, Prompt
from tests import stand_in as servers
from tests.stand_in import StandIn

stand_in, aws_environment = servers.stand_in, servers.aws_environment
PROMPT = Prompt("", [ChatMessage("user", "Hello?")], max_tokens=50)
QUICK = Budgets(first_token=0.5, idle=0.5, total=4, start=1.2, share=0.3, backoff=0.02, longest_wait=0.3)
PATIENT = Budgets(backoff=0.02)
NEVER = BreakerLimits(failures=10_000)
FIVE = "1 2 3 4 5 "


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Chain:
    """Of the models with these modes."""

    stand_in: StandIn
    chain: ModelChain
    ids: list[str]
    clock: Clock
    items: list[ModelStarted | Delta | Finished] = field(default_factory=list)

    async def ask(self, *, most_calls: int = 3) -> str:
        """The text. What came before an error is in `text`, too."""
        self.items = []
        async for item in self.chain.stream(PROMPT, most_calls=most_calls):
            self.items.append(item)
        assert isinstance(self.items[-1], Finished)
        return self.text

    @property
    def text(self) -> str:
        return "".join(item.text for item in self.items if isinstance(item, Delta))

    @property
    def finished(self) -> Finished:
        item = self.items[-1]
        assert isinstance(item, Finished)
        return item

    @property
    def calls(self) -> list[int]:
        """Of each model, as the server has counted them."""
        return [self.stand_in.count(id_) for id_ in self.ids]

    def now(self, mode: str, at: int = 0) -> None:
        self.stand_in.set_mode(self.ids[at], mode)

    async def failure(self, **options: int) -> str:
        with pytest.raises(ModelsUnavailable) as raised:
            await self.ask(**options)
        assert (raised.value.code, self.items) == ("llm_unavailable", [])
        return raised.value.reason

    async def interruption(self) -> str:
        with pytest.raises(ProviderInterrupted) as raised:
            await self.ask()
        assert raised.value.code == "provider_interrupted"
        return raised.value.reason

    async def until(self, said: Callable[[dict[str, int]], bool]) -> None:
        async with asyncio.timeout(10):
            while not said(self.stand_in.asked(self.ids[0])):
                await asyncio.sleep(0.02)


MakeChain = Callable[..., Chain]


class Polite:
    """A model that takes a moment to hang up."""

    name = "polite"
    window = 8192

    def __init__(self) -> None:
        self.said_goodbye = False

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta | Finished]:
        try:
            while True:
                yield Delta("Hello")
        finally:
            await asyncio.sleep(0.05)
            self.said_goodbye = True

    async def close(self) -> None:
        pass


@pytest.fixture
async def chained(stand_in: StandIn, aws_environment: None) -> AsyncIterator[MakeChain]:
    made: list[ModelChain] = []

    def make(*modes: str, budgets: Budgets = PATIENT, limits: BreakerLimits = NEVER) -> Chain:
        ids, clock = [stand_in.model(mode) for mode in modes], Clock()
        models = [OpenAIModel(id_, base_url=stand_in.openai_url) for id_ in ids]
        made.append(ModelChain(models, budgets=budgets, limits=limits, clock=clock))
        return Chain(stand_in, made[-1], ids, clock)

    yield make
    for chain in made:
        await chain.close()


class TestAnswers:
    async def test_says_who_answers_before_the_first_word(self, chained: MakeChain) -> None:
        chain = chained("tokens:count=5:rate=50")
        assert await chain.ask() == FIVE
        assert chain.items[0] == ModelStarted(f"openai/{chain.ids[0]}")
        assert [type(item) for item in chain.items].count(ModelStarted) == 1
        assert chain.finished.reason == "stop"
        assert chain.finished.output_tokens == 5

    async def test_blanks_before_the_first_word_are_left_out(self, chained: MakeChain) -> None:
        chain = chained("tokens")
        chain.now("say:\n\n   \n  Hello.\n\nYes.")
        assert await chain.ask() == "Hello.\n\nYes."

    async def test_a_refusal_without_a_word_is_an_answer(self, chained: MakeChain) -> None:
        chain = chained("refused:after=0")
        assert await chain.ask() == ""
        assert chain.finished.reason == "refused"

    async def test_the_next_one_answers_when_the_first_cannot(self, chained: MakeChain) -> None:
        chain = chained("unavailable", "tokens:count=5")
        assert await chain.ask() == FIVE
        assert chain.items[0] == ModelStarted(f"openai/{chain.ids[1]}")
        assert chain.calls == [2, 1], "three calls in all, the last of them for the other model"

    async def test_names_and_the_smallest_window(self, stand_in: StandIn) -> None:
        large = OpenAIModel("a", base_url=stand_in.openai_url, window=100_000)
        small = OpenAIModel("b", base_url=stand_in.openai_url, window=4_000)
        chain = ModelChain([large, small])
        assert (chain.name, chain.names, chain.window) == ("openai/a", ["openai/a", "openai/b"], 4_000)


class TestTriedAgain:
    async def test_after_one_failure(self, chained: MakeChain) -> None:
        chain = chained("half-503:count=5")
        assert await chain.ask() == FIVE
        assert chain.calls == [2]

    @pytest.mark.parametrize(
        ("mode", "reason"),
        [
            ("throttle", "throttled"),
            ("unavailable", "unavailable"),
            ("garbage", "bad_response"),
            ("empty", "empty_answer"),
            ("silent", "empty_answer"),
            ("cut-before", "unavailable"),
            ("throttle-mid:after=0", "throttled"),
            ("error-mid:after=0", "unavailable"),
        ],
    )
    async def test_three_calls_and_no_more(self, chained: MakeChain, mode: str, reason: str) -> None:
        chain = chained(mode)
        assert await chain.failure() == reason
        assert chain.calls == [3]

    async def test_a_turn_may_allow_fewer(self, chained: MakeChain) -> None:
        chain = chained("unavailable", "unavailable")
        assert await chain.failure(most_calls=1) == "unavailable"
        assert chain.calls == [1, 0]

    async def test_every_model_gets_its_call(self, chained: MakeChain) -> None:
        chain = chained("throttle", "unavailable", "garbage")
        assert await chain.failure() == "throttled"
        assert chain.calls == [1, 1, 1]

    @pytest.mark.parametrize(("mode", "reason"), [("invalid", "invalid"), ("forbidden", "unauthorized")])
    async def test_not_when_it_would_not_help(self, chained: MakeChain, mode: str, reason: str) -> None:
        chain = chained(mode)
        assert await chain.failure() == reason
        assert chain.calls == [1]

    async def test_at_once_when_a_parameter_has_another_name(self, chained: MakeChain) -> None:
        chain = chained("new-parameters:count=5")
        assert await chain.ask() == FIVE
        assert await chain.ask() == FIVE
        assert chain.calls == [3]

    async def test_not_before_the_model_wants_to_be_asked(self, chained: MakeChain) -> None:
        chain = chained("throttle:retry-after=0.25", budgets=Budgets(backoff=0.001, longest_wait=0.3))
        began = time.monotonic()
        assert await chain.failure() == "throttled"
        assert time.monotonic() - began >= 0.5
        assert chain.calls == [3]

    async def test_not_when_that_is_too_long(self, chained: MakeChain) -> None:
        chain = chained("throttle:retry-after=60", "tokens:count=5")
        assert await chain.ask() == FIVE
        assert chain.calls == [1, 1]


class TestInTheMiddle:
    @pytest.mark.parametrize(
        ("mode", "reason"),
        [
            ("throttle-mid", "throttled"),
            ("error-mid", "unavailable"),
            ("cut", "interrupted"),
            ("end-early", "interrupted"),
            ("bad-crc", "bad_response"),
            ("hang-mid", "timeout"),
        ],
    )
    async def test_never_begun_again(self, chained: MakeChain, mode: str, reason: str) -> None:
        chain = chained(mode, "tokens", budgets=Budgets(idle=0.5))
        assert await chain.interruption() == reason
        assert chain.text == FIVE
        assert chain.calls == [1, 0]


class TestAnEnd:
    """Whatever a model does."""

    @pytest.mark.parametrize("modes", [("hang-before",), ("hang-before",) * 2, ("hang-before",) * 3])
    async def test_of_waiting_for_the_first_word(self, chained: MakeChain, modes: tuple[str, ...]) -> None:
        chain = chained(*modes, budgets=QUICK)
        began = time.monotonic()
        assert await chain.failure() == "timeout"
        assert time.monotonic() - began < QUICK.start + 1
        assert chain.calls == [1] * len(modes)

    async def test_the_real_budgets_end_before_25_seconds(self) -> None:
        real = Budgets()
        assert (real.connect, real.first_token, real.idle, real.total) == (2.0, 15.0, 20.0, 120.0)
        assert real.start + real.longest_wait < 25
        assert QUICK.share * 2 + QUICK.first_token <= QUICK.start, "the quick ones are as the real ones"
        assert real.share * 2 + real.first_token <= real.start

    async def test_slow_failures_leave_time_for_the_next_model(self, chained: MakeChain) -> None:
        budgets = Budgets(first_token=9, start=4, share=1.2)
        chain = chained("hang-before", "hang-before", "tokens:count=5", budgets=budgets)
        assert await chain.ask() == FIVE
        assert chain.calls == [1, 1, 1]

    async def test_of_empty_tokens(self, chained: MakeChain) -> None:
        chain = chained("blank:rate=100", budgets=QUICK)
        assert await chain.failure() == "timeout"
        assert chain.calls == [1]

    async def test_of_an_endless_answer_by_its_length(self, chained: MakeChain) -> None:
        chain = chained("endless", budgets=Budgets(chars=1000, chars_a_token=1))
        await chain.ask()
        assert len(chain.text) == 1000
        assert chain.finished.reason == "length"
        await chain.until(lambda asked: asked["hung_up"] == 1 and asked["open"] == 0)

    async def test_of_an_endless_answer_by_its_time(self, chained: MakeChain) -> None:
        chain = chained("endless:rate=20", budgets=Budgets(total=1.0))
        began = time.monotonic()
        assert await chain.interruption() == "timeout"
        assert time.monotonic() - began < 5
        assert chain.text.startswith(FIVE)
        await chain.until(lambda asked: asked["hung_up"] == 1)

    async def test_of_one_huge_token(self, chained: MakeChain) -> None:
        chain = chained("huge")
        assert len(await chain.ask()) == 64_000
        assert chain.finished.reason == "length"

    async def test_more_is_kept_when_more_was_allowed(self, chained: MakeChain) -> None:
        chain = chained("huge")
        prompt = Prompt("", PROMPT.messages, max_tokens=10_000)
        text = [item.text async for item in chain.chain.stream(prompt) if isinstance(item, Delta)]
        assert sum(map(len, text)) == 160_000


class TestHangingUp:
    async def test_closing_the_stream(self, chained: MakeChain) -> None:
        chain = chained("endless:rate=100")
        stream = chain.chain.stream(PROMPT)
        assert isinstance(await anext(stream), ModelStarted)
        assert isinstance(await anext(stream), Delta)
        await stream.aclose()
        await chain.until(lambda asked: asked["hung_up"] == 1 and asked["open"] == 0)

    async def test_closing_waits_until_the_model_has_been_hung_up_on(self) -> None:
        model = Polite()
        stream = ModelChain([model]).stream(PROMPT)
        assert [await anext(stream), await anext(stream)] == [ModelStarted("polite"), Delta("Hello")]
        await stream.aclose()
        assert model.said_goodbye

    @pytest.mark.parametrize("mode", ["hang-before", "hang-mid", "blank:rate=50", "endless:rate=50"])
    async def test_cancelling(self, chained: MakeChain, mode: str) -> None:
        chain = chained(mode, "tokens")
        await self._cancelled(chain, chain.ask())
        assert chain.calls == [1, 0]

    @staticmethod
    async def _cancelled(chain: Chain, asking: Awaitable[str]) -> None:
        task = asyncio.ensure_future(asking)
        await chain.until(lambda asked: asked["open"] == 1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await chain.until(lambda asked: asked["hung_up"] == 1 and asked["open"] == 0)


class TestCircuit:
    """Five failures in 30 seconds leave a model alone for 30 seconds; then one call decides."""

    async def test_opens_and_heals(self, chained: MakeChain) -> None:
        chain = chained("throttle:id=0", limits=BreakerLimits())
        assert await chain.failure() == "throttled"
        assert chain.chain.degraded() == []
        assert await chain.failure() == "throttled"
        assert chain.calls == [5], "it opens in the middle of the retries"
        assert chain.chain.degraded() == [f"openai/{chain.ids[0]}"]

        assert await chain.failure() == "circuit_open"
        assert chain.calls == [5]

        chain.clock.now += 31
        chain.now("tokens:count=5")
        assert await chain.ask() == FIVE
        assert chain.chain.degraded() == []
        assert await chain.ask() == FIVE

    async def test_one_probe_that_fails_opens_it_again(self, chained: MakeChain) -> None:
        chain = await self._open(chained)
        chain.clock.now += 31
        assert await chain.failure() == "unavailable"
        assert chain.calls == [6]
        assert await chain.failure() == "circuit_open"
        chain.clock.now += 31
        assert await chain.failure() == "unavailable"
        assert chain.calls == [7]

    async def test_only_one_probes(self, chained: MakeChain) -> None:
        chain = await self._open(chained)
        chain.clock.now += 31
        chain.now("tokens:count=5:wait=0.5")
        probing = asyncio.create_task(chain.ask())
        await chain.until(lambda asked: asked["open"] == 1)
        with pytest.raises(ModelsUnavailable, match="llm_unavailable"):
            async for _ in chain.chain.stream(PROMPT):
                pass
        assert await probing == FIVE
        assert chain.calls == [6]

    async def test_a_probe_that_was_cancelled_leaves_it_to_the_next(self, chained: MakeChain) -> None:
        chain = await self._open(chained)
        chain.clock.now += 31
        chain.now("hang-before")
        probing = asyncio.create_task(chain.ask())
        await chain.until(lambda asked: asked["open"] == 1)
        probing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probing
        chain.now("tokens:count=5")
        assert await chain.ask() == FIVE

    async def test_questions_that_are_refused_as_wrong_leave_it_closed(self, chained: MakeChain) -> None:
        chain = chained("invalid", limits=BreakerLimits())
        for _ in range(8):
            assert await chain.failure() == "invalid"
        assert chain.calls == [8]
        assert chain.chain.degraded() == []

    async def test_answers_that_break_off_open_it(self, chained: MakeChain) -> None:
        chain = chained("cut", limits=BreakerLimits())
        for _ in range(5):
            assert await chain.interruption() == "interrupted"
        assert await chain.failure() == "circuit_open"
        assert chain.calls == [5]

    async def test_the_next_model_answers_meanwhile(self, chained: MakeChain) -> None:
        chain = chained("unavailable", "tokens:count=5", limits=BreakerLimits())
        for _ in range(4):
            assert await chain.ask() == FIVE
        assert chain.calls == [5, 4]
        assert chain.chain.degraded() == [f"openai/{chain.ids[0]}"]

    @staticmethod
    async def _open(chained: MakeChain) -> Chain:
        chain = chained("unavailable", limits=BreakerLimits())
        for _ in range(2):
            assert await chain.failure() == "unavailable"
        assert chain.chain.degraded()
        return chain
