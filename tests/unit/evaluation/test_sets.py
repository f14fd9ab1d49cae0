"""What a set may look like, and the one line that says what is wrong with it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from app.evaluation.beir import corpus_hash, read_corpus
from app.evaluation.errors import BadSet
from app.evaluation.questions import Item, read_questions
from app.evaluation.sets import BUNDLED, open_set
from app.rag.conversation import Said

CORPUS = [{"_id": "d1", "title": "T", "text": "one\r\n"}, {"_id": 2, "text": "two\u0000"}]
QUERIES = [{"_id": "q1", "text": "a?"}, {"_id": "q2", "text": "b?"}, {"_id": "q3", "text": "c?", "answerable": False}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\t2\t0\nq9\td1\t1\n"


def beir(folder: Path, *, corpus: Any = CORPUS, queries: Any = QUERIES, **splits: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in corpus))
    with gzip.open(folder / "queries.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in queries)
    for name, text in (splits or {"test": QRELS}).items():
        (folder / "qrels" / f"{name}.tsv").write_text(text)
    return folder


def lines(path: Path, *objects: Any) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in objects))
    return path


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(BadSet) as exc:
        open_set(path, **({"split": None, "limit": None} | options))
    return str(exc.value)


def test_beir_folder(tmp_path: Path) -> None:
    found = open_set(beir(tmp_path / "set"), split=None, limit=None)
    assert (found.name, found.split, found.wants_answers) == ("set", "test", True)
    assert [(q.id, dict(q.relevant), q.answerable) for q in found.questions] == [
        ("q1", {Item("d1"): 2}, None),
        ("q3", {}, False),
    ]
    assert [(p.id, p.title, p.text) for p in found.corpus] == [("d1", "T", "one\n"), ("2", "", "two")]


def test_split(tmp_path: Path) -> None:
    both = beir(tmp_path / "both", train=QRELS, dev=QRELS)
    assert refused(both) == f"{both} has the splits dev, train: say --split"
    assert refused(both, split="test") == f"{both} has no split test; it has dev, train"
    assert open_set(both, split="dev", limit=None).split == "dev"
    assert open_set(beir(tmp_path / "one", val=QRELS), split=None, limit=None).split == "val"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"corpus": [CORPUS[0], CORPUS[0]]}, "corpus.jsonl, line 2: d1 comes twice"),
        ({"corpus": [{"_id": "d1"}]}, "corpus.jsonl, line 1: text: Field required"),
        ({"queries": [{"_id": "q1"}]}, "queries.jsonl.gz, line 1: query: Field required"),
        ({"test": "q1 d1 1\n"}, "test.tsv, line 1: not query-id"),
        ({"test": "q7\td1\t1\n", "queries": QUERIES[:2]}, "no query in "),
    ],
    ids=["twice", "no text", "no query", "no tabs", "nothing judged"],
)
def test_beir_that_cannot_be_used(tmp_path: Path, changed: dict[str, Any], complaint: str) -> None:
    assert complaint in refused(beir(tmp_path / "set", **changed))


def test_damaged_gzip(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set")
    path = folder / "queries.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])
    assert refused(folder) == f"{path} cannot be read"


def test_hash_knows_every_part(tmp_path: Path) -> None:
    passages = read_corpus(beir(tmp_path / "set"))
    hashes = {corpus_hash(passages), corpus_hash(passages[::-1]), corpus_hash(passages[:1]), corpus_hash(passages, "m")}
    assert len(hashes) == 4


def test_questions_in_every_spelling(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "qa.jsonl",
        {"query": "a", "document": "d.pdf", "pages": [1, 2]},
        {"_id": "x", "question": "b", "evidence": [{"file": "d.pdf", "page": 3}, {"file": "e"}], "truth": "not ours"},
        {
            "text": "c",
            "answerable": False,
            "history": [{"speaker": "U", "text": "d"}, {"role": "assistant", "text": "e"}],
        },
    )
    one, two, three = read_questions(path)
    assert (one.id, set(one.relevant)) == ("1", {Item("d.pdf", 1), Item("d.pdf", 2)})
    assert (two.id, set(two.relevant), two.has_pages) == ("x", {Item("d.pdf", 3), Item("e")}, True)
    assert (three.answerable, three.history) == (False, (Said("user", "d"), Said("assistant", "e")))


def test_unanswerable_by_its_name(tmp_path: Path) -> None:
    lines(tmp_path / "unanswerable.jsonl", {"query": "a"}, {"query": "b", "answerable": True})
    lines(tmp_path / "qa.jsonl", {"query": "c"})
    found = open_set(tmp_path, split=None, limit=None).questions
    assert [(q.text, q.answerable) for q in found] == [("c", None), ("a", False), ("b", True)]


def test_limit_is_spread_over_the_set(tmp_path: Path) -> None:
    path = lines(tmp_path / "qa.jsonl", *({"query": str(n)} for n in range(10)))
    assert [q.text for q in open_set(path, split=None, limit=4).questions] == ["0", "2", "5", "7"]
    assert len(open_set(path, split=None, limit=11).questions) == 10


def test_nothing_there(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert refused(nowhere) == f"there is no text file {nowhere}"
    assert refused(tmp_path) == f"{tmp_path} has neither a corpus.jsonl nor other .jsonl files"
    assert refused(lines(tmp_path / "a.jsonl", {"query": "a"}), split="test") == "--split is for folders in BEIR layout"


def test_bundled_set_is_whole_and_has_its_licence() -> None:
    found = open_set(BUNDLED, split=None, limit=None)
    ids = {passage.id for passage in found.corpus}
    assert {item.document for question in found.questions for item in question.relevant} <= ids
    readme = (BUNDLED / "README.md").read_text()
    judged, refusals = (sum(bool(q.relevant) is is_judged for q in found.questions) for is_judged in (True, False))
    assert f"{len(ids)} passages" in readme
    assert f"{judged} questions" in readme
    assert f"{refusals} that none does" in readme
    assert "Attribution-ShareAlike 4.0" in (BUNDLED / "LICENSE.txt").read_text()
