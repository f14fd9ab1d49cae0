"""A process that stops without dying, in the middle of a transaction, keeps nobody else from the work."""

import asyncio

import pytest
from sqlalchemy import text

from app.core.caller import SYSTEM
from app.core.errors import Unavailable
from app.db.engine import SERVER_SETTINGS
from tests.conftest import Tenant


async def test_its_locks_are_gone_before_its_lease_has_run_out(tenant: Tenant) -> None:
    """The real setting is 10 seconds; the lease of a job is 15."""
    assert SERVER_SETTINGS["idle_in_transaction_session_timeout"] == "10s"
    async with tenant.runtime.uow(tenant.caller) as uow:
        job_id = await uow.jobs.enqueue("test.frozen", {})
    with pytest.raises(Unavailable, match="database_unavailable"):
        async with tenant.runtime.owner.connect() as frozen:
            shown = await frozen.execute(text("SHOW idle_in_transaction_session_timeout"))
            assert shown.scalar_one() == "10s"
            await frozen.rollback()
        async with tenant.runtime.uow(tenant.caller) as uow:
            await uow._session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '300ms'"))
            await uow._session.execute(text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE"), {"id": job_id})
            await asyncio.sleep(1)
            async with tenant.runtime.uow(SYSTEM) as other:
                locked = text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE NOWAIT")
                assert (await other._session.execute(locked, {"id": job_id})).scalar_one() == 1
            await uow._session.execute(text("SELECT 1"))
    async with tenant.runtime.uow(SYSTEM) as uow:
        await uow._session.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": job_id})
