"""What may stand in a log: these fields, and values that cannot be anybody's text.

A field that is not here is left out, and a value that does not fit its rule is replaced; both are faults of ours, and
tests look for them (docs/logging.md).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from structlog.typing import EventDict

Rule = Callable[[Any], bool]
LEFT_OUT = "left_out"
UNFIT = "(unfit)"
EVENT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
OTHER = "other"
"""A method is a word of the client's choice."""


def number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def counts(value: Any) -> bool:
    """How many of each kind."""
    return isinstance(value, Mapping) and all(word(kind) and number(many) for kind, many in value.items())


def matching(pattern: str) -> Rule:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def either(*rules: Rule) -> Rule:
    return lambda value: any(rule(value) for rule in rules)


uuid = matching(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
word = matching(r"[A-Za-z][A-Za-z0-9_.]{0,63}")
"""A code, a state, the name of a type."""
phrase = matching(r"[a-z]{1,16}( [a-z]{1,16}){0,4}")
"""Why a connection ended."""
name = matching(r"[A-Za-z0-9./~][\w.:/@+-]{0,127}")
"""Of a model or its folder, a module, a revision; set by the operator or in the code."""
route = matching(r"[\w/{}.:-]{1,200}")
"""A template: what stands in its braces is not told."""

FIELDS: Mapping[str, Rule] = {
    "active": name,
    "at": matching(r"[\w./<>-]{1,100}:[0-9]{1,6} [\w<>]{1,100}"),
    "attempt": number,
    "by": word,
    "bytes": number,
    "channel": word,
    "chunks": number,
    "clean": number,
    "code": either(word, number),
    "count": number,
    "document_id": uuid,
    "error": word,
    "erasure_id": uuid,
    "family_id": uuid,
    "interrupted": number,
    "job_id": uuid,
    "key_id": uuid,
    "kind": word,
    "masked": counts,
    "message_id": uuid,
    "method": lambda value: value in METHODS or value == OTHER,
    "model": name,
    "ms": number,
    "operation": word,
    "reason": either(word, phrase),
    "removed": counts,
    "request_id": matching(r"[\w.-]{1,64}"),
    "retries": number,
    "revision": name,
    "route": route,
    "seconds": number,
    "seconds_left": number,
    "session_id": uuid,
    "setting": name,
    "sockets": number,
    "sources": number,
    "state": word,
    "status": either(word, number),
    "tenant_id": uuid,
    "turn_id": uuid,
    "turns": number,
    "user_id": uuid,
    "version": number,
    "webhook_id": uuid,
} | dict.fromkeys(("first_token_ms", "retrieval_ms", "total_ms"), number)
OWN = frozenset({"event", "level", "logger", "timestamp", "exc_info", "said", "_record", "_from_structlog"})
"""Set by the chain of processors itself."""


def allow_listed(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Drops what nobody has agreed to, and says so; replaces what may be text."""
    unknown = [key for key in event if key not in FIELDS and key not in OWN]
    for key in unknown:
        del event[key]
    if unknown:
        event[LEFT_OUT] = len(unknown)
    for key, rule in FIELDS.items():
        if key in event and not rule(event[key]):
            event[key] = UNFIT
    if not EVENT.fullmatch(str(event.get("event"))):
        event["event"] = UNFIT
    return event
