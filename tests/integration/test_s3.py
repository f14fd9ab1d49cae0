"""The service with its files in a bucket: accepted, indexed, read back, linked, deleted for good."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import URL

from tests import s3_server as servers
from tests.conftest import Service, Tenant, make_database, make_settings, serving
from tests.integration.processes import Done, free_port, place
from tests.s3_server import Bucket, Unruly, front, hang_up, new_bucket

s3_server, aws_environment = servers.s3_server, servers.aws_environment
DOCUMENTS = "/api/v1/documents"
TEXT = b"The lighthouse keeper feeds the quokka at noon. "
PADDING = 12 << 20


@dataclass(frozen=True)
class Kept:
    tenant: Tenant
    bucket: Bucket
    data: Path


@pytest.fixture
async def own_database(postgres: URL) -> str:
    """The worker of another test's service would look for the files elsewhere."""
    return await make_database(postgres, "s3")


@pytest.fixture
async def kept(s3_server: str, aws_environment: None, own_database: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with new_bucket(s3_server) as bucket:
        await bucket.s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
        settings = make_settings(
            database_url=own_database, data_dir=tmp_path, s3_bucket=bucket.name, s3_prefix="ragchat/",
            s3_endpoint_url=s3_server,
        )  # fmt: skip
        async with serving(settings) as (address, runtime):
            service = Service(address, runtime)
            caller, key = await service.tenant()
            async with service.client(key) as http:
                yield Kept(Tenant(service, caller, key, http), bucket, tmp_path)


async def emptied(bucket: Bucket) -> None:
    async with asyncio.timeout(30):
        while await bucket.versions():
            await asyncio.sleep(0.05)


async def test_from_the_upload_to_the_last_version(kept: Kept) -> None:
    tenant, data = kept.tenant, b"<p>" + TEXT + b"</p><!--" + b"x" * PADDING + b"-->"
    response = await tenant.http.post(DOCUMENTS, files={"file": ("quokka ☕.html", data)}, data={"external_id": "q"})
    document = await tenant.ended(response.json()["id"])
    assert (document["status"], document["error"]) == ("ready", None)
    assert [key.rpartition("/")[0] for key in await kept.bucket.versions()] == [f"ragchat/{tenant.caller.tenant_id}"]
    assert [path for path in (kept.data / "files").rglob("*") if path.is_file()] == []

    found = (await tenant.http.post("/api/v1/search", json={"query": "Who feeds the quokka?"})).json()["items"]
    assert "lighthouse keeper" in found[0]["text"]

    url = f"{DOCUMENTS}/{document['id']}/content"
    whole = await tenant.http.get(url)
    assert (whole.status_code, whole.content) == (200, data)
    part = await tenant.http.get(url, headers={"Range": f"bytes=4000000-{4 * 2**20 + 9}"})
    assert (part.status_code, part.content) == (206, data[4_000_000 : 4 * 2**20 + 10])

    link = (await tenant.http.get(f"{DOCUMENTS}/{document['id']}/link", params={"seconds": 60})).json()["url"]
    assert urlsplit(link).netloc == urlsplit(kept.bucket.endpoint_url).netloc
    async with httpx.AsyncClient() as http:
        given = await http.get(link)
    assert given.content == data
    assert given.headers["content-disposition"] == whole.headers["content-disposition"]
    assert given.headers["content-type"] == whole.headers["content-type"]

    again = await tenant.http.post(DOCUMENTS, json={"title": "q", "text": "Another version.", "external_id": "q"})
    assert (await tenant.ended(again.json()["id"]))["version"] == 2
    assert len(await kept.bucket.versions()) == 2
    assert (await tenant.http.delete(f"{DOCUMENTS}/{document['id']}")).status_code == 204
    await emptied(kept.bucket)


async def test_what_is_refused_leaves_nothing_in_the_bucket(kept: Kept) -> None:
    response = await kept.tenant.http.post(DOCUMENTS, files={"file": ("virus.exe", b"MZ\x90\x00" + bytes(6 << 20))})
    assert response.status_code == 415
    first = await kept.tenant.add_text("The same bytes.")
    assert (await kept.tenant.add_text("The same bytes."))["id"] == first["id"]
    assert len(await kept.bucket.versions()) == 1


async def test_a_file_that_is_lost_is_a_problem_and_no_broken_answer(kept: Kept) -> None:
    document = await kept.tenant.add_text("Somebody empties the bucket by hand.")
    for key in await kept.bucket.versions():
        await kept.bucket.s3.delete_object(Bucket=kept.bucket.name, Key=key)
    response = await kept.tenant.http.get(f"{DOCUMENTS}/{document['id']}/content")
    assert (response.status_code, response.json()["code"]) == (404, "file_missing")


async def test_the_service_starts_and_goes_on_without_the_bucket(
    s3_server: str, aws_environment: None, own_database: str, tmp_path: Path
) -> None:
    port = free_port()
    async with new_bucket(s3_server) as bucket:
        settings = make_settings(
            database_url=own_database, data_dir=tmp_path, s3_bucket=bucket.name,
            s3_endpoint_url=f"http://127.0.0.1:{port}",
        )  # fmt: skip
        async with serving(settings) as (address, runtime):
            service = Service(address, runtime)
            caller, key = await service.tenant()
            async with service.client(key) as http:
                tenant = Tenant(service, caller, key, http)
                ready = await http.get("/readyz")
                assert (ready.status_code, ready.json()["checks"]["storage"]) == (503, "storage_unavailable")
                assert (await http.get("/livez")).status_code == 200
                upload = await http.post(DOCUMENTS, json={"title": "a", "text": "A new note."})
                assert (upload.status_code, upload.json()["code"]) == (503, "storage_unavailable")
                assert bucket.name not in upload.text
                assert (await http.get(DOCUMENTS)).json()["total"] == 0
                async with front(bucket.endpoint_url, Unruly("", "", hang_up), port=port), asyncio.timeout(30):
                    while (await http.get("/readyz")).status_code != 200:
                        await asyncio.sleep(0.2)
                    document = await tenant.add_text("A new note.")
                    assert document["status"] == "ready"
                    assert (await http.delete(f"{DOCUMENTS}/{document['id']}")).status_code == 204
                    await emptied(bucket)


async def test_doctor_asks_the_bucket(s3_server: str, aws_environment: None) -> None:
    async with new_bucket(s3_server) as bucket, place(s3_bucket=bucket.name, s3_endpoint_url=s3_server) as here:
        credentials = {name.lower(): os.environ[name] for name in os.environ if name.startswith("AWS_")}
        well = await here.run("doctor", "--json", **credentials)
        assert {"name": "file storage", "works": True, "detail": f"bucket {bucket.name}"}.items() <= finding(
            well
        ).items()
        assert not here.data.exists()
        ill = await here.run("doctor", "--json", **credentials, s3_bucket="not-there-at-all")
        assert (ill.code, finding(ill)["works"]) == (1, False)


def finding(done: Done) -> dict[str, Any]:
    return next(item for item in json.loads(done.out) if item["name"] == "file storage")
