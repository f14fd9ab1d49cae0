"""The examples of docs/privacy.md do what they say, and every kind is in its table."""

import re

import pytest

from app.privacy import MaskingMap, mask
from app.privacy.entities import ENTITIES
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "privacy.md").read_text()


def examples() -> list[list[str]]:
    _, _, behind = PAGE.partition("<!-- run: masking -->\n")
    table, _, _ = behind.partition("\n\n")
    return [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]


def test_there_are_examples():
    assert len(examples()) > 10


@pytest.mark.parametrize(("text", "leaves_as"), examples())
def test_example(text, leaves_as):
    known = MaskingMap()
    assert mask(text, known) == leaves_as
    assert known.restore(leaves_as) == text


def test_every_kind_is_described():
    assert {entity.name for entity in ENTITIES} <= set(re.findall("`([A-Z_]+)`", PAGE))
