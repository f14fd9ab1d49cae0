"""A request with an `Idempotency-Key` is carried out once (docs/decisions/0014-idempotency.md).

    async with self._uow(caller) as uow, once(uow) as answer:
        return answer.keep(await uow.sessions.create(session), session.id)

The key and what is answered are stored in the transaction of the effect: after a crash both are there, or neither.
Without a key `once` does nothing. What fails rolls back, and leaves the key free for another attempt.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import TypeVar
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Conflict, KeyReused
from app.core.idempotency import Claim, Reply
from app.db.uow import UnitOfWork, UowFactory
from app.repositories.idempotency import Stored

Made = TypeVar("Made")
RETRY_SECONDS = 1.0


def in_progress() -> Conflict:
    return Conflict(
        "idempotency_in_progress", "The request with this Idempotency-Key is still running.", retry_after=RETRY_SECONDS
    )


class AlreadyDone(Conflict):
    """Another request with the same key was quicker, and was carried out. The edge repeats its answer."""

    default_code = "idempotency_in_progress"

    def __init__(self, stored: Stored) -> None:
        super().__init__(retry_after=RETRY_SECONDS)
        self.stored = stored


class Answer:
    """What is to be stored for the key, told by the service before its transaction ends."""

    def __init__(self, claim: Claim | None) -> None:
        self.claim = claim
        self.settled = claim is None
        self.stored = False
        self.subject_id: UUID | None = None
        self.reply: Reply | None = None

    def keep(self, made: Made, subject_id: UUID | None) -> Made:
        """The answer for `made` as it is now. Whoever deletes the subject must call `uow.idempotency.forget`."""
        if self.claim is not None:
            self.reply = self.claim.present(made)
        self.refer(subject_id)
        return made

    def refer(self, subject_id: UUID | None) -> None:
        """The answer is read from the subject when the key comes again: it does not change, or is not there yet."""
        self.subject_id, self.settled, self.stored = subject_id, True, True

    def postpone(self) -> None:
        """Nothing was done; another transaction will do it."""
        self.settled = True


@contextlib.asynccontextmanager
async def once(uow: UnitOfWork) -> AsyncIterator[Answer]:
    """The rest of the transaction. Conflict(idempotency_in_progress), KeyReused, AlreadyDone."""
    claim = uow.caller.claim
    answer = Answer(claim)
    if claim is not None:
        if not await uow.idempotency.lock(claim):
            raise in_progress()
        await _require_new(uow, claim)
    yield answer
    if not answer.settled:
        raise RuntimeError("an effect without an answer to keep")
    if claim is not None and answer.stored and not await uow.idempotency.add(claim, answer.subject_id, answer.reply):
        raise in_progress()


async def _require_new(uow: UnitOfWork, claim: Claim) -> None:
    stored = await uow.idempotency.find(claim)
    if stored is None:
        return
    if stored.fingerprint != claim.fingerprint:
        raise KeyReused
    raise AlreadyDone(stored)


class IdempotencyService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def check(self, caller: Caller) -> None:
        """For services that do something before their transaction: KeyReused, AlreadyDone."""
        if caller.claim is not None:
            async with self._uow(caller) as uow:
                await _require_new(uow, caller.claim)
