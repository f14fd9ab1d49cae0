"""Chat for clients of the OpenAI-compatible routes, which send the whole conversation each time and know no session.

A conversation that goes on lands in the session that it was answered in before: after an answer, the session is kept
under a digest of who asked and of all that was said. A conversation that was never answered here, or was changed by
the client, gets a new session with the earlier messages in it. The turn itself is the same as on every transport.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Invalid, NotFound, RagchatError
from app.core.ids import new_id
from app.core.logging import get_logger
from app.db.uow import UnitOfWork, UowFactory
from app.languages import detect
from app.models import ChatSession
from app.providers.ports import Delta
from app.rag.conversation import Said
from app.schemas.common import is_blank
from app.services import background_prompts
from app.services.admission import admit
from app.services.background_prompts import Streams
from app.services.chat import ChatService
from app.services.idempotency import in_progress
from app.services.live_turns import Event
from app.services.masking import MaskingService
from app.services.turns import Question, TurnService, done_fields

MODELS: Mapping[str, bool] = {"ragchat": True, "ragchat-plain": False}
"""Name, and whether it looks into the documents."""
USER = "openai"
"""Whose session it is when the client names nobody."""
MOST_BEFORE = 100
"""Earlier messages that a new session takes over, the last ones."""
VIA = {"via": "openai"}
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Conversation:
    """`before` is what people and assistants said before the question, oldest first. `pointer` says where in the
    request the question stands."""

    model: str
    question: str
    before: Sequence[Said]
    user: str | None = None
    max_tokens: int | None = None
    pointer: str = "/messages"


@dataclass(frozen=True, slots=True)
class Reply:
    """`events` are those of the turn; a background prompt has no turn, and of its events only what an answer needs."""

    id: UUID
    session_id: UUID | None
    events: AsyncIterator[Event]


@dataclass(frozen=True, slots=True)
class _Place:
    """The session to ask in. `head` is what it was found by; None when it is new."""

    session_id: UUID
    head: tuple[bytes, int] | None


class CompletionService:
    """`model` answers background prompts."""

    def __init__(
        self, uow: UowFactory, chat: ChatService, turns: TurnService, masking: MaskingService, *, max_chars: int,
        model: Streams | None = None,
    ) -> None:  # fmt: skip
        self._uow = uow
        self._chat = chat
        self._turns = turns
        self._masking = masking
        self._max_chars = max_chars
        self._model = model

    async def answer(self, caller: Caller, asked: Conversation) -> Reply:
        """NotFound(model_not_found), Invalid(empty_content | too_long), and what `chat.ask` raises."""
        if asked.model not in MODELS:
            raise model_not_found()
        if is_blank(asked.question):
            raise Invalid("empty_content", "The last message of the user is empty.", pointer=asked.pointer)
        if background_prompts.is_background(asked.question):
            return Reply(new_id(), None, self._aside(asked))
        if len(asked.question) > self._max_chars:
            detail = f"A question may have {self._max_chars} characters at most."
            raise Invalid("too_long", detail, pointer=asked.pointer)
        place = await self._place(caller, asked)
        turn_id = await self._ask(caller, asked, place)
        return Reply(turn_id, place.session_id, self._followed(caller, turn_id, asked))

    async def answered(self, caller: Caller, turn_id: UUID) -> Reply:
        """The same answer again. Conflict(idempotency_in_progress) while it is being written, NotFound."""
        turn = await self._turns.get(caller, turn_id)
        if turn.status == "running":
            raise in_progress()
        return Reply(turn_id, turn.session_id, self._turns.follow(caller, turn_id))

    async def _ask(self, caller: Caller, asked: Conversation, place: _Place) -> UUID:
        question = Question(place.session_id, asked.question, use_rag=MODELS[asked.model], max_tokens=asked.max_tokens)
        try:
            return await self._chat.ask(caller, question)
        except RagchatError:
            async with self._uow(caller) as uow:
                if place.head is None:
                    await uow.sessions.delete(place.session_id)
                else:
                    await uow.completions.keep(place.session_id, *place.head)
            raise

    async def _place(self, caller: Caller, asked: Conversation) -> _Place:
        user = owner(caller, asked)
        digest = history_digest(caller, user, asked.before)
        async with self._uow(caller) as uow:
            found = await uow.completions.claim(digest, user) if asked.before else None
            if found is not None:
                session_id, next_seq = found
                return _Place(session_id, (digest, next_seq))
            await admit(uow, user)
            session = await uow.sessions.create(ChatSession(id=new_id(), user_id=user, metadata_=VIA))
            await _take_over(uow, session.id, asked.before[-MOST_BEFORE:])
        return _Place(session.id, None)

    async def _followed(self, caller: Caller, turn_id: UUID, asked: Conversation) -> AsyncIterator[Event]:
        """The turn's events. Before the client hears that the answer is whole, it is known where it may go on."""
        said = ""
        async for event in self._turns.follow(caller, turn_id):
            if event["type"] == "delta":
                said += event["text"]
            elif event["type"] == "done" and event["message_id"] and event["status"] in {"completed", "cancelled"}:
                await self._keep(caller, UUID(event["message_id"]), asked, said)
            yield event

    async def _keep(self, caller: Caller, message_id: UUID, asked: Conversation, said: str) -> None:
        whole = [*asked.before, Said("user", asked.question), Said("assistant", said)]
        digest = history_digest(caller, owner(caller, asked), whole)
        try:
            async with self._uow(caller) as uow:
                message = await uow.messages.get(message_id)
                if message is not None:
                    await uow.completions.keep(message["session_id"], digest, message["seq"] + 1)
        except RagchatError as exc:  # the answer is whole; the conversation will go on in a session of its own
            log.warning("completion.not_kept", code=exc.code)

    async def _aside(self, asked: Conversation) -> AsyncIterator[Event]:
        yield {"type": "sources", "docs": []}
        masks = self._masking.masks()
        async for item in background_prompts.answer(self._model, asked.question, asked.max_tokens, masks=masks):
            if isinstance(item, Delta):
                yield {"type": "delta", "text": item.text}
            else:
                total = item.input_tokens + item.output_tokens
                usage = {
                    "input_tokens": item.input_tokens, "output_tokens": item.output_tokens, "total_tokens": total,
                }  # fmt: skip
                yield {"type": "done"} | done_fields("completed", item.reason, None, usage=usage)


def model_not_found() -> NotFound:
    return NotFound("model_not_found", "There is no model of this name here.", pointer="/model")


def owner(caller: Caller, asked: Conversation) -> str:
    """A person is themselves; a key speaks for whom it names."""
    return caller.user_id or asked.user or USER


def history_digest(caller: Caller, user: str, said: Sequence[Said]) -> bytes:
    """Of what was said, white space aside: front ends trim it."""
    lines = [[one.role, " ".join(one.text.split())] for one in said]
    whole = json.dumps([caller.principal, user, lines], ensure_ascii=False)
    return hashlib.sha256(whole.encode()).digest()


async def _take_over(uow: UnitOfWork, session_id: UUID, before: Sequence[Said]) -> None:
    """Messages that were made elsewhere, or here in another session."""
    if not before:
        return
    first = await uow.sessions.take_seq(session_id, len(before)) or 1
    for seq, said in enumerate(before, start=first):
        message: dict[str, Any] = {
            "id": new_id(), "session_id": session_id, "seq": seq, "sender": said.role, "content": said.text,
            "lang": detect(said.text), "status": "completed",
        }  # fmt: skip
        await uow.messages.add(message)
