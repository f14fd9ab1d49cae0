"""What answers keep of a document that was deleted: that there was one, and where; nothing that it said.

A passage's text and title leave the snapshots, the sentences that were cited for it leave the answers, and both leave
the events that a client could replay. Traces never held either; but a question that was rewritten with the conversation
may repeat such a sentence: what it was rewritten to leaves the session's traces. What was masked in the conversation
may be the document's: it is forgotten, and what is said later is masked anew. Runs in the transaction that deletes, and
in the one that stores an answer whose document was deleted while it was written.
"""

from typing import Any
from uuid import UUID

from app.db.uow import UnitOfWork
from app.rag.citations import bar, blackened

AT_ONCE = 200
"""Answers in the deleting request's own transaction; a job does the rest of a document that was cited more often."""
FORGET = "document.forget"
TITLE = "(deleted document)"


async def forget_document(uow: UnitOfWork, document_id: UUID) -> bool:
    """The document's row must be gone, or go in this transaction: nothing may cite it any more. True when there are
    more answers than are seen to at once."""
    citing = await uow.messages.citing(document_id, forgotten=TITLE, limit=AT_ONCE)
    for message in citing:
        content = _without(message)
        if content != message["content"]:
            await uow.messages.set_content(message["id"], content)
        if message["turn_id"] is not None:
            await _forget_events(uow, message["turn_id"], document_id, content)
    if citing:
        ids = [message["id"] for message in citing]
        await uow.messages.forget_sources(ids, document_id, title=TITLE)
        await uow.turns.forget_queries(ids)
        await uow.masking_maps.drop_of(ids)
    return len(citing) == AT_ONCE


async def forget_deleted(uow: UnitOfWork, document_ids: set[UUID]) -> None:
    """For an answer that has just been stored: forgets those that are gone, and keeps the others from being deleted
    before this transaction has ended, so that whoever deletes them finds the answer."""
    if not document_ids:
        return
    for document_id in document_ids - await uow.documents.keep_alive(document_ids):
        await forget_document(uow, document_id)


def without_titles(trace: dict[str, Any]) -> dict[str, Any]:
    """A trace as it is stored: it lists passages that no snapshot leads to, so nothing in it may need forgetting."""
    if "hits" not in trace:
        return trace
    return trace | {"hits": [{key: hit[key] for key in hit if key != "title"} for hit in trace["hits"]]}


def _without(message: dict[str, Any]) -> str:
    content: str = message["content"]
    if message["turn_id"] is None:
        return content  # a message from elsewhere: its text is the client's
    if message["status"] != "completed":
        return bar(len(content))  # broken off, perhaps within a quotation that no marker closes yet
    return blackened(content, set(message["numbers"]))


async def _forget_events(uow: UnitOfWork, turn_id: UUID, document_id: UUID, content: str) -> None:
    rest = content
    changed: list[tuple[int, dict[str, Any]]] = []
    for event in await uow.turn_events.decoded(turn_id):
        data = dict(event.data)
        if "docs" in data:
            data["docs"] = [_forgotten(doc) if doc["document_id"] == str(document_id) else doc for doc in data["docs"]]
        if event.type == "delta":
            length = len(data["text"])
            data["text"], rest = rest[:length], rest[length:]
        if "answer" in data:
            data |= {"answer": content, "content": content}
        if data != event.data:
            changed.append((event.seq, data))
    if changed:
        await uow.turn_events.replace(turn_id, changed)


def _forgotten(doc: dict[str, Any]) -> dict[str, Any]:
    return doc | {"text": None, "title": TITLE}
