"""The processes that read documents for a service, seen from outside."""

import contextlib

import psutil  # type: ignore[import-untyped]

FORK_SERVER = "app.readers.fork_server"


def fork_server(pid: int) -> psutil.Process | None:
    """The child of `pid` that forks them."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if FORK_SERVER in child.cmdline():
                    return child
    return None


def reading_processes(pid: int) -> list[psutil.Process]:
    """Those of the process `pid`, one for each document that is being read."""
    server = fork_server(pid)
    with contextlib.suppress(psutil.Error):
        return list(server.children()) if server else []
    return []
