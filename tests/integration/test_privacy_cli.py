"""`ragchat privacy check` as a process: a table for people, JSON for scripts, and an exit code."""

import json

from app.privacy.entities import ENTITIES
from tests.integration.processes import Place


async def test_figures_of_every_kind(here: Place) -> None:
    table = await here.run("privacy", "check", "--each", "40")
    assert table.code == 0, table.out + table.err
    assert [line.split()[0] for line in table.out.splitlines()] == [
        "kind",
        *dict.fromkeys(entity.name for entity in ENTITIES),
    ]
    found = await here.run("privacy", "check", "--each", "40", "--json")
    figures = json.loads(found.out)
    assert figures["AADHAAR"] == {
        "recall": 1.0, "precision": 1.0, "named": 1.0, "positives": 40, "negatives": 40, "wrong": 0,
    }  # fmt: skip
    assert not here.data.exists()
