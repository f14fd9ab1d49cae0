"""The contract as data, and a world to walk: somebody with one of everything, and those to whom none of it belongs."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import text

from app.db.row_security import TABLES_OF_TENANTS
from app.models.base import Base
from app.runtime import Runtime
from tests.api.people import Person, joined
from tests.conftest import ROOT, Service, Tenant

CONTRACT = json.loads((ROOT / "openapi.json").read_text())
SECRET = "The quokkas keep their gold under the third mango tree."
TITLE = "zqquokka"
COLLECTION = "zqshed"
OF_ALL_TOGETHER = {"corpus_statistics", "term_statistics", "jobs"}
"""Tables whose rows change with what others in the tenant do."""
OF_THE_SERVICE = "ARRAY['last_used_at', 'last_error', 'last_status', 'last_attempt_at']"
"""What it notes down by itself."""


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    description: Mapping[str, Any]

    @property
    def parameters(self) -> list[str]:
        """Names in the path."""
        return [one["name"] for one in self.description.get("parameters", ()) if one["in"] == "path"]

    @property
    def query(self) -> list[str]:
        return [one["name"] for one in self.description.get("parameters", ()) if one["in"] == "query"]

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """Of the JSON body."""
        content = self.description.get("requestBody", {}).get("content", {})
        return resolved(content["application/json"]["schema"]) if "application/json" in content else None

    @property
    def example(self) -> dict[str, Any] | None:
        return dict(self.schema["examples"][0]) if self.schema is not None else None

    def at(self, ids: Mapping[str, str]) -> str:
        return self.path.format(**ids)


OPERATIONS = [
    Operation(description["operationId"], method.upper(), path, description)
    for path, methods in CONTRACT["paths"].items()
    for method, description in methods.items()
]


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        return resolved(CONTRACT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return schema


def fields_of(schema: Mapping[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of a body, those of objects within it, too."""
    schema = resolved(schema)
    for part in (*schema.get("anyOf", ()), *schema.get("allOf", ()), *schema.get("oneOf", ())):
        yield from fields_of(part, place)
    if "items" in schema:
        yield from fields_of(schema["items"], place)
    for name, inner in schema.get("properties", {}).items():
        yield (*place, name)
        yield from fields_of(inner, (*place, name))


@dataclass(frozen=True)
class World:
    owner: Person
    ids: Mapping[str, str]
    """Of the owner's things, by the parameter that names them."""
    strangers: Mapping[str, httpx.AsyncClient]

    @property
    def tenant(self) -> Tenant:
        return self.owner.tenant

    def told(self, answer: str) -> list[str]:
        """What of the owner stands in it. A user's id is what the caller wrote."""
        secrets = [TITLE, "mango", *(value for name, value in self.ids.items() if name != "user_id")]
        return [secret for secret in secrets if secret in answer]

    async def rows(self) -> set[str]:
        """Everything that is stored of the tenant."""
        found = set()
        async with self.tenant.runtime.owner.connect() as connection:
            for name, table in Base.metadata.tables.items():
                if "tenant_id" in table.columns and name not in OF_ALL_TOGETHER:
                    rows = await connection.execute(
                        text(f"SELECT (to_jsonb(t) - {OF_THE_SERVICE})::text FROM {name} t WHERE tenant_id = :id"),
                        {"id": self.tenant.caller.tenant_id},
                    )
                    found |= {f"{name} {row}" for row in rows.scalars()}
        return found


@asynccontextmanager
async def a_world(service: Service) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        home, abroad = [await _tenant(service, stack) for _ in range(2)]
        owner = await joined(home, "user", stack)
        strangers = {
            "colleague": (await joined(home, "user", stack)).http,
            "administrator": (await joined(home, "admin", stack)).http,
            "foreign_user": (await joined(abroad, "user", stack)).http,
            "foreign_administrator": (await joined(abroad, "admin", stack)).http,
            "foreign_key": abroad.http,
        }
        yield World(owner, await _belongings(owner), strangers)


async def switch_row_security_off(runtime: Runtime) -> None:
    async with runtime.owner.begin() as connection:
        for table in (await connection.execute(text(TABLES_OF_TENANTS))).scalars().all():
            await connection.execute(text(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"))


async def _tenant(service: Service, stack: AsyncExitStack) -> Tenant:
    caller, key = await service.tenant()
    return Tenant(service, caller, key, await stack.enter_async_context(service.client(key)))


async def _belongings(owner: Person) -> dict[str, str]:
    """One of everything, made over the API."""
    mine, api = owner.as_tenant, "/api/v1"
    document = await mine.add_text(SECRET, title=TITLE, external_id=TITLE, collection=COLLECTION)
    session = (await owner.http.post(f"{api}/sessions", json={"title": TITLE})).json()
    asked = {"message": "Where do the quokkas keep their gold?"}
    answer = (await owner.http.post(f"{api}/sessions/{session['id']}/chat", json=asked)).json()
    assert "mango" in answer["content"], answer
    key = await owner.tenant.http.post(f"{api}/api-keys", json={"name": TITLE, "scopes": ["chat"]})
    webhook = await owner.tenant.http.post(f"{api}/webhooks", json={"url": f"https://nobody.invalid/{TITLE}"})
    return {
        "document_id": document["id"], "session_id": session["id"], "turn_id": answer["turn_id"],
        "message_id": answer["id"], "user_id": owner.id, "key_id": key.json()["id"],
        "webhook_id": webhook.json()["id"],
    }  # fmt: skip
