"""What the search benchmark searches: real passages with their real vectors, and as many more made of their sentences.

A made passage joins neighbouring sentences of three passages of one language, so that words are as frequent as in the
real ones; its vector is the mix of theirs, and a little noise.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from app.languages import detect
from app.providers.ports import Embedder, Vectors
from app.rag.chunking import TARGET_TOKENS
from app.rag.indexed_text import embedded_text
from app.rag.sentences import sentences
from app.services.cutting import make_splitter

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = {
    "scifact": ("scifact/corpus.jsonl.gz", "scifact/queries.jsonl"),
    "xquad English": ("xquad-hi-en/en/corpus.jsonl.gz", "xquad-hi-en/en/queries.jsonl.gz"),
    "xquad Hindi": ("xquad-hi-en/hi/corpus.jsonl.gz", "xquad-hi-en/hi/queries.jsonl.gz"),
}
SEED = 20
CHUNKS_A_DOCUMENT = 20
SHARES = (2, 2, 1)
"""Sentences of a made passage that come from each of its three passages."""
WEIGHTS = (6, 1, 1)
"""Of their vectors. Mixed evenly, the made ones lie in a heap where no real ones are, and the graph of any HNSW index
loses its way: FAISS has a recall of 0.95 at 40,000 then, with these weights 0.997, the real ones alone 0.996."""
NOISE = 0.3
"""Length of the noise; that of a mix is about 0.8."""
COLLECTIONS = {"one-percent": 0.01, "one-in-a-thousand": 0.001}

WORDS = 20_000
MADE_UP_DOCUMENTS = 1_000


@dataclass(frozen=True, slots=True)
class Passage:
    title: str
    heading: str | None
    text: str
    lang: str
    tokens: int
    source: int
    """Number of the real document it stands in."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """`vectors[i]` belongs to `passages[i]`; those of a document stand together."""

    passages: list[Passage]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    collection: str | None
    passages: list[Passage]
    vectors: Vectors


def present(name: str) -> bool:
    return all((SHARED / path).exists() for path in SETS[name])


def questions() -> dict[str, list[str]]:
    """Of each set: claims of scifact's test part, all questions of xquad. Made of rare words where no set is there."""
    found = {
        name: [line["text"] for line in _lines(SHARED / path) if line.get("split", "test") == "test"]
        for name, (_, path) in SETS.items()
        if present(name)
    }
    return found or {"made-up words": [text.split(".")[0] for _, text in _made_up(300, SEED + 1)]}


def texts() -> list[tuple[str, str]]:
    """(title, text) of the documents of all sets that are present."""
    found: list[tuple[str, str]] = []
    for name, (path, _) in SETS.items():
        if present(name):
            found += [(line["title"], line["text"]) for line in _lines(SHARED / path)]
        else:
            print(f"{name}: not present")
    return found or _made_up(MADE_UP_DOCUMENTS, SEED)


async def real_corpus(embedder: Embedder, folder: Path) -> Corpus:
    """Cut as the service cuts. Kept in `folder`: embedding takes a minute and a half."""
    documents = texts()
    key = hashlib.sha256(repr((embedder.name, TARGET_TOKENS, documents)).encode()).hexdigest()[:16]
    path = folder / f"ragchat-search-corpus-{key}.npz"
    if path.exists():
        with np.load(path) as kept:
            return Corpus([Passage(**row) for row in json.loads(str(kept["passages"]))], kept["vectors"])
    passages = [
        passage for number, (title, text) in enumerate(documents) for passage in _cut(embedder, number, title, text)
    ]
    vectors = await embedder.embed_documents([embedded_text(p.title, p.heading, p.text) for p in passages])
    _keep(path, Corpus(passages, vectors))
    return Corpus(passages, vectors)


def _keep(path: Path, corpus: Corpus) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = json.dumps([asdict(passage) for passage in corpus.passages])
    np.savez(path, passages=np.array(rows), vectors=corpus.vectors)


def documents(corpus: Corpus, chunks: int) -> Iterator[Document]:
    """The real ones and as many made ones as `chunks` takes, mixed. The first real ones when there are too many."""
    real = _real_documents(corpus)[:chunks]
    missing = chunks - sum(map(len, real))
    while missing < 0:
        missing += len(real.pop())
    sizes = [len(part) for part in real] + [CHUNKS_A_DOCUMENT] * (missing // CHUNKS_A_DOCUMENT)
    sizes += [missing % CHUNKS_A_DOCUMENT] if missing % CHUNKS_A_DOCUMENT else []
    random = np.random.default_rng(SEED)
    collections = _collections(sizes, random)
    mixer = _Mixer(corpus, random)
    for number in random.permutation(len(sizes)).tolist():
        if number < len(real):
            passages, vectors = [corpus.passages[i] for i in real[number]], corpus.vectors[real[number]]
        else:
            passages, vectors = mixer.make(sizes[number])
        yield Document(passages[0].title, collections.get(number), passages, vectors)


def _real_documents(corpus: Corpus) -> list[list[int]]:
    """Positions of each document's passages."""
    found: dict[int, list[int]] = {}
    for position, passage in enumerate(corpus.passages):
        found.setdefault(passage.source, []).append(position)
    return [*found.values()]


def _collections(sizes: list[int], random: np.random.Generator) -> dict[int, str]:
    """Which documents are in which collection: drawn until a collection has its share of the chunks."""
    drawn = iter(random.permutation(len(sizes)).tolist())
    found: dict[int, str] = {}
    for name, share in COLLECTIONS.items():
        left = share * sum(sizes)
        while left > 0 and (number := next(drawn, None)) is not None:
            found[number] = name
            left -= sizes[number]
    return found


class _Mixer:
    def __init__(self, corpus: Corpus, random: np.random.Generator) -> None:
        self._corpus = corpus
        self._random = random
        langs = np.array([passage.lang for passage in corpus.passages])
        self._same_lang = {lang: np.flatnonzero(langs == lang) for lang in np.unique(langs).tolist()}
        self._sentences = cache(lambda position: sentences(corpus.passages[position].text))

    def make(self, count: int) -> tuple[list[Passage], Vectors]:
        first = self._random.integers(len(self._corpus.passages), size=count)
        title = self._corpus.passages[first[0]].title
        passages: list[Passage] = []
        vectors: list[npt.NDArray[np.float32]] = []
        for position in first.tolist():
            pool = self._same_lang[self._corpus.passages[position].lang]
            drawn = [position, *self._random.choice(pool, size=len(SHARES) - 1).tolist()]
            passages.append(self._joined(title, drawn))
            vectors.append(np.average(self._corpus.vectors[drawn], axis=0, weights=WEIGHTS).astype(np.float32))
        mixed = np.stack(vectors)
        mixed += self._random.normal(scale=NOISE / mixed.shape[1] ** 0.5, size=mixed.shape).astype(np.float32)
        return passages, mixed / np.linalg.norm(mixed, axis=1, keepdims=True)

    def _joined(self, title: str, drawn: list[int]) -> Passage:
        parts: list[str] = []
        tokens = 0.0
        for position, share in zip(drawn, SHARES, strict=True):
            passage, spans = self._corpus.passages[position], self._sentences(position)
            start = int(self._random.integers(max(1, len(spans) - share + 1)))
            part = passage.text[spans[start][0] : spans[min(start + share, len(spans)) - 1][1]]
            parts.append(part)
            tokens += passage.tokens * len(part) / len(passage.text)
        lang = self._corpus.passages[drawn[0]].lang
        return Passage(title, None, " ".join(parts), lang, round(tokens), self._corpus.passages[drawn[0]].source)


def _cut(embedder: Embedder, number: int, title: str, text: str) -> list[Passage]:
    splitter = make_splitter(embedder, detect(text, default="en"))
    chunks = [*splitter.begin_page(None), *splitter.feed(text), *splitter.finish()]
    return [Passage(title, chunk.heading, chunk.text, chunk.lang, chunk.token_count, number) for chunk in chunks]


def _lines(path: Path) -> list[dict[str, Any]]:
    with _opened(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _made_up(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences of words that are as unequally frequent as those of a language (Zipf)."""
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, WORDS + 1)
    drawn = random.choice(WORDS, size=(count, 10, 15), p=weights / weights.sum())
    spelled = [[" ".join(_spelled(int(word)) for word in sentence) for sentence in text] for text in drawn]
    return [(f"Text {number}", ". ".join(text) + ".") for number, text in enumerate(spelled)]


def _spelled(word: int) -> str:
    syllables = ["ba", "ce", "di", "fo", "gu", "ha", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu", "za"]
    return "".join(syllables[word >> shift & 15] for shift in (0, 4, 8, 12))
