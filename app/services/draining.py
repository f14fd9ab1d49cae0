"""A process that is about to stop: it takes nothing new, and finishes what it has begun."""

import asyncio

from app.core.errors import Unavailable

RETRY_SECONDS = 5.0
"""By then another process answers, or this one has been started again."""


class Draining:
    """`ended` is set when every turn has ended: streams that are still open end then."""

    def __init__(self) -> None:
        self._begun = False
        self.ended = asyncio.Event()

    @property
    def begun(self) -> bool:
        return self._begun

    def begin(self) -> None:
        self._begun = True

    def refuse_new(self) -> None:
        """Unavailable(server_draining) once it has begun."""
        if self._begun:
            raise Unavailable("server_draining", "This server is about to stop; try again.", retry_after=RETRY_SECONDS)
