"""Precision and recall of each kind on a set of samples."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.evaluation.masking.samples import Sample
from app.privacy.masking import Finding, find


@dataclass(slots=True)
class Score:
    """`masked`: hidden whole, under whatever name; `named`: under its own. `wrong`: found where there is none."""

    positives: int = 0
    negatives: int = 0
    masked: int = 0
    named: int = 0
    wrong: int = 0

    @property
    def recall(self) -> float:
        return self.masked / self.positives if self.positives else 1.0

    @property
    def precision(self) -> float:
        return self.named / (self.named + self.wrong) if self.named + self.wrong else 1.0


def report(samples: Iterable[Sample]) -> dict[str, Score]:
    """A find where there is none counts against the kind that it is taken for, whichever the sample is about."""
    scores: dict[str, Score] = {}
    for sample in samples:
        score = scores.setdefault(sample.name, Score())
        findings = find(sample.text)
        if sample.start < sample.end:
            score.positives += 1
            score.masked += _covers(sample, findings)
            score.named += any(_is(sample, finding) for finding in findings)
        else:
            score.negatives += 1
        for finding in findings:
            if not (finding.start < sample.end and sample.start < finding.end):
                scores.setdefault(finding.name, Score()).wrong += 1
    return scores


def _covers(sample: Sample, findings: list[Finding]) -> bool:
    return any(finding.start <= sample.start and sample.end <= finding.end for finding in findings)


def _is(sample: Sample, finding: Finding) -> bool:
    return finding.name == sample.name and finding.start <= sample.start and sample.end <= finding.end
