"""What was used of language models: by day, model, user, key or session."""

from datetime import date

from app.core.caller import Caller
from app.core.errors import Invalid
from app.db.uow import UowFactory
from app.repositories.paging import Paging
from app.schemas.usage import GroupBy, UsageGroup, UsageReport, UsageSum


class UsageService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def report(
        self, caller: Caller, paging: Paging, *, group_by: GroupBy, since: date | None = None, until: date | None = None
    ) -> UsageReport:
        """Both days included; by default the month so far. Invalid when they are the wrong way round."""
        if paging.cursor is not None:
            raise Invalid("invalid_cursor", "Usage is paged by `skip` and `limit`.", pointer="/cursor")
        async with self._uow(caller) as uow:
            today = await uow.usage.today()
            until = until or max(today, since or today)
            since = since or min(today.replace(day=1), until)
            if since > until:
                raise Invalid("invalid_request", "`from` must not be after `to`.", pointer="/from")
            overall = await uow.usage.overall(since, until)
            rows, total = await uow.usage.grouped(group_by, since, until, paging=paging)
        return UsageReport(
            items=[UsageGroup.model_validate(row) for row in rows],
            total=total,
            skip=paging.skip,
            limit=paging.limit,
            next_cursor=None,
            group_by=group_by,
            since=since,
            until=until,
            overall=UsageSum.model_validate(overall),
        )
