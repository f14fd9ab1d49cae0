"""Sixty real documents, each sniffed and read in its child: ready, or refused with the code that fits."""

import asyncio
import csv
import os
from functools import cache

import pytest

from app.readers.document import Document
from app.readers.errors import UnreadableDocument
from app.readers.isolated import read_isolated
from app.readers.sniff import HEAD_BYTES, sniff
from tests.unit.readers.files import SHARED

SET = SHARED / "documents"
REFUSED = {
    "password.pdf": "encrypted",
    "r3-user-password.pdf": "encrypted",
    "r4-aes-user-password.pdf": "encrypted",
    "single_table.pdf": "no_text",
    "loremipsum-flat.pdf": "no_text",
    "fake-text-all-whitespace.txt": "no_text",
    "empty.txt": "empty_file",
}
"""Everything else is ready; r6-user-password.pdf opens with its empty owner password."""
PAGES = {
    "Seige_of_Vicksburg_Sample_OCR.pdf": 6,
    "copy-protected.pdf": 2,
    "failure-after-repair.pdf": 76,
    "fake-memo-with-duplicate-page.pdf": 2,
    "invalid-pdf-structure-pdfminer-one-page.pdf": 2,
    "layout-parser-paper-fast.pdf": 2,
    "list-item-example.pdf": 2,
    "multi-column-2p.pdf": 2,
}
"""Every other PDF of the set has one."""
PHRASES = {
    "multilang.pdf": "你好世界",
    "korean-text-with-tables.pdf": "적립 제외 대상",
    "copy-protected.pdf": "LayoutParser: A Unified Toolkit",
    "fake-bold-sample.pdf": "BOLD TEXT SAMPLE",
    "rotated-page-90.pdf": "Rotated page fixture",
    "r6-user-password.pdf": "pdf encryption test",
    "handbook-872p.docx": "Executive Office for United States Trustees",
    "eng_spa_mult.doc": "All human beings are born free and equal",
    "UDHR_first_article_all.txt": "ప్రతిపత్తి",
    "example-steelJIS-datasheet-utf-16.html": "0.39 - 0.46 | 0.2 - 0.35",
    "example-with-scripts.html": "Russian Offensive Campaign Assessment",
    "ideas-page.html": "The way to get new ideas is to notice anomalies",
    "book-war-and-peace-1225p.txt": "Well, Prince, so Genoa and Lucca",
    "duplicate-paragraphs.doc": "This document contains duplicates",
    "teams_chat.docx": "OK. Yeah.",
    "simple-table.md": "Juicy Apples",
}


@cache
def manifest() -> list[dict[str, str]]:
    if not (SET / "manifest.csv").exists():
        pytest.skip("not present: documents/manifest.csv")
    with (SET / "manifest.csv").open(newline="", encoding="utf-8") as rows:
        return list(csv.DictReader(rows))


async def outcome(name: str, turns: asyncio.Semaphore) -> Document | str:
    path = SET / "files" / name
    try:
        kind = sniff(path.read_bytes()[:HEAD_BYTES], name)
        async with turns:
            return await read_isolated(path, kind)
    except UnreadableDocument as exc:
        return exc.code


@pytest.fixture(scope="module")
async def outcomes() -> dict[str, Document | str]:
    turns = asyncio.Semaphore(os.cpu_count() or 1)
    names = [row["file"] for row in manifest()]
    return dict(zip(names, await asyncio.gather(*(outcome(name, turns) for name in names)), strict=True))


def ready(outcomes: dict[str, Document | str], name: str) -> Document:
    found = outcomes[name]
    assert isinstance(found, Document), f"{name}: {found}"
    return found


def test_each_file_is_ready_or_refused_as_expected(outcomes: dict[str, Document | str]) -> None:
    assert len(outcomes) == 60
    codes = {name: found for name, found in outcomes.items() if isinstance(found, str)}
    assert codes == REFUSED


def test_pdf_pages_are_all_there_and_other_formats_have_none(outcomes: dict[str, Document | str]) -> None:
    for name in outcomes.keys() - REFUSED.keys():
        numbers = [page.number for page in ready(outcomes, name).pages]
        expected = list(range(1, PAGES.get(name, 1) + 1)) if name.endswith(".pdf") else [None]
        assert numbers == expected, name


def test_the_text_holds_what_a_reader_of_the_file_sees(outcomes: dict[str, Document | str]) -> None:
    missing = {name for name, phrase in PHRASES.items() if phrase not in ready(outcomes, name).text}
    assert missing == set()


def test_scripts_are_not_text(outcomes: dict[str, Document | str]) -> None:
    text = ready(outcomes, "example-with-scripts.html").text
    assert not {word for word in ("function(", "var ", "jQuery") if word in text}


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        *((f"fake-text-utf-{form}.txt", "fake-text.txt") for form in ("16", "16-be", "16-le", "32")),
        ("umlauts-non-utf8.md", "umlauts-utf8.md"),
    ],
)
def test_twins_read_the_same(outcomes: dict[str, Document | str], name: str, twin: str) -> None:
    assert ready(outcomes, name).text.split() == ready(outcomes, twin).text.split()
