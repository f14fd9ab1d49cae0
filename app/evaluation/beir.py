"""A folder in BEIR layout: corpus.jsonl, queries.jsonl (either may be .gz), qrels/<split>.tsv."""

import csv
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from app.evaluation.errors import BadSet
from app.evaluation.questions import Item, Line, Question, bad_line
from app.readers.clean import clean

PREFERRED_SPLIT = "test"


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    title: str
    text: str


class _CorpusLine(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: str = Field(validation_alias="_id", min_length=1)
    title: str | None = None
    text: str


def is_beir(folder: Path) -> bool:
    return folder.is_dir() and bool(_variants(folder, "corpus"))


def read_corpus(folder: Path) -> list[Passage]:
    """Ids in the order of the file; BadSet when one comes twice."""
    path = _file(folder, "corpus")
    found: dict[str, Passage] = {}
    for number, text in _lines(path):
        with bad_line(path, number):
            line = _CorpusLine.model_validate_json(text)
            if line.id in found:
                raise ValueError(f"{line.id} comes twice")
            found[line.id] = Passage(line.id, " ".join(clean(line.title or "").split()), clean(line.text))
    if not found:
        raise BadSet(f"there are no passages in {path}")
    return [*found.values()]


def corpus_hash(passages: list[Passage], *more: str) -> str:
    """Of what would be indexed; `more`: whatever else decides that."""
    digest = hashlib.sha256(json.dumps(more).encode())
    for passage in passages:
        digest.update(json.dumps([passage.id, passage.title, passage.text]).encode())
    return digest.hexdigest()


def read_split(folder: Path, split: str | None) -> tuple[str, list[Question]]:
    """(its name, the questions that it judges, in the order of the file). Default: `test`, or the only one."""
    judgements = {path.stem: path for path in sorted((folder / "qrels").glob("*.tsv"))}
    if not judgements:
        raise BadSet(f"there are no qrels/*.tsv in {folder}")
    if split is None:
        split = PREFERRED_SPLIT if PREFERRED_SPLIT in judgements else next(iter(judgements))
        if split != PREFERRED_SPLIT and len(judgements) > 1:
            raise BadSet(f"{folder} has the splits {', '.join(judgements)}: say --split")
    if split not in judgements:
        raise BadSet(f"{folder} has no split {split}; it has {', '.join(judgements)}")
    grades = _judgements(judgements[split])
    questions = [*_judged(_file(folder, "queries"), grades)]
    if not questions:
        raise BadSet(f"no query in {folder} is judged in {judgements[split].name}")
    return split, questions


def _judged(path: Path, grades: dict[str, dict[Item, int]]) -> Iterator[Question]:
    for number, text in _lines(path):
        with bad_line(path, number):
            question = Line.model_validate_json(text).question(number)
        if question.id in grades:
            yield replace(question, relevant=grades[question.id])
        elif question.answerable is False:
            yield question


def _judgements(path: Path) -> dict[str, dict[Item, int]]:
    found: dict[str, dict[Item, int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=1):
            if number == 1 and len(row) == 3 and not row[-1].lstrip("-").isdigit():
                continue  # the header
            with bad_line(path, number):
                if len(row) != 3 or not row[2].lstrip("-").isdigit():
                    raise ValueError("not query-id, corpus-id and score, separated by tabs")
                if int(row[2]) > 0:
                    found.setdefault(row[0], {})[Item(row[1])] = int(row[2])
    return found


def _variants(folder: Path, stem: str) -> list[Path]:
    return [path for name in (f"{stem}.jsonl", f"{stem}.jsonl.gz") if (path := folder / name).is_file()]


def _file(folder: Path, stem: str) -> Path:
    found = _variants(folder, stem)
    if not found:
        raise BadSet(f"there is no {stem}.jsonl or {stem}.jsonl.gz in {folder}")
    return found[0]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as exc:
        raise BadSet(f"{path} cannot be read") from exc
