"""The contract as a document, and what every route does without a credential."""

from typing import Any

import pytest

from app.api.errors import MEDIA_TYPE
from app.api.openai_errors import is_openai_path
from app.core.ids import new_id
from tests.api.test_hostile_tools import check_problem
from tests.conftest import Service, Tenant

PUBLIC = {"/", "/health", "/livez", "/readyz"}
OPEN = {f"/api/v1/{path}" for path in ("auth/register", "auth/login", "auth/refresh", "erasures/{address}")}
"""For those who have no credentials: yet, or any more."""


@pytest.fixture(scope="session")
async def document(service: Service) -> dict[str, Any]:
    async with service.client() as http:
        return dict((await http.get("/openapi.json")).json())


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, op) for path, methods in document["paths"].items() for method, op in methods.items()]


def takes_key(path: str, operation: dict[str, Any]) -> bool:
    """422 is for the Idempotency-Key alone."""
    content = operation["responses"]["422"]["content"]
    return [*content] == [media_type(path)] and "Idempotency-Key" in str(operation["parameters"])


def media_type(path: str) -> str:
    return "application/json" if is_openai_path(path) else MEDIA_TYPE


async def test_every_operation_reads_well(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for path, method, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["tags"], (method, path)
        assert "422" not in operation["responses"] or takes_key(path, operation), (method, path)
        if path not in PUBLIC | OPEN:
            assert {"ApiKey", "Bearer"} == {name for item in operation["security"] for name in item}, (method, path)
            assert media_type(path) in operation["responses"]["401"]["content"]
    assert {"ApiKey", "Bearer"} == set(document["components"]["securitySchemes"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_what_has_no_body_has_no_media_type(tenant: Tenant) -> None:
    hook = (await tenant.http.post("/api/v1/webhooks", json={"url": "https://1.1.1.1/hook"})).headers["location"]
    document = (await tenant.http.post("/api/v1/documents", json={"title": "a", "text": "a"})).headers["location"]
    for path in (f"/api/v1/sessions/{await tenant.session()}", hook, document):
        deleted = await tenant.http.delete(path)
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert "content-type" not in deleted.headers


async def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None:
            schema = body["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert schema.get("examples"), (method, path)


async def test_every_route_but_the_public_ones_wants_a_key(document: dict[str, Any], service: Service) -> None:
    async with service.client() as http:
        for path, method, _ in operations(document):
            url = path
            for name in ("session_id", "document_id", "turn_id", "user_id"):
                url = url.replace("{" + name + "}", str(new_id()))
            response = await http.request(method, url, content=b"not even json")
            if path in PUBLIC:
                assert response.status_code == 200, path
                continue
            if path in OPEN:
                check_problem(response, 404 if method == "get" else 415)
                continue
            assert response.status_code == 401, (method, path)
            assert response.headers["content-type"] == media_type(path)
            assert "Bearer" in response.headers["www-authenticate"]
            told = response.json()
            assert (told["error"] if is_openai_path(path) else told)["code"] == "unauthorized"


async def test_credentials(service: Service) -> None:
    _, key = await service.tenant()
    _, other = await service.tenant()
    async with service.client() as http:

        async def status(**headers: str) -> int:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return (await http.get("/api/v1/sessions", headers=sent)).status_code

        assert await status(X_API_Key=key) == 200
        assert await status(Authorization=f"Bearer {key}") == 200
        assert await status(X_API_Key=key, Authorization=f"Bearer {key}") == 200
        assert await status(X_API_Key=key, Authorization=f"Bearer {other}") == 400
        assert await status(X_API_Key="") == 401
        assert await status(X_API_Key="k" * 10_000) == 401
        assert (await http.get("/api/v1/sessions", headers={b"X-API-Key": b"\xff\xfe"})).status_code == 401
        assert (await http.get(f"/api/v1/sessions?api_key={key}&token={key}")).status_code == 401
