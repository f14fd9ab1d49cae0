"""Where a set is asked: the instance's own documents, or a tenant of the set's own, passing or kept."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from app.core.caller import SYSTEM, Caller, tenant_caller
from app.core.ids import new_id
from app.evaluation.errors import BadSet
from app.runtime import Runtime

PREFIX = "evaluation:"
"""Of the tenants' names; then `kept:<name>:<hash>`, `kept:<name>:loading` or `passing:<id>`."""
FORGOTTEN = timedelta(days=1)
"""A passing tenant that is older was left by a run that was killed."""
LOADING = "loading"


@contextlib.asynccontextmanager
async def passing(runtime: Runtime) -> AsyncIterator[Caller]:
    """Leaving the block deletes everything in it."""
    await _sweep(runtime)
    caller = tenant_caller(new_id())
    async with runtime.uow(caller) as uow:
        await uow.evaluation.create_tenant(f"{PREFIX}passing:{caller.tenant_id}")
    try:
        yield caller
    finally:
        await delete(runtime, caller)


async def find_kept(runtime: Runtime, name: str, fingerprint: str) -> Caller | None:
    """The one that holds exactly this; another one of the name, or half of one, is deleted."""
    found = None
    for row_name, caller in await _kept(runtime, name):
        if row_name.endswith(f":{fingerprint}"):
            found = caller
        else:
            await delete(runtime, caller)
    return found


async def begin_kept(runtime: Runtime, name: str) -> Caller:
    caller = tenant_caller(new_id())
    async with runtime.uow(caller) as uow:
        await uow.evaluation.create_tenant(f"{PREFIX}kept:{name}:{LOADING}")
    return caller


async def complete_kept(runtime: Runtime, caller: Caller, name: str, fingerprint: str) -> None:
    async with runtime.uow(caller) as uow:
        await uow.evaluation.rename_tenant(f"{PREFIX}kept:{name}:{fingerprint}")


async def drop_kept(runtime: Runtime, name: str) -> None:
    """BadSet when there is none."""
    found = await _kept(runtime, name)
    if not found:
        raise BadSet(f"nothing is kept as {name}; kept: {', '.join(await kept_names(runtime)) or 'nothing'}")
    for _, caller in found:
        await delete(runtime, caller)


async def kept_names(runtime: Runtime) -> list[str]:
    async with runtime.uow(SYSTEM) as uow:
        rows = await uow.evaluation.tenants(f"{PREFIX}kept:")
    return [row.name.split(":")[2] for row in rows]


async def _kept(runtime: Runtime, name: str) -> list[tuple[str, Caller]]:
    async with runtime.uow(SYSTEM) as uow:
        rows = await uow.evaluation.tenants(f"{PREFIX}kept:{name}:")
    return [(row.name, tenant_caller(row.id)) for row in rows]


async def _sweep(runtime: Runtime) -> None:
    async with runtime.uow(SYSTEM) as uow:
        rows = await uow.evaluation.tenants(f"{PREFIX}passing:")
    for row in rows:
        if datetime.now(UTC) - row.created_at > FORGOTTEN:
            await delete(runtime, tenant_caller(row.id))


async def delete(runtime: Runtime, caller: Caller) -> None:
    """The rows first: a file too many is better than a row without one."""
    async with runtime.uow(caller) as uow:
        await uow.evaluation.delete_tenant()
    async for file in runtime.storage.list_files(f"{caller.tenant_id}/"):
        await runtime.storage.delete(file.key)
