"""Which placeholder stands for which value in a conversation, and the way back, in streams too."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Self

import regex

from app.privacy.entities import ENTITIES
from app.privacy.folding import fold
from app.privacy.occurrences import Occurrences

LITERAL = "LITERAL"
"""The name of what looked like a placeholder before anything was masked."""
NOT_AGAIN = frozenset({LITERAL, "IP", "IFSC"})
"""Masked wherever they are found, but what is called a version or a product code stays one."""
VERSION = 1
_KINDS = {entity.name: entity for entity in reversed(ENTITIES)}
_NAMES = "|".join([*_KINDS, LITERAL])
PLACEHOLDER = rf"<(?:{_NAMES})(?:_[0-9]{{1,6}}){{1,2}}>"
"""A pattern, for prompts, which leave placeholders whole."""
_PLACEHOLDER = regex.compile(PLACEHOLDER.replace("_", r"\\?_"))
r"""<PHONE_1>; the second spelling of the same number is <PHONE_1_2>. Models that write Markdown say <PHONE\_1>."""


class UnknownVersion(ValueError):
    """The map was written by a newer release."""


class MaskingMap:
    """The same value has the same placeholder as long as the map lives: for a conversation.

    Two spellings of one value share the number and have placeholders of their own, so that each comes back as it was.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._spellings: dict[tuple[str, int], list[str]] = {}
        self._counts: Counter[str] = Counter()
        self._values: dict[str, str] = {}
        self._placeholders: dict[tuple[str, str], str] = {}
        self._occurrences = Occurrences()

    def __len__(self) -> int:
        return len(self._values)

    @property
    def counts(self) -> dict[str, int]:
        """How many different values of each kind; may be logged."""
        return dict(self._counts)

    def placeholder(self, name: str, value: str) -> str:
        """The one that it has, or a new one."""
        found = self._placeholders.get((name, value))
        return found if found is not None else self._add(name, value)

    def occurrences(self, text: str) -> Iterator[tuple[str, int, int]]:
        """(name, start, end) of values of this map, spelled as they were, wherever they stand."""
        return self._occurrences.find(text)

    def handed(self, text: str) -> dict[str, str]:
        """The placeholders that stand in a masked text, and their values."""
        found = (match.group() for match in _PLACEHOLDER.finditer(text))
        return {placeholder: self._values[placeholder] for placeholder in found if placeholder in self._values}

    def restore(self, text: str) -> str:
        """With the values again, for their owner. Placeholders that were never given out stay as they are."""
        return _replaced(text, self._values.get)

    def display(self, text: str) -> str:
        """For those who may see that there is a value, but not which: XXXX XXXX 0124, a card's last digits, <PHONE>."""
        return _replaced(text, self._displayed)

    def to_json(self) -> str:
        """Holds the values in clear: seal it before it is stored."""
        values = [[name, number, value] for (name, number), spellings in self._spellings.items() for value in spellings]
        return json.dumps({"version": VERSION, "values": values}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """UnknownVersion when it is not ours to read."""
        read = json.loads(text)
        if read.get("version") != VERSION:
            raise UnknownVersion
        known = cls()
        for name, number, value in read["values"]:
            known._keep(name, number, value)
        return known

    def _add(self, name: str, value: str) -> str:
        number = self._numbers.get((name, _canonical(name, value)), self._counts[name] + 1)
        return self._keep(name, number, value)

    def _keep(self, name: str, number: int, value: str) -> str:
        self._numbers[name, _canonical(name, value)] = number
        self._counts[name] = max(self._counts[name], number)
        spellings = self._spellings.setdefault((name, number), [])
        spellings.append(value)
        which = f"_{len(spellings)}" if len(spellings) > 1 else ""
        placeholder = f"<{name}_{number}{which}>"
        self._values[placeholder] = value
        self._placeholders[name, value] = placeholder
        if name not in NOT_AGAIN:
            self._occurrences.add(name, value)
        return placeholder

    def _displayed(self, placeholder: str) -> str | None:
        value = self._values.get(placeholder)
        if value is None:
            return None
        name = kind_of(placeholder)
        display = _KINDS[name].display if name in _KINDS else None
        return display(fold(value).text) if display is not None else f"<{name}>"


class Restorer:
    """`MaskingMap.restore` for a text that comes in pieces; holds back only what may be the start of a placeholder."""

    def __init__(self, known: MaskingMap | Mapping[str, str], spelled: Callable[[str], str] = str) -> None:
        """All placeholders of a map, or those given with their values. `spelled` makes a value fit for its place."""
        self._known = known._values if isinstance(known, MaskingMap) else known
        self._spelled = spelled
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        at = _open_placeholder(text)
        self._held = text[at:]
        return _replaced(text[:at], self._restored)

    def flush(self) -> str:
        """What is still held: not a placeholder after all."""
        held, self._held = self._held, ""
        return held

    def _restored(self, placeholder: str) -> str | None:
        value = self._known.get(placeholder)
        return None if value is None else self._spelled(value)


def kind_of(placeholder: str) -> str:
    return placeholder[1:].rstrip("0123456789_>")


def find_placeholders(text: str) -> Iterator[tuple[int, int]]:
    if "<" in text:
        yield from (match.span() for match in _PLACEHOLDER.finditer(text))


def _open_placeholder(text: str) -> int:
    """Where the unfinished placeholder at the end of the text begins; the text's length when there is none."""
    at = text.rfind("<")
    if at >= 0:
        match = _PLACEHOLDER.fullmatch(text, at, partial=True)
        if match is not None and match.partial:
            return at
    return len(text)


def _replaced(text: str, replacement: Callable[[str], str | None]) -> str:
    """Each placeholder, without the marks of Markdown, by what stands for it; as it was where nothing does."""
    parts: list[str] = []
    at = 0
    for match in _PLACEHOLDER.finditer(text):
        found = replacement(match.group().replace("\\", ""))
        if found is not None:
            parts += (text[at : match.start()], found)
            at = match.end()
    return "".join([*parts, text[at:]])


def _canonical(name: str, value: str) -> str:
    kind = _KINDS.get(name)
    return kind.canonical(fold(value).text) if kind is not None else value
