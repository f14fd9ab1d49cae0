"""Questions for a comparison: what a line may say, and which line is wrong."""

from pathlib import Path

import pytest
import typer

from app.cli.questions import read_questions
from app.services.comparison import Question


def written(folder: Path, text: str) -> Path:
    path = folder / "questions.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(typer.Exit) as stopped:
        read_questions(path)
    assert stopped.value.exit_code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '{"query": "a"}\n\n{"query": "b", "document": "d.pdf", "page": 3, "answer": "not ours"}\r\n'
        '{"query": "two\u2028lines", "document": "d.pdf", "pages": [1, 2]}\n',
    )
    assert read_questions(path) == [
        Question("a"),
        Question("b", "d.pdf", frozenset({3})),
        Question("two\u2028lines", "d.pdf", frozenset({1, 2})),
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ('{"document": "a.pdf"}', "query: Field required"),
        ('{"query": "  "}', "query: It must not be empty."),
        ('{"query": "x", "page": 3}', "a page needs a document"),
        ('{"query": "x", "document": "a.pdf", "page": "3"}', "page: Input should be a valid integer"),
        ('{"query": "x", "document": "a.pdf", "pages": [0]}', "pages.0: Input should be greater"),
        ('{"query": "x\\u0000"}', "query: U+0000"),
    ],
    ids=["not JSON", "no object", "no query", "blank", "page alone", "page as text", "page 0", "nul"],
)
def test_a_line_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, complaint: str
) -> None:
    path = written(tmp_path, '{"query": "fine"}\n' + line)
    assert refusal(path, capsys).startswith(f"{path}, line 2: {complaint}")


def test_files_without_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = tmp_path / "nowhere.jsonl"
    assert refusal(nowhere, capsys) == f"there is no text file {nowhere}\n"
    empty = written(tmp_path, "\n\n")
    assert refusal(empty, capsys) == f"there are no questions in {empty}\n"
    empty.write_bytes(b"\xff\xfe")
    assert refusal(empty, capsys) == f"there is no text file {empty}\n"
