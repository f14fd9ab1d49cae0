"""Erasing a user: asked for here, done by a job (erasing.py), proved by a receipt that holds counts and no names.

Whoever was erased cannot log in any more, so the receipt has an address of its own that nobody can guess; only its
hash is stored.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from app.core.caller import SYSTEM, Caller, tenant_caller
from app.core.errors import NotFound
from app.core.ids import new_id
from app.core.logging import get_logger
from app.db.uow import UowFactory
from app.models import Erasure
from app.repositories.paging import Paging
from app.schemas.erasures import ErasureOut
from app.services.auth import Forget, nobody
from app.services.documents import UNTIL_DONE
from app.services.erasing import ERASE, ask_to_stop, end_credentials
from app.services.users import require_another_admin, user_not_found

RECEIPT_BYTES = 32
LONGEST_RECEIPT = 64
By = Literal["self", "admin", "operator"]
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Requested:
    """`receipt` is told once, to whoever asked first."""

    erasure: Erasure
    receipt: str | None


def receipt_not_found() -> NotFound:
    return NotFound("receipt_not_found", "There is no such receipt.")


class ErasureService:
    def __init__(self, uow: UowFactory, *, forget: Forget = nobody) -> None:
        self._uow = uow
        self._forget = forget

    async def request(self, caller: Caller, user_id: str, *, by: By) -> Requested:
        """Ends the user's credentials at once and everything else by a job. Asked again meanwhile, it is the same
        erasure. NotFound(user_not_found) when there is nothing of the user; Conflict(last_admin), which only they
        themselves and an operator may erase."""
        receipt = secrets.token_urlsafe(RECEIPT_BYTES)
        async with self._uow(tenant_caller(caller.tenant_id)) as uow:
            await uow.erasures.lock(user_id)
            under_way = await uow.erasures.find_open(user_id)
            if under_way is not None:
                return Requested(under_way, None)
            if not await uow.erasures.is_known(user_id):
                raise user_not_found()
            if by == "admin":
                await require_another_admin(uow, user_id)
            values = {"id": new_id(), "user_id": user_id, "requested_by": by, "receipt_hash": _hash(receipt)}
            erasure = await uow.erasures.create(values)
            counts, ended = await end_credentials(uow, user_id)
            await uow.erasures.add_counts(erasure.id, counts)
            await ask_to_stop(uow, user_id)
            key = f"{ERASE}:{erasure.id}"
            await uow.jobs.enqueue(ERASE, {"erasure_id": str(erasure.id)}, dedupe_key=key, max_attempts=UNTIL_DONE)
            await uow.audit.record("user.erase", "user", user_id, by=caller)
        for id_ in ended:
            self._forget(id_)
        log.info("erasure.requested", erasure_id=str(erasure.id), by=by)
        return Requested(erasure, receipt)

    async def receipt(self, address: str) -> Erasure:
        """NotFound(receipt_not_found) for whatever is not one of ours."""
        if not 0 < len(address) <= LONGEST_RECEIPT or not address.isascii():
            raise receipt_not_found()
        async with self._uow(SYSTEM) as uow:
            found = await uow.erasures.find_receipt(_hash(address))
        if found is None:
            raise receipt_not_found()
        return found

    async def get(self, caller: Caller, erasure_id: UUID) -> Erasure:
        async with self._uow(caller) as uow:
            found = await uow.erasures.get(erasure_id)
        if found is None:
            raise receipt_not_found()
        return found

    async def list_page(self, caller: Caller, paging: Paging) -> tuple[list[Erasure], int, str | None]:
        async with self._uow(tenant_caller(caller.tenant_id)) as uow:
            return await uow.erasures.list_page(paging)


def erasure_out(row: Erasure) -> ErasureOut:
    return ErasureOut(
        id=row.id,
        status="erasing" if row.finished_at is None else "done",
        requested_by=row.requested_by,
        requested_at=row.created_at,
        finished_at=row.finished_at,
        counts=row.counts,
    )


def _hash(receipt: str) -> bytes:
    return hashlib.sha256(receipt.encode()).digest()
