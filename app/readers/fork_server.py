"""A fork server for the processes that read: `python -m app.readers.fork_server <descriptor of a socket>`.

It has the libraries loaded, which takes longer than to read most documents, and never sees a document itself. For each
it gets a message over the socket: JSON {"kind", "limits"} and three descriptors: the file, where the answer goes, and
where it tells of the child in numbers of four bytes: its process id, then its exit status (negative: a signal).
It ends when the other end of the socket is closed, and its children with it.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

from app.readers import child, reader_for

LONGEST_ORDER = 65536
DESCRIPTORS = 3
NUMBER = struct.Struct("!i")
_MOST_DESCRIPTORS = 4096


class ForkServer:
    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._tell: dict[int, int] = {}
        """Process id to the descriptor that its end is told on."""

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: self._reap())
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._orders, LONGEST_ORDER, DESCRIPTORS)
            if not message:
                return
            order = json.loads(message)
            with contextlib.suppress(Exception):  # the child meets it again, and says what it is
                reader_for(order["kind"])
            self._fork(order, *descriptors)

    def _fork(self, order: dict[str, Any], file: int, answer: int, tell: int) -> None:
        gc.freeze()
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # until it is known whom to tell
        try:
            process_id = os.fork()
        except OSError:  # which the other side sees by the closed pipe
            os.close(tell)
        else:
            if process_id == 0:
                _read(order, file, answer, parent)
            with contextlib.suppress(OSError):  # it does so itself; whoever is told of it may kill the group at once
                os.setpgid(process_id, process_id)
            self._tell[process_id] = tell
            _write_number(tell, process_id)
        finally:
            os.close(file)
            os.close(answer)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                process_id, status = ended
                tell = self._tell.pop(process_id)
                _write_number(tell, os.waitstatus_to_exitcode(status))
                os.close(tell)


def _write_number(tell: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(tell, NUMBER.pack(number))


def _read(order: dict[str, Any], file: int, answer: int, parent: int) -> NoReturn:
    """What is left of this process: one document. Skips the teardown of libraries; all is flushed."""
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        os.dup2(file, sys.stdin.fileno())
        os.dup2(answer, sys.stdout.fileno())
        os.closerange(sys.stderr.fileno() + 1, _MOST_DESCRIPTORS)  # others' answers wait for these to be closed
        child.read(order, parent)
        os._exit(0)
    finally:
        os._exit(1)


if __name__ == "__main__":
    ForkServer(socket.socket(fileno=int(sys.argv[1]))).run()
    os._exit(0)
