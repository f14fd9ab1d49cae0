"""How much one document may cost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    memory_bytes: int = 2 * 2**30
    """Address space of the process that reads (RLIMIT_AS)."""
    cpu_seconds: int = 60
    wall_seconds: float = 60.0
    max_text_bytes: int = 64 * 2**20
    """UTF-8 bytes of the text as it is handed over, line breaks counted twice."""
    max_pages: int = 2000


DEFAULT_LIMITS = Limits()
