import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from app.core.ids import new_id
from tests.api.test_hostile_tools import check_problem
from tests.conftest import MakeTenant, Tenant
from tests.unit.readers.files import pdf

DOCUMENTS = "/api/v1/documents"
TEXT = "The tea shop opens at nine.\n\nMonsoon sale: all umbrellas are 20 % off in July."


class TestCreate:
    async def test_text_becomes_ready_and_can_be_found(self, tenant: Tenant) -> None:
        response = await tenant.http.post(DOCUMENTS, json={"title": "Shop", "text": TEXT, "metadata": {"a": 1}})
        queued = response.json()
        assert response.status_code == 202
        assert response.headers["Location"] == f"{DOCUMENTS}/{queued['id']}"
        assert (queued["status"], queued["metadata"], queued["kind"]) == ("queued", {"a": 1}, "txt")
        ready = await tenant.ended(queued["id"])
        assert (ready["status"], ready["error"], ready["version"], ready["indexed_version"]) == ("ready", None, 1, 1)
        assert ready["progress"] == {"stage": "ready", "done": ready["chunks"], "total": ready["chunks"]}
        found = (await tenant.http.post("/api/v1/search", json={"query": "umbrella discount"})).json()
        assert found["items"][0]["document_id"] == queued["id"]
        assert "20 % off" in found["items"][0]["text"]

    async def test_file_with_fields(self, tenant: Tenant, tmp_path: Path) -> None:
        path = tmp_path / "దుకాణం ☕.md"
        path.write_text("# Prices\n\nA cup of tea costs 15 rupees.")
        metadata = {"shop": "Hyderabad", "prices": [15]}
        ready = await tenant.add_file(path, collection="menu", lang="en", metadata=json.dumps(metadata))
        assert (ready["lang"], ready["metadata"]) == ("en", metadata)
        form = {"text": (None, "Coffee costs 20 rupees."), "metadata": (None, '{"a": null}')}
        typed = await tenant.http.post(DOCUMENTS, files=form)
        assert typed.json()["metadata"] == {"a": None}
        assert (ready["title"], ready["filename"], ready["collection"]) == (path.name, path.name, "menu")
        assert (ready["kind"], ready["status"]) == ("md", "ready")

    async def test_a_language_that_is_not_spoken_is_refused_as_in_chat(self, tenant: Tenant) -> None:
        refused = await tenant.http.post(DOCUMENTS, json={"title": "a", "text": TEXT, "lang": "xx"})
        assert check_problem(refused, 400, "unsupported_language")["errors"][0]["pointer"] == "/lang"
        refused = await tenant.http.post("/api/v1/search", json={"query": "umbrella", "filters": {"lang": "xx"}})
        assert check_problem(refused, 400, "unsupported_language")["errors"][0]["pointer"] == "/filters/lang"

    async def test_same_bytes_again_are_the_same_document(self, tenant: Tenant) -> None:
        first = await tenant.http.post(DOCUMENTS, json={"title": "a", "text": TEXT})
        again = await tenant.http.post(DOCUMENTS, json={"title": "b", "text": TEXT})
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        others = [
            {"external_id": "x"},
            {"external_id": "y"},
            {"collection": "c"},
            {"collection": "c", "external_id": "x"},
        ]
        made = [await tenant.http.post(DOCUMENTS, json={"title": "a", "text": TEXT} | more) for more in others]
        assert [response.status_code for response in made] == [202] * 4
        repeated = [await tenant.http.post(DOCUMENTS, json={"title": "a", "text": TEXT} | more) for more in others]
        assert [response.json()["id"] for response in repeated] == [response.json()["id"] for response in made]
        assert len({first.json()["id"], *(response.json()["id"] for response in made)}) == 5

    async def test_a_hundred_at_once_are_one_document(self, tenant: Tenant) -> None:
        async def upload() -> tuple[int, str]:
            while True:
                response = await tenant.http.post(DOCUMENTS, json={"title": "a", "text": TEXT})
                if response.status_code != 503:  # a busy machine may say so, and mean it
                    return response.status_code, response.json()["id"]
                assert response.json()["code"] == "database_busy"
                await asyncio.sleep(float(response.headers["Retry-After"]))

        answers = await asyncio.gather(*(upload() for _ in range(100)))
        assert len({id_ for _, id_ in answers}) == 1
        assert sorted(code for code, _ in answers) == [200] * 99 + [202]
        ready = await tenant.ended(answers[0][1])
        chunks = (await tenant.http.get(f"{DOCUMENTS}/{ready['id']}/chunks")).json()
        assert chunks["total"] == ready["chunks"] == 1

    async def test_other_bytes_under_the_same_external_id_are_a_new_version(self, tenant: Tenant) -> None:
        first = await tenant.add_text("The code word is pomegranate.", external_id="word")
        second = await tenant.add_text("The code word is jackfruit.", external_id="word")
        assert (second["id"], second["version"], second["indexed_version"]) == (first["id"], 2, 2)
        found = (await tenant.http.post("/api/v1/search", json={"query": "code word"})).json()["items"]
        assert [item["text"] for item in found] == ["The code word is jackfruit."]


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "data", "status", "code"),
        [
            ("virus.exe", b"MZ\x90\x00", 415, "unsupported_type"),
            ("logo.svg", b"<svg/>", 415, "unsupported_type"),
            ("noname", b"text", 415, "unsupported_type"),
            ("report.pdf.exe", b"%PDF-1.7", 415, "unsupported_type"),
            ("report.pdf", b"MZ\x90\x00" + bytes(200), 415, "type_mismatch"),
            ("report.docx", b"%PDF-1.7\n", 415, "type_mismatch"),
            ("empty.txt", b"", 400, "empty_file"),
        ],
    )
    async def test_by_name_or_content(self, tenant: Tenant, name: str, data: bytes, status: int, code: str) -> None:
        response = await tenant.http.post(DOCUMENTS, files={"file": (name, data)})
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert (await tenant.http.get(DOCUMENTS)).json()["total"] == 0

    async def test_neither_file_nor_text(self, tenant: Tenant) -> None:
        response = await tenant.http.post(DOCUMENTS, files={"other": (None, "x")})
        assert response.status_code == 400

    async def test_wrong_media_type(self, tenant: Tenant) -> None:
        response = await tenant.http.post(DOCUMENTS, content=b"text", headers={"Content-Type": "text/plain"})
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_type")


class TestFailed:
    async def test_unreadable_document_says_why_and_others_go_on(self, tenant: Tenant) -> None:
        broken = await tenant.http.post(DOCUMENTS, files={"file": ("broken.pdf", b"%PDF-1.7\n" + b"x" * 500)})
        fine = await tenant.add_text(TEXT)
        failed = await tenant.ended(broken.json()["id"])
        assert fine["status"] == "ready"
        assert (failed["status"], failed["error"]["code"]) == ("failed", "bad_file")
        assert failed["error"]["detail"]
        assert failed["indexed_version"] is None

    async def test_white_space_only_holds_no_text(self, tenant: Tenant) -> None:
        response = await tenant.http.post(DOCUMENTS, files={"file": ("blank.txt", b" \n\t \n")})
        error = (await tenant.ended(response.json()["id"]))["error"]
        assert error == {"code": "no_text", "detail": "The document holds no text."}
        response = await tenant.http.post(DOCUMENTS, files={"file": ("blank.pdf", pdf(["", ""]))})
        error = (await tenant.ended(response.json()["id"]))["error"]
        assert (error["code"], "a scan needs text recognition" in error["detail"]) == ("no_text", True)

    async def test_sending_a_failed_document_again_retries_it(self, tenant: Tenant) -> None:
        files = {"file": ("broken.pdf", b"%PDF-1.7\n" + b"y" * 500)}
        first = (await tenant.http.post(DOCUMENTS, files=files)).json()
        await tenant.ended(first["id"])
        again = await tenant.http.post(DOCUMENTS, files=files)
        assert (again.status_code, again.json()["id"], again.json()["status"]) == (202, first["id"], "queued")
        assert (await tenant.ended(first["id"]))["status"] == "failed"


class TestContent:
    async def test_whole_part_and_validators(self, tenant: Tenant, tmp_path: Path) -> None:
        path = tmp_path / "prices ₹.txt"
        path.write_text(TEXT)
        document = await tenant.add_file(path)
        url = f"{DOCUMENTS}/{document['id']}/content"
        whole = await tenant.http.get(url)
        assert whole.content == path.read_bytes()
        assert whole.headers["etag"] == f'"{hashlib.sha256(whole.content).hexdigest()}"'
        assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''prices%20%E2%82%B9.txt"
        assert "sandbox" in whole.headers["content-security-policy"]
        part = await tenant.http.get(url, headers={"Range": "bytes=4-6"})
        assert (part.status_code, part.content) == (206, whole.content[4:7])
        assert part.headers["content-range"] == f"bytes 4-6/{len(whole.content)}"
        tail = await tenant.http.get(url, headers={"Range": "bytes=-5"})
        assert tail.content == whole.content[-5:]
        assert (await tenant.http.get(url, headers={"Range": "bytes=999999-"})).status_code == 416
        many = await tenant.http.get(url, headers={"Range": "bytes=" + ",".join(["0-"] * 3000)})
        assert (many.status_code, many.content) == (200, whole.content)
        assert (await tenant.http.get(url, headers={"If-None-Match": whole.headers["etag"]})).status_code == 304

    @pytest.mark.parametrize(
        ("data", "content_type"),
        [
            ("సెలవు 24 days".encode(), "text/plain; charset=utf-8"),
            ("l’été".encode("cp1252"), "text/plain"),
            ("సెలవు".encode("utf-16"), "text/plain"),
            ("a long one é ".encode() * 30_000, "text/plain"),
        ],
        ids=["utf-8", "cp1252", "utf-16", "not looked through"],
    )
    async def test_claims_no_encoding_that_it_does_not_have(
        self, tenant: Tenant, data: bytes, content_type: str
    ) -> None:
        document = (await tenant.http.post(DOCUMENTS, files={"file": ("a.txt", data)})).json()
        url = f"{DOCUMENTS}/{document['id']}/content"
        whole = await tenant.http.get(url)
        assert (whole.content, whole.headers["content-type"]) == (data, content_type)
        part = await tenant.http.get(url, headers={"Range": "bytes=1-4"})
        assert (part.content, part.headers["content-type"]) == (data[1:5], "text/plain")


class TestChunks:
    async def test_spans_point_into_the_text(self, tenant: Tenant, tmp_path: Path) -> None:
        text = "\n\n".join(f"Paragraph {i}. " + "అమ్మ ఇంటికి వచ్చింది. Rice and dal. " * 20 for i in range(12))
        path = tmp_path / "long.txt"
        path.write_text(text)
        document = await tenant.add_file(path)
        chunks = (await tenant.http.get(f"{DOCUMENTS}/{document['id']}/chunks", params={"limit": 200})).json()["items"]
        assert len(chunks) == document["chunks"] > 3
        assert [chunk["chunk_index"] for chunk in chunks] == [*range(len(chunks))]
        assert all(chunk["text"] == text[chunk["char_start"] : chunk["char_end"]] for chunk in chunks)
        assert all(chunk["page"] is None for chunk in chunks)


class TestDelete:
    async def test_nothing_is_left(self, tenant: Tenant) -> None:
        document = await tenant.add_text("The canary sings zyzzogeton.")
        files = tenant.runtime.settings.data_dir / "files" / str(tenant.caller.tenant_id)
        assert len([*files.iterdir()]) == 1
        assert (await tenant.http.delete(f"{DOCUMENTS}/{document['id']}")).status_code == 204
        for suffix in ("", "/chunks", "/content"):
            assert (await tenant.http.get(f"{DOCUMENTS}/{document['id']}{suffix}")).status_code == 404
        assert (await tenant.http.post("/api/v1/search", json={"query": "zyzzogeton"})).json()["items"] == []
        async with asyncio.timeout(10):
            while [*files.iterdir()]:
                await asyncio.sleep(0.05)

    async def test_old_answers_keep_its_place_only(self, tenant: Tenant) -> None:
        document = await tenant.add_text("The canary sings zyzzogeton.", title="Birds")
        session = await tenant.session()
        await tenant.http.post(f"/api/v1/sessions/{session}/chat", json={"message": "What does the canary sing?"})
        await tenant.http.delete(f"{DOCUMENTS}/{document['id']}")
        answer = (await tenant.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"][1]
        assert [(s["title"], s["text"]) for s in answer["sources"]] == [("(deleted document)", None)]
        events = (await tenant.http.get(f"/api/v1/turns/{answer['turn_id']}/events")).text
        listed = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ")]
        docs = [doc for event in listed for doc in event.get("docs", [])]
        assert [(doc["title"], doc["text"]) for doc in docs] == [("(deleted document)", None)] * 2

    async def test_during_processing_it_never_comes_back(self, tenant: Tenant) -> None:
        ids = []
        for i in range(10):
            text = f"Number {i}. " + "Many words about tea. " * 400
            ids.append((await tenant.http.post(DOCUMENTS, json={"title": str(i), "text": text})).json()["id"])
            await asyncio.sleep(0.02 * i)
            assert (await tenant.http.delete(f"{DOCUMENTS}/{ids[-1]}")).status_code == 204
        last = await tenant.add_text(TEXT)
        listed = (await tenant.http.get(DOCUMENTS)).json()["items"]
        assert [item["id"] for item in listed] == [last["id"]]
        found = (await tenant.http.post("/api/v1/search", json={"query": "words about tea", "top_k": 50})).json()
        assert {item["document_id"] for item in found["items"]} == {last["id"]}


class TestVersions:
    async def test_an_old_answer_opens_the_text_that_it_cited(self, tenant: Tenant) -> None:
        first = await tenant.add_text("Parking costs four coins.", external_id="parking")
        session = await tenant.session()
        await tenant.http.post(f"/api/v1/sessions/{session}/chat", json={"message": "What does parking cost?"})
        second = await tenant.add_text("Parking costs nine coins.", external_id="parking")
        assert (first["id"], first["version"], second["version"]) == (second["id"], 1, 2)
        answer = (await tenant.http.get(f"/api/v1/sessions/{session}/messages")).json()["items"][1]
        (source,) = answer["sources"]
        assert "four coins" in source["text"]
        old = (await tenant.http.get(source["url"])).text
        assert old[source["char_start"] : source["char_end"]] == source["text"]
        new = (await tenant.http.post("/api/v1/search", json={"query": "parking cost"})).json()["items"]
        assert ["nine" in item["text"] for item in new] == [True]
        assert "nine coins" in (await tenant.http.get(new[0]["url"])).text
        assert "nine coins" in (await tenant.http.get(f"{DOCUMENTS}/{first['id']}/content")).text

    async def test_a_version_that_is_not_kept(self, tenant: Tenant) -> None:
        document = await tenant.add_text("Parking is free.")
        response = await tenant.http.get(f"{DOCUMENTS}/{document['id']}/content", params={"version": 7})
        assert (response.status_code, response.json()["code"]) == (404, "version_not_found")
        refused = await tenant.http.get(f"{DOCUMENTS}/{document['id']}/content", params={"version": "0"})
        assert refused.status_code == 400


class TestForeign:
    async def test_another_tenants_document_looks_like_an_unknown_one(self, new_tenant: MakeTenant) -> None:
        mine, other = await new_tenant(), await new_tenant()
        theirs = (await other.add_text("Only here: quokka."))["id"]
        for method, suffix in (("GET", ""), ("GET", "/chunks"), ("GET", "/content"), ("DELETE", "")):
            answers = []
            for id_ in (theirs, str(new_id())):
                response = await mine.http.request(method, f"{DOCUMENTS}/{id_}{suffix}")
                answers.append((response.status_code, response.json()["code"], response.json()["detail"]))
            assert answers[0] == answers[1]
            assert answers[0][0] == 404
        assert (await mine.http.post("/api/v1/search", json={"query": "quokka"})).json()["items"] == []
        asked = {"query": "quokka", "filters": {"document_ids": [theirs]}}
        assert (await mine.http.post("/api/v1/search", json=asked)).status_code == 404
        assert (await other.http.get(f"{DOCUMENTS}/{theirs}")).status_code == 200
