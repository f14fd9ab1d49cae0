"""What a reranking adapter must do, with a real cross-encoder: a very small one, with random weights."""

import asyncio
import importlib.util
import json
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import Unavailable
from app.providers.embedding import weights
from app.providers.ports import Reranker
from app.providers.reranking import open_reranker
from tests.contracts.embedders import PARAGRAPH, TELUGU, some_texts

WORDS = ["parcel", "refund", "damaged", "thirty", "days", "keep", "the", "box", "card", "who", "won", "a", "is", "to"]
QUERY = "Who pays the refund of a damaged parcel?"
MAX_TOKENS = 64
extra = [
    pytest.mark.embeddings,
    pytest.mark.skipif(
        importlib.util.find_spec("sentence_transformers") is None,
        reason="sentence-transformers is not installed: make embeddings",
    ),
]


def save_cross_encoder(folder: Path, *, labels: int = 1, identity: bool = False) -> str:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *map(chr, range(33, 127))]
    vocabulary += [f"##{chr(code)}" for code in range(33, 127)]
    tokenizer = transformers.BertTokenizerFast(vocab={word: n for n, word in enumerate(dict.fromkeys(vocabulary))})
    tokenizer.model_max_length = MAX_TOKENS
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=MAX_TOKENS, num_labels=labels, initializer_range=0.5,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    if identity:
        place = folder / "model" / "config.json"
        said = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
        place.write_text(json.dumps(json.loads(place.read_text()) | said))
    return str(folder / "model")


def logits(folder: str, query: str, texts: list[str]) -> list[float]:
    """One by one, with the library underneath alone."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    found = []
    for text in texts:
        with torch.inference_mode():
            inputs = tokenizer(query, text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            found.append(float(model(**inputs).logits[0, 0]))
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["sigmoid", "identity"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Published models differ in what they do to the logit."""
    return save_cross_encoder(tmp_path_factory.mktemp("reranker"), identity=request.param)


@pytest.fixture(scope="module")
async def reranker(folder: str) -> AsyncIterator[Reranker]:
    reranker = await asyncio.to_thread(open_reranker, folder)
    yield reranker
    await reranker.close()


class TestCrossEncoder:
    pytestmark = extra

    async def test_scores_are_the_sigmoid_of_the_logits_in_order(self, reranker: Reranker, folder: str) -> None:
        texts = [f"{WORDS[n % len(WORDS)]} " * (1 + (n * 7) % 40) + "refund" for n in range(30)]
        scores = await reranker.scores(QUERY, texts)
        expected = 1 / (1 + np.exp(-np.array(logits(folder, QUERY, texts))))
        assert scores == pytest.approx(expected.tolist(), abs=1e-4)
        assert all(type(score) is float and 0 <= score <= 1 for score in scores)
        assert max(scores) - min(scores) > 0.01, "the model must tell texts apart, or the order proves nothing"

    async def test_the_query_counts(self, reranker: Reranker) -> None:
        texts = ["keep the box", "refund to the card"]
        assert await reranker.scores("who won", texts) != await reranker.scores("damaged parcel", texts)

    async def test_no_texts(self, reranker: Reranker) -> None:
        assert await reranker.scores(QUERY, []) == []

    @pytest.mark.parametrize(
        "text", ["", "  \n ", "a" * 10_000, PARAGRAPH * 100, TELUGU, "👨‍👩‍👧" * 50, "\x00", "half \ud83d pair"],
        ids=["empty", "blank", "one-word", "long", "telugu", "emoji", "nul", "surrogate"],
    )  # fmt: skip
    async def test_any_text_has_a_score(self, reranker: Reranker, text: str) -> None:
        for query, texts in ((QUERY, [text]), (text, ["a box", text])):
            assert all(0 <= score <= 1 for score in await reranker.scores(query, texts))

    async def test_what_is_too_long_is_cut_soon(self, reranker: Reranker, folder: str) -> None:
        texts = ["refund " * 3_000, "damaged parcel " * 1_500]
        began = time.perf_counter()
        await reranker.scores(PARAGRAPH * 100, [PARAGRAPH * 100, *texts])
        assert time.perf_counter() - began < 3
        expected = 1 / (1 + np.exp(-np.array(logits(folder, QUERY, texts))))
        assert await reranker.scores(QUERY, texts) == pytest.approx(expected.tolist(), abs=1e-4)

    async def test_the_event_loop_runs_meanwhile(self, reranker: Reranker) -> None:
        job = asyncio.ensure_future(reranker.scores(QUERY, some_texts(400)))
        began = last = time.perf_counter()
        largest = 0.0
        while not job.done():
            await asyncio.sleep(0.002)
            now = time.perf_counter()
            largest, last = max(largest, now - last), now
        assert largest < (last - began) / 3

    async def test_one_question_does_not_wait_for_all_of_another(self, reranker: Reranker) -> None:
        large = asyncio.ensure_future(reranker.scores(QUERY, some_texts(600)))
        await asyncio.sleep(0.05)
        await reranker.scores(QUERY, ["keep the box"])
        assert not large.done()
        await large

    async def test_cancelling_leaves_it_usable(self, reranker: Reranker) -> None:
        job = asyncio.ensure_future(reranker.scores(QUERY, some_texts(2_000)))
        await asyncio.sleep(0.05)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert len(await reranker.scores(QUERY, ["still here"])) == 1

    async def test_closed_is_closed(self, folder: str) -> None:
        others = {*threading.enumerate()}
        reranker = await asyncio.to_thread(open_reranker, folder)
        await reranker.scores(QUERY, ["open"])
        assert any(thread.name.startswith("reranker") for thread in {*threading.enumerate()} - others)
        await reranker.close()
        await reranker.close()
        with pytest.raises(Unavailable) as error:
            await reranker.scores(QUERY, ["x"])
        assert error.value.code == "reranker_closed"
        left = {*threading.enumerate()} - others
        assert not [thread for thread in left if thread.name.startswith("reranker")]

    def test_its_name(self, reranker: Reranker, folder: str) -> None:
        assert reranker.name == folder


class TestOtherModels:
    pytestmark = extra

    def test_one_with_several_labels(self, tmp_path: Path) -> None:
        assert self.refused(save_cross_encoder(tmp_path, labels=3)) == "reranker_not_supported"

    def test_an_embedding_model(self) -> None:
        assert self.refused(str(weights.model_folder())) == "reranker_not_supported"

    def test_a_folder_without_one(self, tmp_path: Path) -> None:
        assert self.refused(str(tmp_path)) == "reranker_not_loaded"

    def test_a_damaged_one(self, tmp_path: Path) -> None:
        folder = save_cross_encoder(tmp_path)
        (Path(folder) / "model.safetensors").write_bytes(b"nothing")
        assert self.refused(folder) == "reranker_not_loaded"

    def refused(self, name: str) -> str:
        with pytest.raises(Unavailable) as error:
            open_reranker(name)
        assert name in error.value.detail
        return error.value.code


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as error:
        open_reranker(str(tmp_path / "nowhere"))
    assert error.value.code == "reranker_not_loaded"


@pytest.mark.skipif(importlib.util.find_spec("sentence_transformers") is not None, reason="the extra is installed")
def test_without_the_extra() -> None:
    with pytest.raises(Unavailable) as error:
        open_reranker("cross-encoder/ms-marco-MiniLM-L6-v2")
    assert error.value.code == "reranker_missing"
    assert "make embeddings" in error.value.detail
