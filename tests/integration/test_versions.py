"""New versions of a document: whole or not at all for search, cheap to index, the old ones kept while cited."""

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from tests.conftest import Tenant

DOCUMENTS = "/api/v1/documents"
PLANTS = [
    "almond", "bamboo", "cactus", "daisy", "elm", "fern", "ginger", "hazel", "iris", "jasmine", "kelp", "laurel",
    "maple", "nettle", "olive", "poppy", "quince", "rose", "sage", "thyme", "umbel", "violet", "willow", "yarrow",
    "zinnia", "acacia", "birch", "clover", "dahlia", "ebony", "fig", "grape", "heather", "ivy", "juniper", "lavender",
    "mint", "nutmeg", "oak", "pine",
]  # fmt: skip
FORTY = [
    f"Chapter {number} is about the {plant}. "
    + " ".join(f"Gardener {number * 20 + i} waters the {plant} on the {i}th day of each month." for i in range(1, 11))
    for number, plant in enumerate(PLANTS)
]
WATCHERS = 4
"""The versions come so fast that one alone would see few of them."""
COPIED = text("""
SELECT count(*) FILTER (WHERE e.xmin = c.xmin) AS copied, count(*) AS all
FROM chunks c JOIN chunk_embeddings e ON e.chunk_id = c.id WHERE c.document_id = :id
""")
"""A vector stored by the transaction that stored its chunk was there before; one from the model comes later."""


async def upload(tenant: Tenant, content: str, external_id: str = "manual") -> httpx.Response:
    files = {"file": ("manual.txt", content.encode())}
    return await tenant.http.post(DOCUMENTS, files=files, data={"external_id": external_id})


async def upload_ready(tenant: Tenant, content: str) -> dict[str, Any]:
    response = await upload(tenant, content)
    assert response.status_code == 202, response.text
    document = await tenant.ended(response.json()["id"])
    assert document["status"] == "ready", document
    return document


async def prune(tenant: Tenant, id_: str) -> None:
    await tenant.runtime.documents.prune(tenant.caller, UUID(id_))


async def stored(tenant: Tenant, id_: str) -> dict[int, str]:
    """Version to storage key, of those that have a row."""
    select = text("""
        SELECT version, storage_key FROM document_versions WHERE document_id = :id
        UNION ALL SELECT version, storage_key FROM documents WHERE id = :id
    """)
    async with tenant.runtime.owner.connect() as connection:
        return {row.version: row.storage_key for row in await connection.execute(select, {"id": id_})}


async def passages(tenant: Tenant, id_: str) -> dict[int, int]:
    """Version to how many there are of it."""
    select = text("SELECT document_version, count(*) FROM chunks WHERE document_id = :id GROUP BY 1")
    async with tenant.runtime.owner.connect() as connection:
        return {row[0]: row[1] for row in await connection.execute(select, {"id": id_})}


def place_of(tenant: Tenant, key: str) -> Path:
    return tenant.runtime.settings.data_dir / "files" / key


async def gone(path: Path) -> None:
    async with asyncio.timeout(20):
        while path.exists():
            await asyncio.sleep(0.05)


class Watcher:
    """Searches without pause; remembers which versions each answer came from."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.seen: list[list[tuple[int, str]]] = []

    async def run(self) -> None:
        body = {"query": "the code word of the lighthouse", "top_k": 50}
        while True:
            items = (await self._tenant.http.post("/api/v1/search", json=body)).json()["items"]
            self.seen.append([(item["document_version"], item["text"]) for item in items])
            await asyncio.sleep(0.005)


def lighthouse(number: int) -> str:
    return "\n\n".join(f"The code word of lighthouse {i} is mark{number}. " + f"Ships pass mark{number}. " * 40
                       for i in range(6))  # fmt: skip


async def test_ten_versions_at_once_and_search_sees_one_of_them_at_any_moment(tenant: Tenant) -> None:
    first = await upload_ready(tenant, lighthouse(0))
    watcher = Watcher(tenant)
    watching = asyncio.gather(*(watcher.run() for _ in range(WATCHERS)))
    answers = await asyncio.gather(*(upload(tenant, lighthouse(number)) for number in range(1, 11)))
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["id"] for answer in answers} == {first["id"]}
    assert sorted(answer.json()["version"] for answer in answers) == [*range(2, 12)]
    document = await tenant.ended(first["id"])
    assert (document["status"], document["version"], document["indexed_version"]) == ("ready", 11, 11)
    await asyncio.sleep(0.2)
    watching.cancel()

    whole = document["chunks"]
    assert len(watcher.seen) > 10
    for hits in watcher.seen:
        assert len({version for version, _ in hits}) == 1, hits
        assert len({mark for _, content in hits for mark in re.findall(r"mark\d+", content)}) == 1, hits
        assert len(hits) == whole
    assert {hits[0][0] for hits in watcher.seen} >= {1, 11}

    last = next(answer.json() for answer in answers if answer.json()["version"] == 11)
    assert (await tenant.http.get(f"{DOCUMENTS}/{first['id']}")).json()["sha256"] == last["sha256"]
    assert await passages(tenant, first["id"]) == {11: whole}


async def test_ten_versions_of_a_document_that_was_not_there(tenant: Tenant) -> None:
    answers = await asyncio.gather(*(upload(tenant, f"The code word is mark{number}.") for number in range(10)))
    assert sorted(answer.json()["version"] for answer in answers) == [*range(1, 11)]
    document = await tenant.ended(answers[0].json()["id"])
    assert (document["version"], document["indexed_version"], document["chunks"]) == (10, 10, 1)


async def test_the_same_bytes_at_once_under_one_external_id_are_one_version(tenant: Tenant) -> None:
    answers = await asyncio.gather(*(upload(tenant, FORTY[0]) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    assert (await tenant.ended(answers[0].json()["id"]))["version"] == 1


async def test_a_new_version_embeds_only_what_has_changed(tenant: Tenant) -> None:
    first = await upload_ready(tenant, "\n\n".join(FORTY))
    assert first["chunks"] >= 40
    changed = [*FORTY]
    changed[20] = changed[20].replace("waters", "prunes")
    second = await upload_ready(tenant, "\n\n".join(changed))
    async with tenant.runtime.owner.connect() as connection:
        copied, total = (await connection.execute(COPIED, {"id": first["id"]})).one()
    assert total == second["chunks"] == first["chunks"]
    assert 1 <= total - copied <= 3

    third = await upload_ready(tenant, "\n\n".join([*changed[:10], "One more paragraph about moss.", *changed[10:]]))
    async with tenant.runtime.owner.connect() as connection:
        copied, total = (await connection.execute(COPIED, {"id": first["id"]})).one()
    assert total == third["chunks"]
    assert 1 <= total - copied <= 6


async def test_a_cited_version_stays_readable_until_the_answer_is_deleted(tenant: Tenant) -> None:
    old, new = "The code word is pomegranate. " * 5, "The code word is jackfruit. " * 5
    id_ = (await upload_ready(tenant, old))["id"]
    session = await tenant.session()
    chat = {"message": "What is the code word?"}
    answer = (await tenant.http.post(f"/api/v1/sessions/{session}/chat", json=chat)).json()
    assert "pomegranate" in answer["content"]
    await upload_ready(tenant, new)
    await upload_ready(tenant, new + "Really.")

    messages = (await tenant.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]
    cited = messages[1]["sources"][0]
    assert (cited["document_id"], cited["document_version"]) == (id_, 1)
    content = f"{DOCUMENTS}/{id_}/content"
    keys = await stored(tenant, id_)
    assert [*sorted(keys)] == [1, 2, 3]
    await prune(tenant, id_)
    assert [*sorted(await stored(tenant, id_))] == [1, 3]
    await gone(place_of(tenant, keys[2]))
    assert (await tenant.http.get(content, params={"version": 1})).text == old
    assert (await tenant.http.get(content, params={"version": 2})).status_code == 404

    assert (await tenant.http.delete(f"/api/v1/sessions/{session}")).status_code == 204
    await prune(tenant, id_)
    assert [*await stored(tenant, id_)] == [3]
    await gone(place_of(tenant, keys[1]))
    assert (await tenant.http.get(content)).text == new + "Really."


async def test_versions_that_share_a_file_never_lose_it(tenant: Tenant) -> None:
    """Indexing anew makes a version of the same bytes."""
    id_ = (await upload_ready(tenant, FORTY[1]))["id"]
    for _ in range(2):
        assert (await tenant.http.post(f"{DOCUMENTS}/{id_}/reindex")).status_code == 202
        assert (await tenant.ended(id_))["status"] == "ready"
    keys = await stored(tenant, id_)
    assert len(keys) == 3
    assert len({*keys.values()}) == 1
    await prune(tenant, id_)
    assert [*await stored(tenant, id_)] == [3]
    assert (await tenant.http.get(f"{DOCUMENTS}/{id_}/content")).text == FORTY[1]

    session = await tenant.session()
    await tenant.http.post(f"/api/v1/sessions/{session}/chat", json={"message": "Who waters the bamboo?"})
    assert (await tenant.http.post(f"{DOCUMENTS}/{id_}/reindex")).status_code == 202
    assert (await tenant.ended(id_))["version"] == 4
    await upload_ready(tenant, FORTY[2])
    await prune(tenant, id_)
    assert [*sorted(await stored(tenant, id_))] == [3, 5]  # 4 shared the file of 3, which an answer cites
    assert (await tenant.http.get(f"{DOCUMENTS}/{id_}/content", params={"version": 3})).text == FORTY[1]
    await tenant.http.delete(f"/api/v1/sessions/{session}")
    await prune(tenant, id_)
    await gone(place_of(tenant, keys[3]))
    assert (await tenant.http.get(f"{DOCUMENTS}/{id_}/content")).text == FORTY[2]


async def test_a_version_that_fails_leaves_the_one_before_and_no_passages_of_others(tenant: Tenant) -> None:
    """Nor of one that it has overtaken in the middle."""
    first = await upload_ready(tenant, FORTY[3])
    assert (await upload(tenant, "\n\n".join(FORTY * 10))).status_code == 202
    async with asyncio.timeout(30):
        while 2 not in await passages(tenant, first["id"]):
            await asyncio.sleep(0.02)
    assert (await upload(tenant, " \n\t\n")).status_code == 202
    failed = await tenant.ended(first["id"])
    assert (failed["status"], failed["version"], failed["indexed_version"]) == ("failed", 3, 1)
    assert await passages(tenant, first["id"]) == {1: first["chunks"]}
    await prune(tenant, first["id"])
    assert [*sorted(await stored(tenant, first["id"]))] == [1, 3]
    found = (await tenant.http.post("/api/v1/search", json={"query": "Who waters the daisy?"})).json()["items"]
    assert {item["document_version"] for item in found} == {1}
    fourth = await upload_ready(tenant, FORTY[4])
    assert (fourth["version"], fourth["indexed_version"]) == (4, 4)


async def test_a_failed_document_that_is_sent_again_at_once_is_tried_again(tenant: Tenant) -> None:
    """The very moment its failure can be seen: the job that failed it must not pass for a new one's twin."""
    files = {"file": ("blank.txt", b" \n\t \n")}
    tries = 0
    async with asyncio.timeout(60):
        while tries < 15:
            answer = await tenant.http.post(DOCUMENTS, files=files)
            tries += answer.status_code == 202
    document = await tenant.ended(answer.json()["id"])
    assert (document["status"], document["error"]["code"]) == ("failed", "no_text")
