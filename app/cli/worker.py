"""`ragchat worker`."""

import asyncio
import contextlib
import signal

from app.cli.common import NO_START, load_settings, require_data_folder, run
from app.core.garbage import settled
from app.core.logging import catch_strays, configure_logging, get_logger
from app.core.settings import Settings
from app.runtime import open_runtime
from app.worker.heartbeat import beating
from app.worker.runner import Worker


def worker() -> None:
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    catch_strays()
    require_data_folder(settings)
    run(lambda: _work(settings), refusal=NO_START)


async def _work(settings: Settings) -> None:
    """Until a signal; being told to stop is a good end, so the exit code is 0 then."""
    task = asyncio.create_task(_run(settings))
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, lambda: task.cancelling() or task.cancel())
    with contextlib.suppress(asyncio.CancelledError):
        await task
    get_logger(__name__).info("worker.stopped")


async def _run(settings: Settings) -> None:
    async with open_runtime(settings, migrate_first=False) as runtime, beating(settings.data_dir):
        get_logger(__name__).info("worker.ready")
        with settled():
            await Worker(runtime, concurrency=settings.worker_concurrency).run()
