"""The examples of docs/privacy.md do what they say, and every kind is in its table."""

import re
import shlex
import subprocess

import pytest

from app.core.settings import Settings
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


def table(heading: str) -> list[list[str]]:
    rows = PAGE.split(f"## {heading}")[1].split("\n\n|")[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows[2:]]


def test_everything_that_gets_something_is_named():
    """A setting that makes the service speak to somebody else is in the table."""
    told = set(re.findall("`([A-Z0-9_]+)`", " ".join(cell for row in table("Who gets what") for cell in row)))
    outward = {name.upper() for name in Settings.model_fields if re.search("url$|uri$|bucket$|model_id$|hosts$", name)}
    assert outward - {"LINK_ALLOWED_HOSTS"} <= told  # where answers may lead to
    assert told <= {name.upper() for name in Settings.model_fields}


def test_the_key_that_the_page_makes_is_one():
    command = re.search(r"<!-- run: key -->\n```sh\n(.*?)\n```", PAGE)
    assert command is not None
    made = subprocess.run(shlex.split(command[1]), capture_output=True, text=True, check=True).stdout.strip()
    assert Settings(_env_file=None, masking_key=made).masking_keys == (made,)
