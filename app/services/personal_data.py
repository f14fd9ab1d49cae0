"""What a person, or a law, may ask of what is stored: how long it is kept, what there is, and that it goes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.core.settings import Settings
from app.db.uow import UowFactory
from app.providers.ports import Storage
from app.services.auth import Forget
from app.services.erasing import Eraser
from app.services.erasures import ErasureService
from app.services.exports import ExportService
from app.services.retention import RetentionService, terms_of
from app.services.statistics import StatisticsService


@dataclass(frozen=True, slots=True)
class PersonalData:
    erasures: ErasureService
    eraser: Eraser
    exports: ExportService
    retention: RetentionService


def make_personal_data(
    settings: Settings, uow: UowFactory, storage: Storage, compact: Callable[[], Awaitable[int]], forget: Forget
) -> PersonalData:
    return PersonalData(
        ErasureService(uow, forget=forget),
        Eraser(uow, storage, StatisticsService(uow)),
        ExportService(uow),
        RetentionService(uow, terms_of(settings), compact=compact),
    )
