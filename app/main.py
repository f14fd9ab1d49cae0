"""The web application. `uvicorn --factory app.main:create_app` serves it; `ragchat serve` does so with our limits."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from app.api.connections import Connections
from app.api.cors import Cors
from app.api.docs_page import mount_docs
from app.api.errors import add_error_handlers
from app.api.middleware import AddressLimit, RequestContext
from app.api.openapi import DESCRIPTION, TAGS, describe
from app.api.rate_limit import open_rate_limits
from app.api.routers import ROUTERS
from app.core.background import in_background
from app.core.garbage import settled
from app.core.settings import Settings
from app.core.version import VERSION
from app.runtime import open_runtime
from app.worker.runner import running_worker

FORM_ROOM_BYTES = 1 << 20
"""For boundaries and fields, beside the file of an upload."""


def create_app(settings: Settings | None = None, *, migrate: bool = True) -> FastAPI:
    settings = settings or Settings()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            runtime = await stack.enter_async_context(open_runtime(settings, migrate_first=migrate))
            app.state.runtime = runtime
            app.state.rate_limits = await stack.enter_async_context(open_rate_limits(settings))
            await stack.enter_async_context(in_background(runtime.turn_housekeeping.run()))
            if settings.worker_in_process:
                await stack.enter_async_context(running_worker(runtime, concurrency=settings.worker_concurrency))
            with settled():
                yield

    app = FastAPI(
        title="ragchat",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        max_body_size=settings.max_upload_bytes + FORM_ROOM_BYTES,
    )
    app.state.connections = Connections(settings)
    for router in ROUTERS:
        app.include_router(router)
    # The routers have taken the limit over; the application's own would answer in plain text, outside of middleware.
    app.max_body_size = None
    mount_docs(app)
    describe(app)
    add_error_handlers(app)
    app.add_middleware(AddressLimit)
    app.add_middleware(Cors, origins=settings.origins)
    app.add_middleware(RequestContext, proxies=settings.proxies, hsts_seconds=settings.hsts_seconds)
    return app
