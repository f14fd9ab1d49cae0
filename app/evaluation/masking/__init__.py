"""How well personal data is found: a set with known answers, made anew each time, and figures for each kind."""

from app.evaluation.masking.report import Score, report
from app.evaluation.masking.samples import Sample, samples

__all__ = ["Sample", "Score", "report", "samples"]
