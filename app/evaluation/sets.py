"""A set, opened: its questions, and what has to be loaded before they can be asked."""

from dataclasses import dataclass, field
from pathlib import Path

from app.evaluation.beir import Passage, is_beir, read_corpus, read_split
from app.evaluation.errors import BadSet
from app.evaluation.questions import Question, read_questions

BUNDLED = Path(__file__).parent / "data" / "xquad-small"


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    name: str
    questions: list[Question]
    corpus: list[Passage] = field(default_factory=list)
    """Empty: the questions are about documents that are there, or that come as files."""
    split: str | None = None

    @property
    def wants_answers(self) -> bool:
        """Unless it is a corpus with judgements alone."""
        return not self.corpus or any(question.answerable is False for question in self.questions)


def open_set(path: Path, *, split: str | None, limit: int | None) -> EvaluationSet:
    """A folder in BEIR layout, a JSONL of questions, or a folder of such."""
    if is_beir(path):
        split, questions = read_split(path, split)
        return EvaluationSet(_name(path), _limited(questions, limit), read_corpus(path), split)
    if split is not None:
        raise BadSet("--split is for folders in BEIR layout")
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise BadSet(f"{path} has neither a corpus.jsonl nor other .jsonl files")
    return EvaluationSet(_name(path), _limited([q for file in files for q in read_questions(file)], limit))


def _name(path: Path) -> str:
    """`xquad-hi-en/hi` rather than `hi`."""
    parts = path.resolve().parts[-2:]
    return "/".join(parts) if len(parts[-1]) <= 2 else path.resolve().name


def _limited(questions: list[Question], limit: int | None) -> list[Question]:
    """Evenly from beginning to end: files often begin with one subject."""
    if limit is None or limit >= len(questions):
        return questions
    return [questions[at * len(questions) // limit] for at in range(limit)]
