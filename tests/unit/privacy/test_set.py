"""The published figures, on a smaller set of the same kind."""

import pytest

from app.evaluation.masking import Sample, report, samples
from app.privacy.entities import ENTITIES

EACH = 60
LEAST = 0.97


def test_every_kind_is_found_and_little_else():
    scores = report(samples(7, EACH))
    assert {*scores} == {entity.name for entity in ENTITIES}
    for name, score in scores.items():
        assert (score.positives, score.negatives) == (EACH, EACH), name
        assert min(score.recall, score.precision) >= LEAST, name


def test_the_same_seed_makes_the_same_set():
    assert list(samples(7, 3)) == list(samples(7, 3)) != list(samples(8, 3))


@pytest.mark.parametrize(
    ("sample", "figures"),
    [
        (Sample("PHONE", "x 9848022338", 2, 12), (1, 1, 0)),
        (Sample("PHONE", "x 1848022338", 2, 12), (0, 0, 0)),
        (Sample("PAN", "x 9848022338", 2, 12), (1, 0, 0)),
        (Sample("PHONE", "x 9848022338", 2, 12 + 1), (0, 0, 0)),
        (Sample("PHONE", "x 9848022338", 0, 0), (0, 0, 1)),
    ],
)
def test_what_is_counted(sample, figures):
    score = report([sample])
    mine, phone = score[sample.name], score.get("PHONE", score[sample.name])
    assert (mine.masked, mine.named, phone.wrong) == figures
