"""The OpenAPI document as part of the product: every route's problems, one media type for them, no 422."""

from typing import Any

from fastapi import FastAPI

from app.api.errors import MEDIA_TYPE
from app.api.idempotency import HEADER, REPLAYED
from app.api.openai_errors import is_openai_path
from app.schemas.common import Problem
from app.schemas.openai import OpenAIError

DESCRIPTION = """\
A chat backend whose answers come from your own documents.

Press **Authorize**, paste the API key that `make run` printed, upload a document under *documents*, and ask under
*chat*. Errors are `application/problem+json` (RFC 9457); `code` is a stable word.
"""
TAGS = [
    {"name": "sessions", "description": "Conversations."},
    {"name": "messages", "description": "What was said, with the passages that were used."},
    {"name": "documents", "description": "Upload, watch the indexing, read back, delete."},
    {"name": "search", "description": "Passages by meaning and by words."},
    {"name": "chat", "description": "Questions and answers; also as a WebSocket at `/chat/{session_id}`."},
    {"name": "auth", "description": "Users: register, log in, stay logged in, log out."},
    {"name": "users", "description": "For admins: who there is, and what they may do."},
    {"name": "api keys", "description": "For admins: keys for programs, each with a name and scopes."},
    {"name": "usage", "description": "Tokens and money that language models took, and what is left of the limits."},
    {"name": "openai", "description": "OpenAI's API: chat with the documents from any of its clients."},
    {"name": "privacy", "description": "A person's own data: exported, erased with a receipt."},
    {"name": "webhooks", "description": "Tell your own service when a document is ready or has failed."},
    {"name": "health", "description": "For people, load balancers and monitors; no key needed."},
]
PROBLEMS = {
    "400": "The request is malformed or not valid.",
    "401": "No valid credential.",
    "403": "The credential may not do this.",
    "404": "Unknown, or not yours.",
    "408": "The body came too slowly.",
    "409": "The current state does not allow it.",
    "412": "It has changed since you read it.",
    "413": "Too large.",
    "415": "This media type is not supported.",
    "416": "The file ends before that range.",
    "422": "The `Idempotency-Key` belongs to another request.",
    "429": "Too many requests; see `Retry-After`.",
    "503": "Not available now; see `Retry-After`.",
}


def describe(app: FastAPI) -> None:
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            schemas = document["components"]["schemas"]
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            schemas |= _problem_schemas()
            for path, methods in document["paths"].items():
                for method, operation in methods.items():
                    _add_problems(path, method, operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _problem_schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for shape in (Problem, OpenAIError):
        schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {shape.__name__: schema}
    return schemas


def _add_problems(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if "security" not in operation and tag_of(operation) != "auth":
        return
    wanted = {"400", "401", "403", "429", "503"}
    if "{" in path or is_openai_path(path):
        wanted.add("404")
    if method in {"post", "put", "patch"}:
        wanted |= {"408", "413", "415"}
    if path.endswith("/content"):
        wanted.add("416")
    if path.endswith(("/chat", "/chat/stream", "/completions")) or (method == "post" and path.endswith("/webhooks")):
        wanted.add("409")
    if path.endswith("/register") or tag_of(operation) in {"users", "api keys"}:
        wanted.add("409")
    if method == "put":
        wanted.add("412")
    if any(parameter["name"] == HEADER for parameter in operation.get("parameters", ())):
        wanted |= {"409", "422"}
        _add_replayed(responses)
    media_type, shape = ("application/json", "OpenAIError") if is_openai_path(path) else (MEDIA_TYPE, "Problem")
    for status in sorted(wanted):
        content = {media_type: {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
        responses[status] = {"description": PROBLEMS[status], "content": content}
    operation["responses"] = dict(sorted(responses.items()))


def tag_of(operation: dict[str, Any]) -> str:
    return str(operation["tags"][0])


def _add_replayed(responses: dict[str, Any]) -> None:
    header = {"description": "The answer to an earlier request with this key.", "schema": {"const": "true"}}
    for status, response in responses.items():
        if status.startswith("2"):
            response["headers"] = {REPLAYED: header}
