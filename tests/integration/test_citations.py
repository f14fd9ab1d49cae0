"""Citations: no marker is invented, each opens the text that it cites, also after a new version of the document."""

import asyncio
import gzip
import itertools
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest

from app.languages import get_language
from app.providers.ports import Delta, Finished, Passage, Prompt
from app.rag import evidence, extractive
from app.schemas.search import Source
from app.services import citing
from app.services.citing import Citing
from tests.conftest import ROOT, Tenant, shared
from tests.integration.conftest import Northwind
from tests.integration.test_turns import Process, messages, said

PLACE = {"document_id", "document_version", "chunk_id", "page", "char_start", "char_end"}
INVENTED = [
    "[9]", "[1][42]", "[1, 7]", "[ 3 ]", "[7][8] [9]", "[7; 8]", "[\u200b8\u200b]", "[^7]", "[8-9]", "[९]",
    "【3】", "【4†source】", "［5］", "〔6〕", "[[9]8]", "[1[9], 8]",
]  # fmt: skip
TURNS_AT_ONCE = 8
MENU = "Tea costs 15 rupees in the canteen. The canteen closes at nine in the evening. Lunch is not served on Sundays."


class Says:
    """A language model that says the same to everyone, in pieces."""

    name = "says"
    window = 8192

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta | Finished]:
        for piece in self._pieces:
            yield Delta(piece)
        yield Finished("stop")

    async def close(self) -> None: ...


class Chat(Process):
    def __init__(self, tenant: Tenant, *pieces: str) -> None:
        super().__init__(tenant, Says(*pieces))
        self.chat._citing = Citing(tenant.runtime.spaces)

    async def ask(self, session: str, content: str = "tell me", **options: Any) -> UUID:
        return await super().ask(session, content, use_rag=True, **options)


def collapsed(text: str) -> str:
    return " ".join(text.split())


def has_unknown(text: str, known: set[int]) -> bool:
    """By another road than the service's own pattern: any bracket with short numbers only."""
    for opening, closing in ("[]", "【】", "［］", "〔〕"):
        for part in text.split(opening)[1:]:
            inside = part.partition(closing)[0]
            digits = "".join(char if char.isdecimal() else " " for char in inside).split()
            plain = "…" not in inside and not any(char.isalpha() for char in inside.partition("†")[0])
            if plain and closing in part and any(len(d) < 4 and int(d) not in known for d in digits):
                return True
    return False


async def everywhere(chat: Chat, question: str) -> list[str]:
    """The text of deltas, final event, stored message, and the replay from the middle."""
    session = await chat.tenant.session()
    turn_id = await chat.ask(session, question)
    events = await chat.follow(turn_id)
    replay = await chat.tenant.http.get(f"/api/v1/turns/{turn_id}/events")
    final = next(event for event in events if event["type"] == "assistant_message")
    stored = (await messages(chat.tenant, session))[1]["content"]
    resumed = "".join(e["text"] for e in await chat.follow(turn_id, 2) if e["type"] == "delta")
    assert said(events) == final["content"] == stored == resumed
    return [said(events), final["answer"], stored, resumed, replay.text]


async def test_no_invented_marker_survives_however_the_text_is_cut(tenant: Tenant) -> None:
    await tenant.add_text(MENU, title="Menu")
    known = {1}
    text = "Tea costs 15 rupees. " + " and ".join(f"more {marker}" for marker in INVENTED) + " or so [2024] [a]. [1]"
    assert has_unknown(text, known)
    cuts = [[text], list(text), *([text[:at], text[at:]] for at in range(1, len(text), 7))]
    shown: list[list[str]] = []
    for at in range(0, len(cuts), TURNS_AT_ONCE):
        chats = [Chat(tenant, *pieces) for pieces in cuts[at : at + TURNS_AT_ONCE]]
        shown += await asyncio.gather(*(everywhere(chat, "What does tea cost?") for chat in chats))
    assert {each[0] for each in shown} == {shown[0][0]}
    for texts in shown:
        assert not any(has_unknown(each, known) for each in texts[:4]), texts[0]
    assert "[2024] [a]. [1]" in shown[0][0]


DOC = (ROOT / "docs" / "citations.md").read_text()
EXAMPLES = re.findall(r"^\| ([A-Z][^|]+\.) \| ([A-Z][^|]+\.|-) \|$", DOC, re.MULTILINE)


def test_the_page_gives_the_rules_numbers() -> None:
    constants = vars(evidence) | vars(citing)
    named = re.findall(r"`([A-Z_]+)` (\d+(?:\.\d+)?)", DOC)
    assert {name for name, _ in named} >= {"ENOUGH_SHARED", "LEAST_ALIKE", "ALIKE_IN_OTHER_WORDS", "MOST_EMBEDDED"}
    assert {name: float(value) for name, value in named} == {name: constants[name] for name, _ in named}
    assert f"at most {extractive.MAX_SENTENCES} and {extractive.MAX_CHARACTERS} characters" in DOC
    assert MENU in DOC.replace("\n", " ")
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize(("claim", "cited"), EXAMPLES)
async def test_what_is_supported_and_where(tenant: Tenant, claim: str, cited: str) -> None:
    document = await tenant.add_text("A word before.\n\n" + MENU, title="Menu")
    chat = Chat(tenant, f"{claim} [1]")
    session = await tenant.session()
    events = await chat.follow(
        await chat.ask(
            session, "What does tea cost in the canteen, when does the canteen close, is lunch served on Sundays?"
        )
    )
    citations = (await messages(tenant, session))[1]["citations"]
    told = [{name: e[name] for name in PLACE | {"n", "start", "end"}} for e in events if e["type"] == "citation"]
    assert told == citations
    assert bool(citations) == (cited != "-")
    for citation in citations:
        assert citation["document_id"] == document["id"]
        content = (await tenant.http.get(f"/api/v1/documents/{document['id']}/content")).text
        assert content[citation["char_start"] : citation["char_end"]] == cited


async def ask(tenant: Tenant, question: str) -> dict[str, Any]:
    session = await tenant.session()
    response = await tenant.http.post(f"/api/v1/sessions/{session}/chat", json={"message": question})
    assert response.status_code == 200, response.text
    return dict(response.json())


def check(answer: dict[str, Any]) -> int:
    """Every citation against the passage that the message keeps; how many there are."""
    sources = {source["n"]: source for source in answer["sources"]}
    for citation in answer["citations"]:
        source = sources[citation["n"]]
        assert {name: citation[name] for name in ("document_id", "document_version", "chunk_id", "page")} == {
            name: source[name] for name in ("document_id", "document_version", "chunk_id", "page")
        }
        first = source["char_start"]
        cited = source["text"][citation["char_start"] - first : citation["char_end"] - first]
        assert collapsed(cited) == collapsed(answer["content"][citation["start"] : citation["end"]])
    return len(answer["citations"])


THINGS = ["boiler", "pump", "crane", "ladder", "garage", "server", "printer", "kettle", "bridge", "harbour"]
PLACES = ["cellar", "tower", "office", "kitchen", "workshop"]
TOPICS = [*itertools.product(THINGS, PLACES)]


def manual(*, days: int) -> str:
    parts = [
        f"The {thing} of the {place}\n\nThe {thing} in the {place} is serviced every {days + i}\n  days by crew {i}.  "
        f"Spare parts of the {place} {thing} are kept in cabinet {i}. बदलने का समय सुबह है।"
        for i, (thing, place) in enumerate(TOPICS)
    ]
    return "\r\n\r\n".join(parts) + "\n"


async def test_citations_open_the_text_of_their_version(tenant: Tenant) -> None:
    """50 answers before and 50 after a new version; the old ones still open the old text."""
    old, new = manual(days=40), "New in this edition: nothing at all.\n\n" + manual(days=400)
    path = "/api/v1/documents"
    fields = {"external_id": "manual", "title": "manual"}
    body = {"title": "manual", "external_id": "manual"}
    answers: dict[int, list[dict[str, Any]]] = {}
    for version, content in ((1, old), (2, new)):
        response = await tenant.http.post(path, files={"file": ("manual.txt", content.encode())}, data=fields | body)
        document = await tenant.ended(response.json()["id"])
        assert (document["status"], document["version"]) == ("ready", version)
        answers[version] = [
            await ask(tenant, f"Every how many days is the {thing} in the {place} serviced by the crew?")
            for thing, place in TOPICS
        ]
    assert sum(check(answer) > 0 for answer in [*answers[1], *answers[2]]) >= 80
    right = 0
    for version, found in answers.items():
        response = await tenant.http.get(f"{path}/{document['id']}/content", params={"version": version})
        content = response.content.decode().replace("\r\n", "\n")
        for i, answer in enumerate(found):
            message = (await tenant.http.get(f"/api/v1/sessions/{answer['session_id']}/messages")).json()["items"][1]
            assert message["citations"] == answer["citations"]
            right += f"every {40 * 10 ** (version - 1) + i} days" in answer["content"]
            for citation in message["citations"]:
                assert citation["document_version"] == version
                opened = content[citation["char_start"] : citation["char_end"]]
                assert collapsed(opened) == collapsed(answer["content"][citation["start"] : citation["end"]])
    assert right >= 90


@pytest.mark.xdist_group("northwind")
@pytest.mark.timeout(300)
async def test_every_citation_of_the_answers_to_northwinds_questions(northwind: Northwind) -> None:
    tenant = northwind.tenant
    pieces = {document["id"]: await chunks(tenant, document["id"]) for document in northwind.documents}
    questions = [json.loads(line)["question"] for line in (northwind.folder / "qa.jsonl").read_text().splitlines()]
    count = answered = 0
    for question in questions:
        answer = await ask(tenant, question)
        found = check(answer)
        assert (found == 0) == (answer["content"] == get_language("en").no_answer)
        assert found == len(re.findall(r"\[\d\]", answer["content"]))
        answered += found > 0
        count += found
        for citation in answer["citations"]:
            text = opened(pieces[citation["document_id"]], citation)
            assert collapsed(text) == collapsed(answer["content"][citation["start"] : citation["end"]])
    assert answered >= 190
    assert count >= 500


async def chunks(tenant: Tenant, document_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        path = f"/api/v1/documents/{document_id}/chunks"
        page = (await tenant.http.get(path, params={"skip": len(found), "limit": 100})).json()
        found += page["items"]
        if len(found) >= page["total"]:
            return found


def opened(pieces: Sequence[dict[str, Any]], citation: dict[str, Any]) -> str:
    chunk = next(piece for piece in pieces if piece["id"] == citation["chunk_id"])
    assert chunk["page"] == citation["page"]
    text: str = chunk["text"]
    return text[citation["char_start"] - chunk["char_start"] : citation["char_end"] - chunk["char_start"]]


async def test_the_rule_parts_claims_from_other_abstracts(tenant: Tenant) -> None:
    """What docs/citations.md says of SciFact, on fewer pairs."""
    folder = shared("scifact")
    claims = {
        item["_id"]: item["text"] for item in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())
    }
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        abstracts = {item["_id"]: item for item in map(json.loads, lines)}
    rows = (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]
    pairs = [row.split("\t")[:2] for row in rows][::8]
    own = [await holds(tenant, claims[claim], abstracts[abstract]) for claim, abstract in pairs]
    others = pairs[len(pairs) // 2 :] + pairs[: len(pairs) // 2]
    foreign = [
        await holds(tenant, claims[claim], abstracts[abstract])
        for (claim, _), (_, abstract) in zip(pairs, others, strict=True)
    ]
    assert sum(own) >= 0.35 * len(pairs)
    assert sum(foreign) <= 0.02 * len(pairs)


async def holds(tenant: Tenant, claim: str, abstract: dict[str, Any]) -> bool:
    passage = Passage(1, abstract["title"], None, abstract["text"], 1.0)
    source = Source(n=1, document_id=None, title=abstract["title"], text=abstract["text"], score=1.0)
    return bool(await Citing(tenant.runtime.spaces).check(f"{claim} [1]", [passage], [source]))


async def test_a_model_that_cannot_be_asked_leaves_it_to_the_words(tenant: Tenant) -> None:
    passage = Passage(1, "Menu", None, MENU, 1.0)
    source = Source(n=1, document_id=None, title="Menu", text=MENU, score=1.0)
    content = "A cup of tea costs 15 rupees. [1] Lunch is served on Sundays. [1]"
    by_words = await Citing().check(content, [passage], [source])
    assert len(by_words) == 2
    by_both = await Citing(tenant.runtime.spaces).check(content, [passage], [source])
    assert [content[each["start"] : each["end"]] for each in by_both] == ["A cup of tea costs 15 rupees."]
