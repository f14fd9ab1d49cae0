"""Whoever is being erased gets nothing new."""

from app.core.errors import Conflict
from app.db.uow import UnitOfWork


async def admit(uow: UnitOfWork, user_id: str | None) -> None:
    """In the transaction that stores something of the user's. Conflict(user_erased) while they are being erased; and
    for what they began themselves before the end and only now want to store. The calling system may name the same user
    anew once it is over."""
    if user_id is None:
        return
    being_erased = await uow.erasures.is_open(user_id)
    if being_erased or (being_erased is False and uow.caller.user_id is not None):
        raise Conflict("user_erased", "This user is being erased, or was.")
