"""Passwords: argon2id by passlib, which this file alone knows, in threads of its own.

A hash takes a core and 19 MiB for a moment, so there are few threads and a short queue: whoever comes when it is full
is asked to come again. Nothing is cut off: what is too long is refused before it gets here.
"""

import asyncio
import contextlib
import os
import secrets
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from app.core.errors import RateLimited

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it looks for `crypt`, which is not used here
    from passlib.context import CryptContext
    from passlib.exc import UnknownHashError
    from passlib.hash import argon2

    argon2.set_backend()

T = TypeVar("T")
MEMORY_KIB, ROUNDS, LANES = 19_456, 2, 1
"""As OWASP's cheat sheet on storing passwords has it. Hashes of smaller numbers are made anew at the next login."""
WAITING = 32
"""Logins that may wait for a thread."""


class Passwords:
    def __init__(self, *, memory_kib: int = MEMORY_KIB, threads: int | None = None, waiting: int = WAITING) -> None:
        self._context = CryptContext(
            schemes=["argon2"], argon2__type="ID", argon2__memory_cost=memory_kib, argon2__rounds=ROUNDS,
            argon2__parallelism=LANES,
        )  # fmt: skip
        threads = threads or max(1, (os.cpu_count() or 2) // 2)  # the other cores are for everybody else
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._free = threads + waiting

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Taken before anything is done for a login, and kept to its end. RateLimited(too_many_logins) when there is
        none."""
        if not self._free:
            raise RateLimited("too_many_logins", "Too many people log in at the moment; try again.", retry_after=1)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def hash(self, password: str) -> str:
        return await self._run(lambda: str(self._context.hash(_spelled(password))))

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """(whether it is right, a hash to be stored instead of one that has become weak). Takes as long for None, which
        no password fits."""
        return await self._run(lambda: self._verify(_spelled(password), stored))

    def _verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        nobodys = self._nobodys  # made by the first login, whoever it is
        try:
            right, fresh = self._context.verify_and_update(password, stored or nobodys)
        except (ValueError, UnknownHashError):
            return False, None
        return bool(right) and stored is not None, fresh

    @cached_property
    def _nobodys(self) -> str:
        return str(self._context.hash(secrets.token_urlsafe()))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _spelled(password: str) -> str:
    """The same on every keyboard (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
