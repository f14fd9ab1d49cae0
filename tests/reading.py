"""The processes that read documents for a service, seen from outside."""

import contextlib

import psutil  # type: ignore[import-untyped]

FORKS = "app.readers.forks"


def forking_process(pid: int) -> psutil.Process | None:
    """The child of `pid` that forks them."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if FORKS in child.cmdline():
                    return child
    return None


def reading_processes(pid: int) -> list[psutil.Process]:
    """Those of the process `pid`, one for each document that is being read."""
    forks = forking_process(pid)
    with contextlib.suppress(psutil.Error):
        return list(forks.children()) if forks else []
    return []
