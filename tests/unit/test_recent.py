"""What is remembered for a while."""

from app.core.recent import Recent


def test_a_value_is_known_for_a_while() -> None:
    now = 0.0
    known: Recent[tuple[str, int], int] = Recent(10.0, 5, lambda: now)
    assert known.put(("one", 1), 7) == 7
    assert (known.get(("one", 1)), known.get(("one", 2)), known.get(("other", 1))) == (7, None, None)
    now = 10.0
    assert known.get(("one", 1)) is None


def test_what_is_remembered_does_not_grow() -> None:
    known: Recent[int, int] = Recent(10.0, 5, lambda: 0.0)
    for name in range(6):
        known.put(name, name)
        assert known.get(name) == name
    assert len(known._known) <= 5


def test_some_are_forgotten() -> None:
    known: Recent[str, int] = Recent(10.0, 5, lambda: 0.0)
    for name, value in (("one", 1), ("two", 2), ("three", 3)):
        known.put(name, value)
    known.forget(lambda value: value > 1)
    assert [known.get(name) for name in ("one", "two", "three")] == [1, None, None]
