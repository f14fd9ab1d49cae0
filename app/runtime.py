"""The only place that puts the parts together. API, worker, command line and tests open the same runtime."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.background import in_background
from app.core.errors import RagchatError
from app.core.logging import get_logger
from app.core.security import development_key
from app.core.settings import Settings
from app.db import migrate
from app.db.embedded import embedded_postgres
from app.db.engine import Database, open_engines, wait_until_up
from app.db.indexes import Indexes
from app.db.notify import Channel, Hub, listening
from app.db.row_security import require_wall
from app.db.searching import searching
from app.db.uow import UowFactory, uow_factory
from app.providers.embedding import canonical_name, open_embedder
from app.providers.llm import ModelChain, ModelSettings, open_models
from app.providers.ports import Embedder, Storage
from app.providers.reranking import open_reranker
from app.providers.storage import open_storage
from app.providers.webhooks import WebhookSender
from app.readers.limits import Limits
from app.repositories.documents import CHANNEL as DOCUMENT_CHANNEL
from app.repositories.spaces import CHANNEL
from app.repositories.turn_events import CHANNEL as TURN_CHANNEL
from app.services.accounts import Accounts, make_accounts
from app.services.answering import Answering
from app.services.auth import AuthService
from app.services.budgets import BudgetService
from app.services.chat import ChatService
from app.services.citing import Citing
from app.services.completions import CompletionService
from app.services.document_events import DocumentEvents
from app.services.documents import DocumentService
from app.services.draining import Draining
from app.services.embedders import Embedders
from app.services.embeddings import EmbeddingService
from app.services.explanation import ExplanationService
from app.services.feedback import FeedbackService
from app.services.health import HealthService
from app.services.idempotency import IdempotencyService
from app.services.indexing import Parts
from app.services.ingestion import IngestionService
from app.services.limits import limits_of
from app.services.links import LinkService
from app.services.live_turns import LiveTurns
from app.services.masking import MaskingService, masking_of
from app.services.messages import MessageService
from app.services.personal_data import PersonalData, make_personal_data
from app.services.reindexing import ReindexService
from app.services.retrieval import RetrievalService
from app.services.sessions import SessionService
from app.services.spaces import SpaceService
from app.services.statistics import StatisticsService
from app.services.turn_keeping import TurnHousekeeping
from app.services.turn_signals import TurnSignals
from app.services.turns import TurnService
from app.services.usage import UsageService
from app.services.webhooks import WebhookService

DATABASE_WAIT_SECONDS = 30.0
MIGRATION_WAIT_SECONDS = 60.0
TURN_WAIT_SECONDS = 5.0
FOLLOW_SECONDS = 5.0
"""The net under LISTEN/NOTIFY."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    settings: Settings
    engine: AsyncEngine
    """Sees what the transaction's caller may see. The service's tables belong to `owner`."""
    owner: AsyncEngine
    uow: UowFactory
    storage: Storage
    auth: AuthService
    accounts: Accounts
    idempotency: IdempotencyService
    sessions: SessionService
    messages: MessageService
    feedback: FeedbackService
    documents: DocumentService
    links: LinkService
    document_events: DocumentEvents
    reindexing: ReindexService
    ingestion: IngestionService
    spaces: SpaceService
    statistics: StatisticsService
    retrieval: RetrievalService
    turns: TurnService
    turn_signals: TurnSignals
    turn_housekeeping: TurnHousekeeping
    chat: ChatService
    completions: CompletionService
    masking: MaskingService
    embeddings: EmbeddingService
    explanation: ExplanationService
    budgets: BudgetService
    usage: UsageService
    webhooks: WebhookService
    personal_data: PersonalData
    health: HealthService
    draining: Draining


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The engines alone, with the embedded server when no DATABASE_URL is set."""
    async with contextlib.AsyncExitStack() as stack:
        url: str | URL = settings.database_url.get_secret_value()
        if not url:
            url = await stack.enter_async_context(embedded_postgres(settings.data_dir / "postgres"))
        owner_url = settings.migration_database_url.get_secret_value()
        database = open_engines(url, owner_url, pool_size=settings.database_pool_size)
        stack.push_async_callback(database.app.dispose)
        stack.push_async_callback(database.owner.dispose)
        yield database


@contextlib.asynccontextmanager
async def open_runtime(
    settings: Settings, *, migrate_first: bool = True, database_wait: float = DATABASE_WAIT_SECONDS
) -> AsyncIterator[Runtime]:
    """Everything, ready to use. With `migrate_first` False it waits for somebody else to migrate."""
    model = canonical_name(settings.sentence_transformer_model)
    async with contextlib.AsyncExitStack() as stack:
        embedders = Embedders(partial(open_embedder, precision=settings.embedding_precision))
        stack.push_async_callback(embedders.close)
        embedders.begin(model)  # while the database starts
        database = await stack.enter_async_context(open_database(settings))
        await wait_until_up(database.owner, database_wait)
        if migrate_first:
            await migrate.upgrade(database.owner)
        else:
            await migrate.wait_for_head(database.owner, MIGRATION_WAIT_SECONDS)
        engine = database.app
        await require_wall(engine)
        storage = make_storage(settings)
        stack.push_async_callback(storage.close)
        await storage.open()
        uow = uow_factory(engine)
        spaces = SpaceService(uow, embedders, Indexes(database.owner), exact_limit=settings.exact_search_limit)
        await spaces.open(model)
        retrieval = await stack.enter_async_context(_open_retrieval(settings, engine, uow, spaces))
        models = make_models(settings)
        if models is not None:
            stack.push_async_callback(models.close)
        runtime = _assemble(settings, database, uow, storage, retrieval, spaces, models)
        stack.callback(runtime.accounts.passwords.close)
        await runtime.auth.register_settings_key(settings_key(settings))
        stack.push_async_callback(runtime.turn_signals.close)
        stack.push_async_callback(runtime.chat.drain, TURN_WAIT_SECONDS)
        stack.push_async_callback(runtime.document_events.close)
        await stack.enter_async_context(in_background(_follow_switches(engine, spaces)))
        yield runtime


def load_embedder(settings: Settings) -> Embedder:
    return open_embedder(settings.sentence_transformer_model, precision=settings.embedding_precision)


@contextlib.asynccontextmanager
async def _open_retrieval(
    settings: Settings, engine: AsyncEngine, uow: UowFactory, spaces: SpaceService
) -> AsyncIterator[RetrievalService]:
    """Unavailable(reranker_missing | reranker_not_loaded | ...): what was asked for must be there."""
    reranker = None
    if settings.reranker_model:
        reranker = await asyncio.to_thread(open_reranker, settings.reranker_model)
    yield RetrievalService(
        uow, searching(engine), spaces, exact_limit=settings.exact_search_limit, reranker=reranker,
        rerank_candidates=settings.rerank_candidates,
    )  # fmt: skip
    if reranker is not None:
        await reranker.close()


def settings_key(settings: Settings) -> str:
    """API_KEY; in development, when it is empty, the one in the data folder."""
    return settings.api_key.get_secret_value() or development_key(settings.data_dir)[0]


async def _follow_switches(engine: AsyncEngine, spaces: SpaceService) -> None:
    """The top of a task: another process may switch to another embedding space at any time."""
    changed = asyncio.Event()
    async with listening(engine, CHANNEL, changed.set):
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_SECONDS):
                    await changed.wait()
            changed.clear()
            try:
                await spaces.refresh()
            except RagchatError as exc:
                log.warning("embedding_space.not_followed", code=exc.code)
            except Exception:
                log.exception("embedding_space.fault")


def _assemble(
    settings: Settings, database: Database, uow: UowFactory, storage: Storage, retrieval: RetrievalService,
    spaces: SpaceService, models: ModelChain | None,
) -> Runtime:  # fmt: skip
    accounts, engine = make_accounts(settings, uow), database.app
    live, draining, budgets = LiveTurns(), Draining(), BudgetService(uow, limits_of(settings))
    signals = TurnSignals(live, Channel(engine, TURN_CHANNEL))
    housekeeping = TurnHousekeeping(uow, events_hours=settings.turn_events_hours)
    turns = TurnService(uow, live, signals)
    documents = DocumentService(uow, storage, max_bytes=settings.max_upload_bytes)
    masking = masking_of(settings, uow)
    chat = ChatService(
        uow, turns, live, retrieval, _answering(settings, models, budgets, masking, spaces), citing=Citing(spaces),
        draining=draining, top_k=settings.top_k, max_chars=settings.max_message_chars,
    )  # fmt: skip
    return Runtime(
        settings=settings, engine=engine, owner=database.owner, uow=uow, storage=storage, masking=masking,
        auth=accounts.auth, accounts=accounts, idempotency=IdempotencyService(uow),
        sessions=SessionService(uow), messages=MessageService(uow), feedback=FeedbackService(uow),
        documents=documents,
        links=LinkService(documents, storage, settings_key=settings_key(settings)),
        document_events=DocumentEvents(uow, Hub(engine, DOCUMENT_CHANNEL)),
        reindexing=ReindexService(uow),
        ingestion=IngestionService(Parts(uow, storage, spaces, _limits(settings))),
        spaces=spaces, statistics=StatisticsService(uow), retrieval=retrieval,
        turns=turns, turn_signals=signals, turn_housekeeping=housekeeping, chat=chat,
        completions=CompletionService(uow, chat, turns, masking, max_chars=settings.max_message_chars, model=models),
        embeddings=EmbeddingService(spaces),
        explanation=ExplanationService(uow, retrieval, top_k=settings.top_k),
        budgets=budgets,
        usage=UsageService(uow),
        webhooks=_webhooks(uow, settings),
        personal_data=make_personal_data(settings, uow, storage, housekeeping.compact, accounts.auth.forget),
        health=HealthService(engine, storage, degraded=partial(_degraded, spaces, models), draining=draining),
        draining=draining,
    )  # fmt: skip


def _answering(
    settings: Settings, models: ModelChain | None, budgets: BudgetService, masking: MaskingService, spaces: SpaceService
) -> Answering:
    return Answering(
        models, budgets=budgets, masking=masking, spaces=spaces, max_tokens=settings.llm_max_tokens,
        link_hosts=settings.link_hosts,
    )  # fmt: skip


def _degraded(spaces: SpaceService, models: ModelChain | None) -> list[str]:
    """Optional parts that do not work at the moment."""
    return [*spaces.degraded(), *(["llm"] if models is not None and models.degraded() else [])]


def _webhooks(uow: UowFactory, settings: Settings) -> WebhookService:
    sender = WebhookSender(settings.webhook_allowed_hosts, https_only=settings.app_env == "production")
    return WebhookService(uow, sender)


def make_storage(settings: Settings, folder: Path | None = None) -> Storage:
    return open_storage(
        folder or settings.data_dir / "files",
        bucket=settings.s3_bucket,
        prefix=settings.s3_prefix,
        endpoint_url=settings.s3_endpoint_url,
        region=settings.aws_region,
    )


def make_models(settings: Settings) -> ModelChain | None:
    """None: answers are put together from the passages. Invalid(llm_not_configured)"""
    return open_models(
        ModelSettings(
            provider=settings.llm_provider,
            bedrock_model_id=settings.bedrock_model_id,
            bedrock_endpoint_url=settings.bedrock_endpoint_url,
            region=settings.aws_region,
            openai_base_url=settings.openai_base_url,
            openai_api_key=settings.openai_api_key.get_secret_value(),
            openai_model=settings.openai_model,
            window=settings.llm_context_tokens,
        )
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        memory_bytes=settings.parser_memory_mb * 2**20,
        cpu_seconds=settings.parser_timeout_seconds,
        wall_seconds=float(settings.parser_timeout_seconds),
        max_pages=settings.max_pages,
    )
