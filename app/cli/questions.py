"""Questions for a comparison: the lines that `ragchat eval` reads, too."""

from pathlib import Path

from app.cli.common import stop
from app.evaluation.errors import BadSet
from app.evaluation.questions import Question as Judged
from app.evaluation.questions import read_questions as read
from app.services.comparison import Question


def read_questions(path: Path) -> list[Question]:
    try:
        return [_question(question) for question in read(path)]
    except BadSet as exc:
        stop(str(exc))


def _question(judged: Judged) -> Question:
    """The first document that answers it, and its pages."""
    document = next((item.document for item in judged.relevant), None)
    pages = {item.page for item in judged.relevant if item.document == document and item.page is not None}
    return Question(judged.text, document, frozenset(pages))
