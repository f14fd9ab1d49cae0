"""A question answered by a real turn, and its citations held against what is stored."""

import re
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.evaluation.questions import Question
from app.runtime import Runtime
from app.schemas.messages import MessageCreate
from app.schemas.sessions import SessionCreate
from app.services.turns import Question as Asked

USER = "evaluation"
MARKER = re.compile(r"\[\s?(\d{1,3}(?:\s?,\s?\d{1,3})*)\s?\]")
Place = tuple[UUID, int, int]
"""(document, version, chunk index)"""
REFUSED = "no_context"


@dataclass
class Turn:
    """What a client was told."""

    content: str = ""
    finish_reason: str = ""
    llm_used: bool = False
    docs: list[dict[str, Any]] = field(default_factory=list)
    citations: list[dict[str, Any]] = field(default_factory=list)
    milliseconds: float = 0.0

    @property
    def refused(self) -> bool:
        return self.finish_reason == REFUSED

    @property
    def cited(self) -> set[int]:
        """The numbers in its markers."""
        return {int(n) for numbers in MARKER.findall(self.content) for n in numbers.split(",")}

    def take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "citation":
                self.citations.append(event)
            case "sources":
                self.docs = event["docs"]
            case "assistant_message":
                self.content, self.llm_used = event["content"], event["llm_used"]
            case "done":
                self.finish_reason = event["finish_reason"]


async def answer(runtime: Runtime, caller: Caller, question: Question) -> Turn:
    """In a session of its own, which is gone afterwards."""
    session = await runtime.sessions.create(caller, SessionCreate(user_id=USER, title=None))
    try:
        for said in question.history:
            await runtime.messages.add(caller, session.id, MessageCreate(sender=said.role, content=said.text))
        turn = Turn()
        began = time.perf_counter()
        turn_id = await runtime.chat.ask(caller, Asked(session.id, question.text))
        async for event in runtime.turns.follow(caller, turn_id):
            turn.take(event)
        turn.milliseconds = 1000 * (time.perf_counter() - began)
        return turn
    finally:
        await runtime.sessions.delete(caller, session.id)


async def citation_problems(runtime: Runtime, caller: Caller, turn: Turn) -> list[str]:
    """Empty when every marker names a passage as it is stored, and every quotation stands in its passage."""
    sources = {doc["n"]: doc for doc in turn.docs}
    named = sorted(turn.cited | {citation["n"] for citation in turn.citations})
    problems = [f"[{n}] names no source" for n in named if n not in sources]
    cited = {n: sources[n] for n in named if n in sources}
    async with runtime.uow(caller) as uow:
        stored = await uow.evaluation.passages([_place(doc) for doc in cited.values()])
    problems += [f"source {n} is not the document's text" for n, doc in cited.items() if not _is_stored(doc, stored)]
    held = {citation["n"] for citation in turn.citations}
    problems += [f"[{n}] does not bear its sentence out" for n in cited if n not in held]
    if not turn.llm_used:
        problems += [f"[{c['n']}] is no quotation" for c in turn.citations if not _quotes(turn.content, c, cited)]
    return problems


def _place(doc: dict[str, Any]) -> Place:
    return UUID(doc["document_id"]), doc["document_version"], doc["chunk_index"]


def _is_stored(doc: dict[str, Any], stored: dict[Place, tuple[str, int, int]]) -> bool:
    start, end = doc["char_start"], doc["char_end"]
    return stored.get(_place(doc)) == (doc["text"], start, end) and len(doc["text"]) == end - start


def _quotes(content: str, citation: dict[str, Any], cited: dict[int, dict[str, Any]]) -> bool:
    """White space apart: an answer has no line breaks inside a sentence."""
    said = " ".join(content[citation["start"] : citation["end"]].split())
    return bool(said) and said in " ".join((cited.get(citation["n"], {}).get("text") or "").split())
