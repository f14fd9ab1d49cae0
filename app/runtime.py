"""The only place that puts the parts together. API, worker, command line and tests open the same runtime."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.caller import DEFAULT_TENANT, tenant_caller
from app.core.logging import get_logger
from app.core.security import development_key
from app.core.settings import Settings
from app.db import migrate
from app.db.embedded import embedded_postgres
from app.db.engine import create_engine, wait_until_up
from app.db.uow import UowFactory, uow_factory
from app.models import EmbeddingSpace
from app.providers.embedding import open_embedder
from app.providers.llm import ExtractiveModel
from app.providers.ports import Embedder
from app.providers.storage import LocalStorage
from app.readers.limits import Limits
from app.services.auth import AuthService
from app.services.chat import ChatService
from app.services.documents import DocumentService
from app.services.health import HealthService
from app.services.ingestion import IngestionService
from app.services.live_turns import LiveTurns
from app.services.messages import MessageService
from app.services.retrieval import RetrievalService
from app.services.sessions import SessionService
from app.services.turns import TurnService

DATABASE_WAIT_SECONDS = 30.0
MIGRATION_WAIT_SECONDS = 60.0
TURN_WAIT_SECONDS = 5.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    settings: Settings
    engine: AsyncEngine
    uow: UowFactory
    storage: LocalStorage
    auth: AuthService
    sessions: SessionService
    messages: MessageService
    documents: DocumentService
    ingestion: IngestionService
    retrieval: RetrievalService
    turns: TurnService
    chat: ChatService
    health: HealthService


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The engine alone, with the embedded server when no DATABASE_URL is set."""
    async with contextlib.AsyncExitStack() as stack:
        url: str | URL = settings.database_url.get_secret_value()
        if not url:
            url = await stack.enter_async_context(embedded_postgres(settings.data_dir / "postgres"))
        engine = create_engine(url, pool_size=settings.database_pool_size)
        stack.push_async_callback(engine.dispose)
        yield engine


@contextlib.asynccontextmanager
async def open_runtime(
    settings: Settings, *, migrate_first: bool = True, database_wait: float = DATABASE_WAIT_SECONDS
) -> AsyncIterator[Runtime]:
    """Everything, ready to use. With `migrate_first` False it waits for somebody else to migrate."""
    loading = asyncio.create_task(asyncio.to_thread(load_embedder, settings))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(loading.cancel)
        engine = await stack.enter_async_context(open_database(settings))
        await wait_until_up(engine, database_wait)
        if migrate_first:
            await migrate.upgrade(engine)
        else:
            await migrate.wait_for_head(engine, MIGRATION_WAIT_SECONDS)
        storage = LocalStorage(settings.data_dir / "files")
        await storage.open()
        embedder = await loading
        stack.push_async_callback(embedder.close)
        uow = uow_factory(engine)
        space = await _open_space(uow, embedder)
        runtime = _assemble(settings, engine, uow, storage, embedder, space)
        await runtime.auth.register_settings_key(settings_key(settings))
        stack.push_async_callback(runtime.chat.close, TURN_WAIT_SECONDS)
        yield runtime


def load_embedder(settings: Settings) -> Embedder:
    return open_embedder(settings.sentence_transformer_model, precision=settings.embedding_precision)


def settings_key(settings: Settings) -> str:
    """API_KEY; in development, when it is empty, the one in the data folder."""
    return settings.api_key.get_secret_value() or development_key(settings.data_dir)[0]


async def _open_space(uow: UowFactory, embedder: Embedder) -> EmbeddingSpace:
    async with uow(tenant_caller(DEFAULT_TENANT)) as work:
        space = await work.spaces.ensure(
            embedder.name, dimensions=embedder.dimensions, languages=sorted(embedder.languages)
        )
        await work.spaces.ensure_index(space)
    return space


def _assemble(
    settings: Settings,
    engine: AsyncEngine,
    uow: UowFactory,
    storage: LocalStorage,
    embedder: Embedder,
    space: EmbeddingSpace,
) -> Runtime:
    live = LiveTurns()
    turns = TurnService(uow, live)
    retrieval = RetrievalService(uow, embedder, space, exact_limit=settings.exact_search_limit)
    return Runtime(
        settings=settings,
        engine=engine,
        uow=uow,
        storage=storage,
        auth=AuthService(uow),
        sessions=SessionService(uow),
        messages=MessageService(uow),
        documents=DocumentService(uow, storage, max_bytes=settings.max_upload_bytes),
        ingestion=IngestionService(uow, storage, embedder, space_id=space.id, limits=_limits(settings)),
        retrieval=retrieval,
        turns=turns,
        chat=ChatService(
            uow,
            turns,
            live,
            retrieval,
            ExtractiveModel(),
            top_k=settings.top_k,
            max_chars=settings.max_message_chars,
        ),
        health=HealthService(engine, storage, degraded=_degraded(space)),
    )


def _degraded(space: EmbeddingSpace) -> list[str]:
    """With another model than the one that the documents were indexed for, search has words only for those."""
    if space.is_active:
        return []
    log.warning("embedding_space.not_active", model=space.model)
    return ["embedding_space"]


def _limits(settings: Settings) -> Limits:
    return Limits(
        memory_bytes=settings.parser_memory_mb * 2**20,
        cpu_seconds=settings.parser_timeout_seconds,
        wall_seconds=float(settings.parser_timeout_seconds),
        max_pages=settings.max_pages,
    )
