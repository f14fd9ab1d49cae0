"""A full collection of a service that has started."""

import gc

from app.core.garbage import settled


def test_what_was_there_is_not_looked_through_and_is_later() -> None:
    before = gc.get_freeze_count()
    with settled():
        assert gc.get_freeze_count() > before + 10_000
        assert len(gc.get_objects()) < 10_000
    assert gc.get_freeze_count() == 0
