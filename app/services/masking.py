"""Personal data leaves as placeholders, the same ones in all turns of a session, and comes back for its owner.

Whatever sends text to a language model, to translation or to speech asks here first: `masks` for a turn, `mask` and
`restore` for a single text. The map of a session is read when something was found or said before, and written, sealed,
before the text leaves and only when it has grown.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import RagchatError
from app.core.logging import get_logger
from app.core.security import development_secret
from app.core.settings import Settings
from app.db.uow import UnitOfWork, UowFactory
from app.privacy import Finding, MaskingMap, Restorer, kind_of, marks, mask_together
from app.privacy.placeholders import UnknownVersion
from app.privacy.vault import Sealed, Vault
from app.repositories.masking_maps import StoredMap
from app.services.sessions import session_not_found

AT_ONCE = 4000
"""Code points that are looked through on the event loop; more take a thread."""
TRIES = 5
"""Of writing a map that others write, too."""
T = TypeVar("T")
log = get_logger(__name__)


class MaskingService:
    """Without a vault nothing is stored: a map lives as long as its turn."""

    def __init__(self, uow: UowFactory | None = None, vault: Vault | None = None, *, on: bool = True) -> None:
        self._uow = uow
        self._vault = vault
        self._on = on

    def masks(self, caller: Caller | None = None, session_id: UUID | None = None) -> "Masks":
        """For what leaves in one turn of a session, or together and of no session."""
        if not self._on:
            return Unmasked()
        if self._uow is None or self._vault is None or caller is None or session_id is None:
            return Masks()
        return SessionMasks(SealedMaps(self._uow, self._vault, caller, session_id))

    async def mask(self, caller: Caller, session_id: UUID, text: str) -> str:
        """A text of a session as it may go to translation, speech or wherever else. NotFound(session_not_found)"""
        (masked,) = await self.masks(caller, session_id).cover(text)
        return masked

    async def restore(self, caller: Caller, session_id: UUID, text: str) -> str:
        """What came back of it, for the session's owner. NotFound(session_not_found)"""
        if not self._on or self._uow is None or self._vault is None:
            return text
        known, _ = await SealedMaps(self._uow, self._vault, caller, session_id).load()
        return known.restore(text)


def masking_of(settings: Settings, uow: UowFactory) -> MaskingService:
    """With MASKING_KEY; in development, when it is empty, with the one in the data folder."""
    keys = settings.masking_keys
    if not keys and settings.app_env == "development":
        keys = (development_secret(settings.data_dir, "masking_key"),)
    return MaskingService(uow, Vault.of_secrets(keys) if keys else None, on=settings.masking == "on")


class Masks:
    """What one turn sends away, and the way back. Only placeholders that were handed out in it are restored."""

    def __init__(self) -> None:
        self._known = MaskingMap()
        self._marks: dict[str, list[Finding]] = {}
        self._handed: dict[str, str] = {}

    async def cover(self, *texts: str) -> list[str]:
        """The texts as they may leave, together: what one gives away as personal data is masked in all of them."""
        new = [text for text in dict.fromkeys(texts) if text not in self._marks]
        self._marks |= await _aside(lambda: {text: marks(text) for text in new}, sum(map(len, new)))
        covered = await self._covered({text: self._marks[text] for text in texts})
        for text in covered.values():
            self._handed |= self._known.handed(text)
        return [covered[text] for text in texts]

    async def _covered(self, marked: Mapping[str, Sequence[Finding]]) -> Mapping[str, str]:
        if not (any(marked.values()) or len(self._known)):
            return {text: text for text in marked}
        return await _aside(partial(mask_together, marked, self._known), sum(map(len, marked)))

    async def recall(self, uow: UnitOfWork, session_id: UUID) -> None:
        """Reads what the session knows in a transaction that is there anyway, for texts that say it again."""

    def restore(self, text: str) -> str:
        restorer = self.restorer()
        return restorer.feed(text) + restorer.flush()

    def restorer(self, spelled: Callable[[str], str] = str) -> Restorer:
        """For an answer that comes in pieces."""
        return Restorer(self._handed, spelled)

    @property
    def counts(self) -> dict[str, int]:
        """How many different values of each kind were kept back; may be logged."""
        return dict(Counter(map(kind_of, self._handed)))


class Unmasked(Masks):
    """For an installation that has switched masking off."""

    async def cover(self, *texts: str) -> list[str]:
        return [*texts]


class SessionMasks(Masks):
    def __init__(self, maps: "SealedMaps") -> None:
        super().__init__()
        self._maps = maps
        self._stored: StoredMap | None = None
        self._opened = False

    async def recall(self, uow: UnitOfWork, session_id: UUID) -> None:
        self._stored = await uow.masking_maps.get(session_id)

    async def _covered(self, marked: Mapping[str, Sequence[Finding]]) -> Mapping[str, str]:
        if not self._opened and (any(marked.values()) or (self._stored and self._stored.version)):
            self._known, self._stored = await self._maps.load(self._stored)
            self._opened = True
        for _ in range(TRIES):
            before = len(self._known)
            covered = await super()._covered(marked)
            if len(self._known) == before:
                return covered
            self._stored = await self._maps.keep(self._known, self._stored or StoredMap())
            if self._stored is not None:
                return covered
            self._known, self._stored = await self._maps.load()
        raise RagchatError


class SealedMaps:
    """The map of one session in the database."""

    def __init__(self, uow: UowFactory, vault: Vault, caller: Caller, session_id: UUID) -> None:
        self._uow = uow
        self._vault = vault
        self._caller = caller
        self._session_id = session_id

    async def load(self, stored: StoredMap | None = None) -> tuple[MaskingMap, StoredMap]:
        """As it was read before, or as it is now. One that cannot be opened is begun anew: what was said is masked
        again whenever it is sent. NotFound(session_not_found)"""
        if stored is None:
            async with self._uow(self._caller) as uow:
                stored = await uow.masking_maps.get(self._session_id)
            if stored is None:
                raise session_not_found()
        if not stored.version:
            return MaskingMap(), stored
        try:
            return await _aside(partial(self._vault.open, stored.sealed, self._session_id), len(stored.sealed)), stored
        except (Sealed, UnknownVersion) as exc:
            log.warning("masking.map_not_opened", session_id=str(self._session_id), reason=type(exc).__name__)
            return MaskingMap(), stored

    async def keep(self, known: MaskingMap, seen: StoredMap) -> StoredMap | None:
        """None when somebody else has written meanwhile."""
        sealed = await _aside(partial(self._vault.seal, known, self._session_id), len(known) * 40)
        async with self._uow(self._caller) as uow:
            version = await uow.masking_maps.put(self._session_id, sealed, key=self._vault.current, seen=seen.version)
        return None if version is None else StoredMap(sealed, version)


async def _aside(work: Callable[[], T], size: int) -> T:
    """Off the event loop when it takes long."""
    return work() if size <= AT_ONCE else await asyncio.to_thread(work)
