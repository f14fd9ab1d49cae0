"""Where rate limits are counted: in this process, or in a Redis that several processes share."""

from app.core.errors import Invalid
from app.providers.counters.memory import MemoryCounters
from app.providers.ports import Counters

IN_MEMORY = ("", "memory://")


def open_counters(uri: str) -> Counters:
    if uri in IN_MEMORY:
        return MemoryCounters()
    if uri.startswith(("redis://", "rediss://")):
        from app.providers.counters.redis import RedisCounters

        return RedisCounters(uri)
    raise Invalid(
        "rate_limit_storage_unknown",
        "RATE_LIMIT_STORAGE_URI is none of redis://..., rediss://... and empty for this process alone.",
    )
