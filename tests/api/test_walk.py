"""Every operation of openapi.json and every frame of the WebSocket, walked by those to whom nothing of it belongs.

What is somebody else's looks like what does not exist: to another tenant, to another user of the same tenant and to an
administrator there; an anonymous caller learns nothing at all. Afterwards every row is as it was. An operation, field
or frame that this file does not know is a failure: whoever adds one says here whose it is.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, get_args
from uuid import uuid4

import httpx
import pytest
import websockets
from sqlalchemy import URL

from app.schemas import events
from tests.api.test_hostile_tools import check_problem
from tests.api.walking import (
    COLLECTION,
    OPERATIONS,
    SECRET,
    TITLE,
    Operation,
    World,
    a_world,
    fields_of,
    switch_row_security_off,
)
from tests.conftest import Service, make_database, make_settings, serving

STRANGERS = ("colleague", "administrator", "foreign_user", "foreign_administrator", "foreign_key")

PUBLIC = {"root", "health", "livez", "readyz", "auth_register", "auth_login", "auth_refresh", "erasures_receipt"}
"""For everybody."""
READS = {
    "api_keys_list", "auth_export_me", "auth_me", "chat_schema", "documents_list", "erasures_list",
    "openai_models_get", "openai_models_list", "sessions_list", "usage_limits", "usage_report", "users_list",
    "webhooks_list",
}  # fmt: skip
"""What a caller sees of their own."""
WRITES = {
    "api_keys_create", "auth_change_password", "auth_erase_me", "auth_logout", "documents_create",
    "documents_reindex_many", "openai_chat_completions", "openai_embeddings", "search_run", "sessions_create",
    "webhooks_create",
}  # fmt: skip
"""What a caller does for themselves."""
ENDS_A_LOGIN = {"auth_erase_me", "auth_logout"}
NOUNS = {"document_id", "key_id", "message_id", "session_id", "turn_id", "user_id", "webhook_id"}
OF_THE_TENANT = {"key_id", "user_id", "webhook_id"}
"""Its administrators see them, whoever made them."""
ADMINISTRATION = {"api_keys_list", "erasures_list", "usage_report", "usage_limits", "users_list", "webhooks_list"}
NO_THING = {"model", "address"}
"""Names in a path that stand for nothing that could be found by its id: the address of a receipt is a secret."""
NAMING = {"document_id", "document_ids", "user_id", "collection", "scenario_id", "q", "query", "message", "messages"}
"""Fields and parameters by which another's things could be asked for."""
OF_THE_REQUEST = {"chunk_id", "client_message_id", "external_id"}
"""Ids that a caller gives to what they make; nothing is looked up by them but the caller's own."""

WITH_ID = [one for one in OPERATIONS if set(one.parameters) - NO_THING]
WITHOUT_ID = [one for one in OPERATIONS if not set(one.parameters) - NO_THING and one.name not in PUBLIC]


@pytest.fixture(scope="module", params=["both walls", "filters alone"])
async def world(
    request: pytest.FixtureRequest, service: Service, postgres: URL, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """The database refuses what is foreign by itself: that the queries do so too is seen where it does not."""
    async with AsyncExitStack() as stack:
        if request.param == "filters alone":
            url, data_dir = await make_database(postgres, "test_walk"), tmp_path_factory.mktemp("walk")
            settings = make_settings(database_url=url, data_dir=data_dir)
            service = Service(*await stack.enter_async_context(serving(settings)))
            await switch_row_security_off(service.runtime)
        made = await stack.enter_async_context(a_world(service))
        before = await made.rows()
        yield made
        assert before - await made.rows() == set()


def test_nothing_is_unknown() -> None:
    assert {one.name for one in OPERATIONS if not one.description.get("security")} == PUBLIC
    assert {one.name for one in WITHOUT_ID} == READS | WRITES
    assert {name for one in OPERATIONS for name in one.parameters} == NOUNS | NO_THING
    named = {field[-1] for one in OPERATIONS if one.schema for field in fields_of(one.schema)}
    named |= {name for one in OPERATIONS for name in one.query}
    assert {name for name in named if name.endswith(("_id", "_ids"))} - OF_THE_REQUEST <= NAMING


def name_of(value: object) -> str:
    return value.name if isinstance(value, Operation) else str(value)


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("operation", WITH_ID, ids=name_of)
async def test_what_is_foreign_looks_like_what_does_not_exist(
    world: World, operation: Operation, stranger: str
) -> None:
    if stranger == "administrator" and set(operation.parameters) <= OF_THE_TENANT:
        return
    http, unknown = world.strangers[stranger], {name: str(uuid4()) for name in world.ids}
    answers = [await _answer(http, operation, ids) for ids in (world.ids, unknown)]
    assert answers[0] == answers[1]
    allowed = {404, 403} if stranger in ("colleague", "foreign_user", "administrator") else {404}
    assert answers[0][0] in allowed, answers[0]


async def _answer(http: httpx.AsyncClient, operation: Operation, ids: Mapping[str, str]) -> tuple[int, Any, Any]:
    response = await http.request(operation.method, operation.at(ids), json=operation.example)
    problem = check_problem(response, response.status_code)
    assert response.status_code != 403 or problem["code"] == "forbidden"
    said = {name: value for name, value in problem.items() if name not in ("instance", "request_id")}
    headers = {name: value for name, value in response.headers.items() if name not in ("x-request-id", "date")}
    return response.status_code, said, headers


@pytest.mark.parametrize("operation", WITH_ID, ids=name_of)
async def test_a_user_lacks_only_functions(world: World, operation: Operation) -> None:
    """403 is for functions of administrators; what belongs to a person is not found."""
    status = (await _answer(world.strangers["colleague"], operation, world.ids))[0]
    assert (status == 403) == (bool(set(operation.parameters) & OF_THE_TENANT) or operation.name in FUNCTIONS)


FUNCTIONS = {"documents_reindex"}


@pytest.mark.parametrize("operation", [*WITH_ID, *WITHOUT_ID], ids=name_of)
async def test_who_is_nobody_gets_401_whatever_they_name(world: World, operation: Operation) -> None:
    said = []
    async with world.tenant.service.client() as http:
        for ids in (world.ids, {name: str(uuid4()) for name in world.ids}):
            response = await http.request(
                operation.method, operation.at({"model": "ragchat"} | dict(ids)), content=b"{"
            )
            assert (response.status_code, "www-authenticate" in response.headers) == (401, True)
            said.append([value for name, value in response.json().items() if name not in ("instance", "request_id")])
    assert said[0] == said[1]


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("operation", [one for one in WITHOUT_ID if one.name in READS], ids=name_of)
async def test_lists_hold_nothing_of_it(world: World, operation: Operation, stranger: str) -> None:
    if stranger == "administrator" and operation.name in ADMINISTRATION:
        return
    values = {"user_id": world.ids["user_id"], "collection": COLLECTION, "q": TITLE, "scenario_id": TITLE}
    for query in ({}, *({name: values[name]} for name in operation.query if name in values)):
        response = await world.strangers[stranger].get(operation.at({"model": "ragchat"}), params=query)
        assert response.status_code in (200, 403, 404), (query, response.text)
        assert world.told(response.text) == []


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("operation", [one for one in WITHOUT_ID if one.name in WRITES - ENDS_A_LOGIN], ids=name_of)
async def test_writing_and_asking_reach_nothing_of_it(world: World, operation: Operation, stranger: str) -> None:
    http, asked = world.strangers[stranger], "Where do the quokkas keep their gold?"
    values: dict[str, Any] = {
        "document_ids": [world.ids["document_id"]], "user_id": world.ids["user_id"], "collection": COLLECTION,
        "query": SECRET, "message": asked, "messages": [{"role": "user", "content": asked}],
    }  # fmt: skip
    assert operation.schema is not None
    for field in (field for field in fields_of(operation.schema) if field[-1] in values):
        body = _with(operation.example or {}, field, values[field[-1]])
        response = await http.post(operation.path, json=body)
        assert response.status_code < 500, response.text
        assert world.told(response.text) == [], (field, response.text)
        if field[-1] == "document_ids" and response.status_code != 403:
            unknown = await http.post(operation.path, json=_with(body, field, [str(uuid4())]))
            assert (response.status_code, response.json()["code"]) == (404, "unknown_document")
            assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_document")


def _with(body: dict[str, Any], field: tuple[str, ...], value: Any) -> dict[str, Any]:
    name, *rest = field
    inner = value if not rest else _with(dict(body.get(name) or {}), tuple(rest), value)
    return body | {name: inner}


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_a_stored_message_tells_nothing_of_what_it_names(world: World, stranger: str) -> None:
    """A key may bring conversations along whose documents are elsewhere: the id stays a word of the caller's."""
    http = world.strangers[stranger]
    mine = (await http.post("/api/v1/sessions", json=_own_user(stranger))).json()["id"]
    for document in (world.ids["document_id"], str(uuid4())):
        body = {"sender": "assistant", "content": "a", "sources": [{"text": "b", "document_id": document}]}
        response = await http.post(f"/api/v1/sessions/{mine}/messages", json=body)
        if stranger == "foreign_key":
            assert response.status_code == 201
            assert world.told(response.text.replace(document, "")) == []
        else:
            check_problem(response, 404, "unknown_document")


@pytest.mark.parametrize("stranger", STRANGERS)
class TestFrames:
    async def test_its_session_has_no_socket(self, world: World, stranger: str) -> None:
        refusals = []
        for session in (world.ids["session_id"], str(uuid4())):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await _connect(world, stranger, session)
            said = json.loads(refused.value.response.body)
            refusals.append([value for name, value in said.items() if name not in ("instance", "request_id")])
            assert refused.value.response.status_code == 404
        assert refusals[0] == refusals[1]

    async def test_frames_that_name_it_find_nothing(self, world: World, stranger: str) -> None:
        mine = await world.strangers[stranger].post("/api/v1/sessions", json=_own_user(stranger))
        async with asyncio.timeout(20), await _connect(world, stranger, mine.json()["id"]) as socket:
            for kind, fields in NAMED_IN_FRAMES.items():
                answers = []
                for ids in (world.ids, {name: str(uuid4()) for name in world.ids}):
                    frame = {"type": kind, "content": "hello"} | fields(ids)
                    await socket.send(json.dumps(frame))
                    answers.append(await _error(socket))
                assert answers[0] == answers[1], kind
                assert answers[0] in ("turn_not_found", "unknown_document")


NAMED_IN_FRAMES: dict[str, Any] = {
    "cancel": lambda ids: {"turn_id": ids["turn_id"]},
    "resume": lambda ids: {"turn_id": ids["turn_id"], "after": 0},
    "retry": lambda ids: {"turn_id": ids["turn_id"]},
    "user_message": lambda ids: {"document_ids": [ids["document_id"]]},
    "chat_message": lambda ids: {"document_ids": [ids["document_id"]]},
}
NAMING_NOTHING = {"hello", "session_start", "ping"}


def test_no_frame_is_unknown() -> None:
    kinds = {
        kind for one in events.ClientEvent.__subclasses__() for kind in get_args(one.model_fields["type"].annotation)
    }
    assert kinds == set(NAMED_IN_FRAMES) | NAMING_NOTHING


def _own_user(stranger: str) -> dict[str, str]:
    return {"user_id": "somebody"} if stranger == "foreign_key" else {}


async def _connect(world: World, stranger: str, session: str) -> websockets.ClientConnection:
    headers = world.strangers[stranger].headers
    sent = {name: headers[name] for name in ("x-api-key", "authorization") if name in headers}
    return await websockets.connect(f"ws://{world.tenant.service.address}/chat/{session}", additional_headers=sent)


async def _error(socket: websockets.ClientConnection) -> str:
    while (event := json.loads(await socket.recv()))["type"] != "error":
        assert event["type"] in ("ready", "welcome"), event
    return str(event["code"])
