"""Hashing: bounded, without truncation, renewed when the numbers rise."""

import asyncio

import pytest

from app.core.errors import RateLimited
from app.core.passwords import MEMORY_KIB, Passwords


async def test_hashes_say_how_they_were_made_and_are_never_the_same() -> None:
    passwords = Passwords()
    one, two = await passwords.hash("correct horse"), await passwords.hash("correct horse")
    assert one.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t=2,p=1$")
    assert one != two
    assert await passwords.verify("correct horse", one) == (True, None)
    assert await passwords.verify("correct horsf", one) == (False, None)


async def test_a_weaker_hash_is_made_anew_when_it_is_seen() -> None:
    weak, strong = Passwords(memory_kib=1024), Passwords()
    stored = await weak.hash("correct horse")
    right, fresh = await strong.verify("correct horse", stored)
    assert right
    assert fresh is not None
    assert await strong.verify("correct horse", fresh) == (True, None)
    assert await strong.verify("another", stored) == (False, None)


@pytest.mark.parametrize("stored", [None, "", "nonsense", "$2b$12$abc", "$argon2id$v=19$m=8,t=1,p=1$x$y"])
async def test_nothing_fits_what_is_no_hash(stored: str | None) -> None:
    assert await Passwords(memory_kib=1024).verify("correct horse", stored) == (False, None)


async def test_there_are_few_places_and_they_are_given_back() -> None:
    passwords = Passwords(memory_kib=1024, threads=1, waiting=1)
    with passwords.place():
        with passwords.place(), pytest.raises(RateLimited) as refused, passwords.place():
            pass
        with pytest.raises(ValueError, match="x"), passwords.place():
            raise ValueError("x")
        with passwords.place():
            pass
    assert (refused.value.code, refused.value.retry_after) == ("too_many_logins", 1)


async def test_the_loop_goes_on_meanwhile() -> None:
    passwords = Passwords(threads=1)
    hashing = asyncio.gather(*(passwords.hash("correct horse") for _ in range(3)))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
