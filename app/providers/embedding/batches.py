"""Which texts are embedded together: near lengths, a bounded number of padded tokens, few different shapes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LENGTH_STEP = 16
"""The runtime keeps a compiled kernel for each shape it met; with steps there are 16 lengths, not 256."""
BATCH_TOKENS = 1024
"""Larger ones are no faster, and hold more memory and the processor for longer."""


@dataclass(frozen=True, slots=True)
class Batch:
    length: int
    """In tokens, padding included."""
    rows: list[int]
    """Positions in the input."""


def padded(length: int) -> int:
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def plan(lengths: Sequence[int], budget: int = BATCH_TOKENS) -> Iterator[Batch]:
    """Every position exactly once, longest first, so that padding and the last batch stay small."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    first = 0
    while first < len(order):
        length = padded(lengths[order[first]])
        count = max(1, budget // length)
        yield Batch(length, order[first : first + count])
        first += count
