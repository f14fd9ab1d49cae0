"""Embedding spaces: which one serves, and how another takes its place while it does.

A new model gets a space of its own, which is filled in the background, indexed, compared and switched to by one
UPDATE; the old one stays filled until it is dropped, so that the way back is one UPDATE, too.
"""

from app.core.caller import SYSTEM, Caller
from app.core.errors import Conflict, Invalid, NotFound, RagchatError, Unavailable
from app.core.logging import get_logger
from app.db.indexes import Indexes
from app.db.uow import UnitOfWork, UowFactory
from app.models import EmbeddingSpace
from app.providers.ports import Embedder
from app.repositories.hnsw import MOST_DIMENSIONS
from app.repositories.jobs import BACKGROUND, USUAL
from app.repositories.spaces import SpaceState
from app.services.embedders import Embedders
from app.services.filling import FIRST_ID, Filler, Space
from app.services.leases import Lease
from app.services.statistics import LARGE

FILL = "space.fill"
DROP = "space.drop"
DROP_AFTER_SECONDS = 60.0
"""Processes that are still loading the next model search the old vectors meanwhile."""
DELETED_AT_ONCE = 5000
LARGEST_ID = 2**15 - 1
log = get_logger(__name__)


def space_not_found() -> NotFound:
    return NotFound("space_not_found", "There is no such embedding space; `ragchat spaces list` shows them.")


class SpaceService:
    def __init__(self, uow: UowFactory, embedders: Embedders, indexes: Indexes, *, exact_limit: int) -> None:
        """`exact_limit`: scopes up to this many passages are searched without an index."""
        self._uow = uow
        self._embedders = embedders
        self._indexes = indexes
        self._index_from = index_from(exact_limit)
        self._current: Space | None = None
        self._wanted = ""
        self._stale = False
        self._lost = False

    @property
    def current(self) -> Space:
        """The one that this process searches. Unavailable(space_dropped) when it is gone and no other can be loaded."""
        if self._current is None:
            raise RuntimeError("no space was opened")
        if self._lost:
            raise Unavailable("space_dropped", "This process cannot load the embedding model that is in use.")
        return self._current

    async def open(self, model: str) -> None:
        """The active space, on a new installation that of `model`; one that is kept when it cannot be loaded.

        The active one's embedder's errors when no other is complete and can be loaded.
        """
        async with self._uow(SYSTEM) as uow:
            active = await uow.spaces.active()
            if active is not None and await self._lacks_index(uow, active.id):
                await enqueue_fill(uow, active.id, priority=USUAL)
        if active is None:
            embedder = await self._embedders.get(model)
            async with self._uow(SYSTEM) as uow:
                await uow.spaces.lock()
                active = await uow.spaces.active() or await _create(uow, embedder)
            if self._index_from == 0:
                await self._index(active)
        self._wanted = model
        self._current = await self._loaded_or_kept(active)
        if active.model != model:
            log.warning("embedding_space.other_model", active=active.model, setting=model)

    async def _index(self, space: EmbeddingSpace) -> None:
        """By whoever may: a process that is not the tables' owner searches without until another one has."""
        try:
            await self._indexes.build(space.id, space.dimensions)
        except RagchatError as exc:
            log.warning("embedding_space.not_indexed", model=space.model, code=exc.code)

    async def _loaded_or_kept(self, active: EmbeddingSpace) -> Space:
        try:
            return await self._loaded(active)
        except RagchatError as exc:
            log.error("embedding_space.cannot_follow", model=active.model, code=exc.code)
            self._stale = True
            async with self._uow(SYSTEM) as uow:
                others = [space for space in await self.kept(uow) if not space.is_active]
                complete = [space for space in others if await self._lack(uow, space.id) is None]
            for each in complete:
                space = await self.load(each)
                if space is not None:
                    return space
            raise

    def degraded(self) -> list[str]:
        """When the settings name another model than the one in use, or the one in use cannot be loaded here."""
        other = self._current is not None and self._current.model != self._wanted
        return ["embedding_space"] if self._stale or other else []

    async def refresh(self) -> None:
        """Follows a switch. The old space serves until the new one's model is loaded, or if it cannot be."""
        mine = self._current
        async with self._uow(SYSTEM) as uow:
            active = await uow.spaces.active()
            kept = {space.id for space in await uow.spaces.all()}
        if active is None or mine is None or active.id == mine.id:
            self._stale = self._lost = False
            return
        try:
            self._current = await self._loaded(active)
        except RagchatError as exc:
            if not self._stale:
                log.error("embedding_space.cannot_follow", model=active.model, code=exc.code)
            self._stale, self._lost = True, mine.id not in kept
            return
        self._stale = self._lost = False
        log.info("embedding_space.switched", model=active.model)

    async def kept(self, uow: UnitOfWork) -> list[EmbeddingSpace]:
        """Those that every new document is embedded for, the one in use first."""
        return [space for space in await uow.spaces.all() if space.is_complete]

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
        if embedder.dimensions != space.dimensions:
            detail = f"{space.model} has {embedder.dimensions} dimensions now; its vectors have {space.dimensions}."
            raise Unavailable("embedder_changed", detail)
        return Space(space.id, space.model, space.dimensions, frozenset(space.languages), embedder)

    async def states(self) -> list[SpaceState]:
        async with self._uow(SYSTEM) as uow:
            return await uow.spaces.states()

    async def named(self, name: str) -> EmbeddingSpace:
        """By its id or its model's canonical name. NotFound(space_not_found)."""
        async with self._uow(SYSTEM) as uow:
            if name.isdecimal():
                space = await uow.spaces.get(int(name)) if int(name) <= LARGEST_ID else None
            else:
                space = await uow.spaces.find(name)
        if space is None:
            raise space_not_found()
        return space

    async def complete(self, space: EmbeddingSpace) -> Space:
        """Loaded, to be searched. Conflict(space_incomplete, space_not_indexed) while it could find too little."""
        async with self._uow(SYSTEM) as uow:
            lack = await self._lack(uow, space.id)
        if lack is not None:
            raise lack
        return await self._loaded(space)

    async def create(self, model: str) -> EmbeddingSpace:
        """A space for the model, and the job that fills it. An existing one is filled on."""
        embedder = await self._embedders.get(model)
        async with self._uow(SYSTEM) as uow:
            space = await _create(uow, embedder)
            await enqueue_fill(uow, space.id)
        return space

    async def fill(self, space_id: int, lease: Lease) -> bool:
        """Embeds what the space lacks. True when it is complete, indexed, and the job has ended; else call again."""
        async with self._uow(SYSTEM) as uow:
            row = await uow.spaces.get(space_id)
        if row is None or row.is_dropping:
            await self._indexes.drop(space_id)  # an index that was being built when it was dropped
            return True
        if not await Filler(self._uow, await self._loaded(row), lease).run():
            return False
        await self._indexes.build(row.id, row.dimensions)
        if not await self._filled(space_id, lease):
            return False
        log.info("embedding_space.filled", model=row.model)
        return True

    async def _filled(self, space_id: int, lease: Lease) -> bool:
        """Ends the job when nothing is left. Under the lock of documents that become visible: each is either seen here,
        or sees that the space is one of those that it must be embedded for."""
        async with self._uow(SYSTEM) as uow:
            await uow.spaces.lock()
            row = await uow.spaces.get(space_id)
            if row is None or row.is_dropping or await uow.spaces.unfilled(space_id, after=FIRST_ID, limit=1):
                return False
            await uow.spaces.mark_filled(space_id)
            await uow.jobs.complete(lease.job_id, lease.token)
            return True

    async def index_later(self, caller: Caller) -> None:
        """The caller's passages have become more: an index that search will need is built by the job that fills."""
        async with self._uow(caller) as uow:
            for space in await uow.spaces.all():
                if await self._lacks_index(uow, space.id):
                    await enqueue_fill(uow, space.id, priority=USUAL)

    async def switch(self, space_id: int) -> EmbeddingSpace:
        """Conflict(space_incomplete, space_not_indexed) while a search in it could find less than in the old one."""
        async with self._uow(SYSTEM) as uow:
            await uow.spaces.lock()
            space = await uow.spaces.get(space_id)
            if space is None or space.is_dropping:
                raise space_not_found()
            lack = await self._lack(uow, space_id)
            if lack is not None:
                await enqueue_fill(uow, space_id)
            elif not space.is_active:
                await uow.spaces.activate(space_id)
                await uow.audit.record("space.switch", "space", str(space_id))
        if lack is not None:
            raise lack
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
            await uow.audit.record("space.drop", "space", str(space_id))
            delay = DROP_AFTER_SECONDS if space.activated_at is not None else 0.0
            key = f"{DROP}:{space_id}"
            await uow.jobs.enqueue(
                DROP, {"space_id": space_id}, dedupe_key=key, priority=BACKGROUND, delay_seconds=delay
            )

    async def delete(self, space_id: int) -> None:
        """The work of the job: in small steps, each of which may be the last one of a worker that dies."""
        await self._indexes.drop(space_id)
        while True:
            async with self._uow(SYSTEM) as uow:
                if await uow.spaces.delete_some(space_id, limit=DELETED_AT_ONCE) == 0:
                    await uow.spaces.delete(space_id)
                    return

    async def _lack(self, uow: UnitOfWork, space_id: int) -> Conflict | None:
        """What keeps search from finding in it all that there is, in good time."""
        missing = await uow.spaces.missing(space_id)
        if missing:
            detail = f"{missing} passages have no vector in this space yet; it is being filled."
            return Conflict("space_incomplete", detail)
        if await self._lacks_index(uow, space_id):
            detail = "The index of this space is not built yet; the job that fills it does it."
            return Conflict("space_not_indexed", detail)
        return None

    async def _lacks_index(self, uow: UnitOfWork, space_id: int) -> bool:
        """Asked in this order: whether one is needed takes a look at all documents."""
        return not await uow.spaces.indexed(space_id) and await uow.spaces.needs_indexes(self._index_from)


def index_from(exact_limit: int) -> int:
    """How many passages a tenant has when an index is built, so that it is there once search needs it. Before, it would
    only cost each new passage as much as storing it does. 0, from the start, where fewer than are counted would do."""
    half = exact_limit // 2
    return half if half >= LARGE else 0


async def enqueue_fill(uow: UnitOfWork, space_id: int, *, priority: int = BACKGROUND) -> None:
    await uow.jobs.enqueue(FILL, {"space_id": space_id}, dedupe_key=f"{FILL}:{space_id}", priority=priority)


async def _create(uow: UnitOfWork, embedder: Embedder) -> EmbeddingSpace:
    if embedder.dimensions > MOST_DIMENSIONS:
        detail = f"The model has {embedder.dimensions} dimensions; {MOST_DIMENSIONS} can be kept: {embedder.name}@1024."
        raise Invalid("invalid_dimensions", detail)
    languages = sorted(embedder.languages)
    space = await uow.spaces.create(embedder.name, dimensions=embedder.dimensions, languages=languages)
    if space.is_dropping:
        raise Conflict("space_dropping", "The space of this model is being dropped; try again when it is gone.")
    return space
