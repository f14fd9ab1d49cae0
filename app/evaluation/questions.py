"""Questions and what is expected of them: a set's lines in any of the spellings that we read.

{"query", "document"?, "page"? | "pages"?}                 one document, as `spaces compare` reads it
{"question", "evidence": [{"file", "page"?, "document_id"?}]}   any number of places
{"_id", "text"}                                            BEIR; what is right stands in qrels/*.tsv

Each may have `_id`, `history` and `answerable`: false expects a refusal.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple
from uuid import UUID

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from app.evaluation.errors import BadSet
from app.rag.conversation import Said
from app.schemas.common import FilledText, Id, Text

Page = Annotated[int, Field(ge=1)]


class Item(NamedTuple):
    """What counts as found once: a document, or one page of it. `document`: an external id, a title or a file name."""

    document: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """`relevant`: grades, none when nobody has said where the answer is. `answerable` False: to be refused."""

    id: str
    text: str
    relevant: Mapping[Item, int] = field(default_factory=dict)
    answerable: bool | None = None
    history: tuple[Said, ...] = ()
    documents: Mapping[str, UUID] = field(default_factory=dict)
    """Ids of documents of this instance, by the name that `relevant` uses."""

    @property
    def has_pages(self) -> bool:
        return any(item.page is not None for item in self.relevant)


class Evidence(BaseModel):
    model_config = ConfigDict(strict=True)

    file: Annotated[Text, Field(validation_alias=AliasChoices("file", "document", "title"))]
    page: Page | None = None
    document_id: Id | None = None


class SaidLine(BaseModel):
    model_config = ConfigDict(strict=True)

    speaker: Annotated[Text, Field(validation_alias=AliasChoices("speaker", "role"))]
    text: Annotated[Text, Field(validation_alias=AliasChoices("text", "content"))]


class Line(BaseModel):
    """`query`, and where its answer is: `document` is a title or a file name, `page` or `pages` count from 1."""

    model_config = ConfigDict(strict=True)

    id: Annotated[Text | int | None, Field(validation_alias=AliasChoices("_id", "id"))] = None
    query: Annotated[FilledText, Field(max_length=20_000, validation_alias=AliasChoices("query", "question", "text"))]
    document: Text | None = None
    page: Page | None = None
    pages: list[Page] = Field(default_factory=list)
    evidence: list[Evidence] = Field(default_factory=list)
    answerable: bool | None = None
    history: list[SaidLine] = Field(default_factory=list)

    def question(self, number: int, *, answerable: bool | None = None) -> Question:
        """ValueError for a page without a document."""
        pages = [*self.pages, *([self.page] if self.page is not None else [])]
        if pages and self.document is None:
            raise ValueError("a page needs a document")
        places: list[int | None] = [*pages] or [None]
        items = [Item(self.document, page) for page in places] if self.document is not None else []
        items += [Item(place.file, place.page) for place in self.evidence]
        return Question(
            id=str(self.id) if self.id is not None else str(number),
            text=self.query,
            relevant=dict.fromkeys(items, 1),
            answerable=self.answerable if self.answerable is not None else answerable,
            history=tuple(_said(line) for line in self.history),
            documents={place.file: place.document_id for place in self.evidence if place.document_id},
        )


def _said(line: SaidLine) -> Said:
    speaker = line.speaker.lower()
    return Said("user" if speaker in ("u", "user", "human") else "assistant", line.text)


def read_questions(path: Path) -> list[Question]:
    """A JSONL file. In one whose name begins with `unanswerable` nothing has an answer unless a line says so."""
    expected = False if path.name.startswith("unanswerable") else None
    found = []
    for number, text in text_lines(path):
        with bad_line(path, number):
            found.append(Line.model_validate_json(text).question(number, answerable=expected))
    if not found:
        raise BadSet(f"there are no questions in {path}")
    return found


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Those that are not blank, numbered from 1. Only \\n ends a line: U+2028 may stand in a text."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadSet(f"there is no text file {path}") from exc
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


@contextlib.contextmanager
def bad_line(path: Path, number: int) -> Iterator[None]:
    """Says which line is wrong, and how."""
    place = f"{path}, line {number}: "
    try:
        yield
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSet(f"{place}{where + ': ' if where else ''}{first['msg']}") from exc
    except ValueError as exc:
        raise BadSet(f"{place}{exc}") from exc
