"""Embedding spaces: which one serves, and how another takes its place while it does.

A new model gets a space of its own, which is filled in the background, indexed, compared and switched to by one
UPDATE; the old one stays filled until it is dropped, so that the way back is one UPDATE, too.
"""

from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.caller import SYSTEM
from app.core.errors import Conflict, NotFound, RagchatError
from app.core.logging import get_logger
from app.db.indexes import build_hnsw, drop_hnsw
from app.db.uow import UnitOfWork, UowFactory
from app.models import EmbeddingSpace
from app.providers.ports import Embedder
from app.repositories.jobs import BACKGROUND
from app.repositories.spaces import SpaceState
from app.services.embedders import Embedders
from app.services.filling import Filler, Space
from app.services.leases import Lease

FILL = "space.fill"
DROP = "space.drop"
DELETED_AT_ONCE = 5000
log = get_logger(__name__)


def space_not_found() -> NotFound:
    return NotFound("space_not_found", "There is no such embedding space; `ragchat spaces list` shows them.")


class SpaceService:
    def __init__(self, uow: UowFactory, embedders: Embedders, engine: AsyncEngine) -> None:
        self._uow = uow
        self._embedders = embedders
        self._engine = engine
        self._current: Space | None = None
        self._wanted = ""
        self._stale = False

    @property
    def current(self) -> Space:
        """The one that this process searches."""
        if self._current is None:
            raise RuntimeError("no space was opened")
        return self._current

    async def open(self, model: str) -> None:
        """The active space; on a new installation that of `model`. Its embedder's errors when it cannot be loaded."""
        async with self._uow(SYSTEM) as uow:
            active = await uow.spaces.active()
        if active is None:
            embedder = await self._embedders.get(model)
            active = await self._create(embedder)
        self._current = await self._loaded(active)
        self._wanted = model
        if self.degraded():
            log.warning("embedding_space.other_model", active=active.model, setting=model)

    def degraded(self) -> list[str]:
        """When the settings name another model than the one in use, or the one in use cannot be loaded here."""
        return ["embedding_space"] if self._stale or self._wanted != self.current.model else []

    async def refresh(self) -> None:
        """Follows a switch. The old space serves until the new one's model is loaded, or if it cannot be."""
        async with self._uow(SYSTEM) as uow:
            active = await uow.spaces.active()
        if active is None or active.id == self.current.id:
            self._stale = False
            return
        try:
            self._current = await self._loaded(active)
        except RagchatError as exc:
            self._stale = True
            log.error("embedding_space.cannot_follow", model=active.model, code=exc.code)
            return
        self._stale = False
        log.info("embedding_space.switched", model=active.model)

    async def kept(self, uow: UnitOfWork) -> list[EmbeddingSpace]:
        """Those that every new document is embedded for: the one in use first, then those that were."""
        return [space for space in await uow.spaces.all() if space.is_active or space.activated_at is not None]

    async def load(self, space: EmbeddingSpace) -> Space | None:
        """None when a space that is not in use cannot be loaded: it is filled later, by whoever can."""
        try:
            return await self._loaded(space)
        except RagchatError as exc:
            if space.is_active:
                raise
            log.warning("embedding_space.cannot_load", model=space.model, code=exc.code)
            return None

    async def _loaded(self, space: EmbeddingSpace) -> Space:
        embedder = await self._embedders.get(space.model)
        return Space(space.id, space.model, space.dimensions, frozenset(space.languages), embedder)

    async def states(self) -> list[SpaceState]:
        async with self._uow(SYSTEM) as uow:
            return await uow.spaces.states()

    async def create(self, model: str) -> EmbeddingSpace:
        """A space for the model, and the job that fills it. An existing one is filled on."""
        space = await self._create(await self._embedders.get(model))
        async with self._uow(SYSTEM) as uow:
            await enqueue_fill(uow, space.id)
        return space

    async def _create(self, embedder: Embedder) -> EmbeddingSpace:
        async with self._uow(SYSTEM) as uow:
            languages = sorted(embedder.languages)
            space = await uow.spaces.create(embedder.name, dimensions=embedder.dimensions, languages=languages)
        if space.is_dropping:
            raise Conflict("space_dropping", "The space of this model is being dropped; try again when it is gone.")
        return space

    async def fill(self, space_id: int, lease: Lease) -> bool:
        """Embeds what the space lacks. True when nothing was left and it is indexed; False: call again."""
        async with self._uow(SYSTEM) as uow:
            row = await uow.spaces.get(space_id)
        if row is None or row.is_dropping:
            return True
        if not await Filler(self._uow, await self._loaded(row), lease).run():
            return False
        await build_hnsw(self._engine, row.id, row.dimensions)
        log.info("embedding_space.filled", model=row.model)
        return True

    async def switch(self, space_id: int) -> EmbeddingSpace:
        """Conflict(space_incomplete, space_not_indexed) while a search in it could find less than in the old one."""
        async with self._uow(SYSTEM) as uow:
            await uow.spaces.lock()
            space = await uow.spaces.get(space_id)
            if space is None or space.is_dropping:
                raise space_not_found()
            missing = await uow.spaces.missing(space_id)
            if missing:
                await enqueue_fill(uow, space_id)
            elif not next(state.indexed for state in await uow.spaces.states() if state.id == space_id):
                raise Conflict("space_not_indexed", "The index of this space is not built yet; its job does it last.")
            else:
                await uow.spaces.activate(space_id)
        if missing:
            raise Conflict("space_incomplete", f"{missing} passages have no vector in this space yet; it is filled on.")
        return space

    async def rollback(self) -> EmbeddingSpace:
        """Switches to the space that served before this one."""
        async with self._uow(SYSTEM) as uow:
            before = [s for s in await uow.spaces.all() if s.activated_at is not None and not s.is_active]
        if not before:
            raise Conflict("no_earlier_space", "No other space has served before, or it was dropped.")
        return await self.switch(before[0].id)

    async def drop(self, space_id: int) -> None:
        """From now on it counts as gone; its vectors go by a job. Conflict(space_active) for the one in use."""
        async with self._uow(SYSTEM) as uow:
            await uow.spaces.lock()
            space = await uow.spaces.get(space_id)
            if space is None:
                raise space_not_found()
            if space.is_active:
                raise Conflict("space_active", "This space is in use; switch to another one first.")
            await uow.spaces.mark_dropping(space_id)
            await uow.jobs.enqueue(DROP, {"space_id": space_id}, dedupe_key=f"{DROP}:{space_id}", priority=BACKGROUND)

    async def delete(self, space_id: int) -> None:
        """The work of the job: in small steps, each of which may be the last one of a worker that dies."""
        await drop_hnsw(self._engine, space_id)
        while True:
            async with self._uow(SYSTEM) as uow:
                if await uow.spaces.delete_some(space_id, limit=DELETED_AT_ONCE) == 0:
                    await uow.spaces.delete(space_id)
                    return


async def enqueue_fill(uow: UnitOfWork, space_id: int) -> None:
    await uow.jobs.enqueue(FILL, {"space_id": space_id}, dedupe_key=f"{FILL}:{space_id}", priority=BACKGROUND)
