"""How much of something may be done in how long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """`amount` 0 stands for no limit. `name` is a word that clients see."""

    name: str
    amount: int
    seconds: int = 60
