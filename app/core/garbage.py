"""The garbage collector of a service that runs for long."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """What is there when the block begins is not looked through again: a full collection stops everything for a tenth
    of a second, of which what was loaded at the start takes nearly all."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
