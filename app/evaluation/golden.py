"""Questions for `eval` made of what people said about answers."""

import json
from typing import Any

from app.core.caller import Caller
from app.runtime import Runtime

REFUSED = "no_context"


async def golden_lines(runtime: Runtime, caller: Caller, rating: str | None) -> list[str]:
    """JSON, oldest first. Liked: the question and what its answer cited. Disliked: the question, to be looked at."""
    async with runtime.uow(caller) as uow:
        rows = await uow.feedback.rated(rating)
    return [json.dumps(_line(row), ensure_ascii=False) for row in rows]


def _line(row: dict[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {"_id": str(row["message_id"]), "query": row["question"], "rating": row["rating"]}
    if row["rating"] == "down":
        said = {name: row[name] for name in ("reason", "comment") if row[name]}
        return line | said | {"answer": row["answer"]}
    if row["finish_reason"] == REFUSED:
        return line | {"answerable": False}
    evidence = [_evidence(source) for source in row["cited"]]
    return line | ({"evidence": evidence, "answerable": True} if evidence else {})


def _evidence(source: dict[str, Any]) -> dict[str, Any]:
    place = {"file": source["title"], "document_id": str(source["document_id"])}
    return place | ({"page": source["page"]} if source["page"] is not None else {})
