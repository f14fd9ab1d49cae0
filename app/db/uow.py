"""The unit of work: an indented block that is one transaction. Leaving it commits; an error rolls back.

The transaction tells the database who is asking; row-level security then shows nothing else.

No provider is awaited inside it, so no connection is held while a model thinks.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import cached_property

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from app.core.caller import Caller
from app.db.connection import announcement
from app.db.engine import database_errors
from app.repositories.api_keys import ApiKeyRepository
from app.repositories.audit import AuditRepository
from app.repositories.budgets import BudgetRepository
from app.repositories.chunks import ChunkRepository
from app.repositories.completions import CompletionRepository
from app.repositories.documents import DocumentRepository
from app.repositories.erasures import ErasureRepository
from app.repositories.evaluation import EvaluationRepository
from app.repositories.feedback import FeedbackRepository
from app.repositories.idempotency import IdempotencyRepository
from app.repositories.jobs import JobRepository
from app.repositories.masking_maps import MaskingMapRepository
from app.repositories.messages import MessageRepository
from app.repositories.prices import PriceRepository
from app.repositories.refresh_tokens import RefreshTokenRepository
from app.repositories.retention import RetentionRepository
from app.repositories.sessions import SessionRepository
from app.repositories.spaces import SpaceRepository
from app.repositories.statistics import StatisticsRepository
from app.repositories.turn_events import TurnEventRepository
from app.repositories.turns import TurnRepository
from app.repositories.usage import UsageRepository
from app.repositories.users import UserRepository
from app.repositories.verification import VerificationRepository
from app.repositories.webhooks import WebhookRepository


class UnitOfWork:
    """One transaction for one caller; each repository filters by that caller."""

    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self._session = session
        self.caller = caller

    @cached_property
    def api_keys(self) -> ApiKeyRepository:
        return ApiKeyRepository(self._session, self.caller)

    @cached_property
    def audit(self) -> AuditRepository:
        return AuditRepository(self._session, self.caller)

    @cached_property
    def budgets(self) -> BudgetRepository:
        return BudgetRepository(self._session, self.caller)

    @cached_property
    def chunks(self) -> ChunkRepository:
        return ChunkRepository(self._session, self.caller)

    @cached_property
    def completions(self) -> CompletionRepository:
        return CompletionRepository(self._session, self.caller)

    @cached_property
    def documents(self) -> DocumentRepository:
        return DocumentRepository(self._session, self.caller)

    @cached_property
    def erasures(self) -> ErasureRepository:
        return ErasureRepository(self._session, self.caller)

    @cached_property
    def evaluation(self) -> EvaluationRepository:
        return EvaluationRepository(self._session, self.caller)

    @cached_property
    def feedback(self) -> FeedbackRepository:
        return FeedbackRepository(self._session, self.caller)

    @cached_property
    def idempotency(self) -> IdempotencyRepository:
        return IdempotencyRepository(self._session, self.caller)

    @cached_property
    def jobs(self) -> JobRepository:
        return JobRepository(self._session, self.caller)

    @cached_property
    def masking_maps(self) -> MaskingMapRepository:
        return MaskingMapRepository(self._session, self.caller)

    @cached_property
    def messages(self) -> MessageRepository:
        return MessageRepository(self._session, self.caller)

    @cached_property
    def prices(self) -> PriceRepository:
        return PriceRepository(self._session, self.caller)

    @cached_property
    def refresh_tokens(self) -> RefreshTokenRepository:
        return RefreshTokenRepository(self._session, self.caller)

    @cached_property
    def retention(self) -> RetentionRepository:
        return RetentionRepository(self._session, self.caller)

    @cached_property
    def sessions(self) -> SessionRepository:
        return SessionRepository(self._session, self.caller)

    @cached_property
    def spaces(self) -> SpaceRepository:
        return SpaceRepository(self._session, self.caller)

    @cached_property
    def statistics(self) -> StatisticsRepository:
        return StatisticsRepository(self._session, self.caller)

    @cached_property
    def turn_events(self) -> TurnEventRepository:
        return TurnEventRepository(self._session, self.caller)

    @cached_property
    def turns(self) -> TurnRepository:
        return TurnRepository(self._session, self.caller)

    @cached_property
    def usage(self) -> UsageRepository:
        return UsageRepository(self._session, self.caller)

    @cached_property
    def users(self) -> UserRepository:
        return UserRepository(self._session, self.caller)

    @cached_property
    def verification(self) -> VerificationRepository:
        return VerificationRepository(self._session, self.caller)

    @cached_property
    def webhooks(self) -> WebhookRepository:
        return WebhookRepository(self._session, self.caller)


class _Session(Session):
    """A class of its own, so that what follows concerns units of work alone."""


@event.listens_for(_Session, "after_begin")
def _announce(session: Session, _transaction: object, connection: Connection) -> None:
    """Before anything is sent: the driver begins the transaction with the first statement."""
    connection.connection.driver_connection.announcement = announcement(session.info["caller"])  # type: ignore[union-attr]


UowFactory = Callable[[Caller], AbstractAsyncContextManager[UnitOfWork]]


def uow_factory(engine: AsyncEngine) -> UowFactory:
    sessions = async_sessionmaker(engine, sync_session_class=_Session, expire_on_commit=False, autoflush=False)

    @contextlib.asynccontextmanager
    async def begin(caller: Caller) -> AsyncIterator[UnitOfWork]:
        with database_errors():
            async with sessions(info={"caller": caller}) as session, session.begin():
                yield UnitOfWork(session, caller)

    return begin
