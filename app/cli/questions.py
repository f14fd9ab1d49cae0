"""Questions for a comparison: one JSON object a line."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.cli.common import stop
from app.schemas.common import FilledText, Text
from app.services.comparison import Question

Page = Annotated[int, Field(ge=1)]


class Line(BaseModel):
    """`query`, and where its answer is: `document` is a title or a file name, `page` or `pages` count from 1."""

    model_config = ConfigDict(strict=True)

    query: Annotated[FilledText, Field(max_length=20_000)]
    document: Text | None = None
    page: Page | None = None
    pages: list[Page] = Field(default_factory=list)

    def question(self) -> Question:
        pages = [*self.pages, *([self.page] if self.page is not None else [])]
        if pages and self.document is None:
            raise ValueError
        return Question(self.query, self.document, frozenset(pages))


def read_questions(path: Path) -> list[Question]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        stop(f"there is no text file {path}")
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(Line.model_validate_json(line).question())
        except ValidationError as exc:
            first = exc.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            stop(f"{path}, line {number}: {place + ': ' if place else ''}{first['msg']}")
        except ValueError:
            stop(f"{path}, line {number}: a page needs a document")
    if not found:
        stop(f"there are no questions in {path}")
    return found
