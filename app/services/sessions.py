"""Conversations: their own fields. What is said in them is in messages.py and chat.py."""

from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Forbidden, Invalid, NotFound, StaleVersion
from app.core.ids import new_id
from app.db.uow import UowFactory
from app.models import ChatSession
from app.repositories.paging import Paging
from app.schemas.sessions import SessionCreate, SessionUpdate
from app.services.admission import admit
from app.services.idempotency import once


def session_not_found() -> NotFound:
    return NotFound("session_not_found", "There is no such session.")


class SessionService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def create(self, caller: Caller, request: SessionCreate) -> ChatSession:
        session = ChatSession(
            id=new_id(),
            user_id=_whose(caller, request.user_id),
            title=request.title,
            scenario_id=request.scenario_id,
            metadata_=request.metadata,
        )
        async with self._uow(caller) as uow, once(uow) as answer:
            await admit(uow, request.user_id)
            return answer.keep(await uow.sessions.create(session), session.id)

    async def get(self, caller: Caller, session_id: UUID) -> ChatSession:
        async with self._uow(caller) as uow:
            session = await uow.sessions.get(session_id)
        if session is None:
            raise session_not_found()
        return session

    async def list_page(
        self,
        caller: Caller,
        paging: Paging,
        *,
        user_id: str | None = None,
        is_favorite: bool | None = None,
        scenario_id: str | None = None,
        q: str | None = None,
    ) -> tuple[list[ChatSession], int, str | None]:
        async with self._uow(caller) as uow:
            return await uow.sessions.list_page(
                paging=paging, user_id=user_id, is_favorite=is_favorite, scenario_id=scenario_id, q=q
            )

    async def update(
        self, caller: Caller, session_id: UUID, request: SessionUpdate, *, if_version: int | None = None
    ) -> ChatSession:
        values: dict[str, Any] = request.model_dump(exclude_unset=True)
        if "metadata" in values:
            values["metadata_"] = values.pop("metadata") or {}
        if values.get("is_favorite", False) is None:
            values.pop("is_favorite")
        async with self._uow(caller) as uow:
            current = await uow.sessions.get(session_id, for_update=True)
            if current is None:
                raise session_not_found()
            if if_version is not None and current.version != if_version:
                raise StaleVersion
            updated = await uow.sessions.update(session_id, values)
        if updated is None:
            raise session_not_found()
        return updated

    async def toggle_favorite(self, caller: Caller, session_id: UUID) -> ChatSession:
        async with self._uow(caller) as uow:
            session = await uow.sessions.toggle_favorite(session_id)
        if session is None:
            raise session_not_found()
        return session

    async def delete(self, caller: Caller, session_id: UUID) -> None:
        """Messages, sources, turns and their events go with it."""
        async with self._uow(caller) as uow:
            await uow.idempotency.forget(session_id)  # a user's transaction sees it as long as the session is there
            if not await uow.sessions.delete(session_id):
                raise session_not_found()
            await uow.audit.record("session.delete", "session", session_id)


def _whose(caller: Caller, named: str | None) -> str:
    """A key names anybody, a user nobody else. Invalid(invalid_request), Forbidden(foreign_user)."""
    whose = caller.user_id if named is None else named
    if whose is None:
        raise Invalid("invalid_request", "A key must name the user.", pointer="/user_id")
    if caller.user_id is not None and whose != caller.user_id:
        raise Forbidden("foreign_user", "A user may open sessions only for themselves.")
    return whose
