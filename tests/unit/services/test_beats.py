"""How often what a turn says is stored."""

import pytest

from app.services.event_log import BEAT_SECONDS, LONGEST_REST_SECONDS, next_beat


@pytest.mark.parametrize(
    ("took", "pause"),
    [
        (0.0, BEAT_SECONDS),
        (0.01, BEAT_SECONDS - 0.01),
        (0.05, 0.1),
        (0.2, 0.4),
        (1.0, LONGEST_REST_SECONDS),
        (9.0, LONGEST_REST_SECONDS),
    ],
)
def test_the_pause_behind_a_flush(took: float, pause: float) -> None:
    """Twice what it took leaves the database time for others; one that took long is no reason to be silent as long."""
    assert next_beat(100.0, 100.0 + took) == pytest.approx(100.0 + took + pause)
