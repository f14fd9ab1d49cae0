"""`ragchat privacy check`: how well personal data is found, for each kind."""

import json

import typer

from app.evaluation.masking import Score, report, samples

TARGET = 0.99


def check(seed: int | None, each: int, *, as_json: bool) -> None:
    scores = report(samples(each=each) if seed is None else samples(seed, each))
    if as_json:
        typer.echo(json.dumps({name: _fields(score) for name, score in scores.items()}))
    else:
        _table(scores)
    missed = [name for name, score in scores.items() if min(score.recall, score.precision) < TARGET]
    if missed:
        typer.echo(f"below {TARGET}: {', '.join(missed)}", err=True)
    raise typer.Exit(1 if missed else 0)


def _fields(score: Score) -> dict[str, float]:
    return {
        "recall": round(score.recall, 4),
        "precision": round(score.precision, 4),
        "named": round(score.named / score.positives, 4) if score.positives else 1.0,
        "positives": score.positives,
        "negatives": score.negatives,
        "wrong": score.wrong,
    }


def _table(scores: dict[str, Score]) -> None:
    typer.echo(f"{'kind':<16}{'recall':>8}{'precision':>11}{'named':>8}{'with':>7}{'without':>9}{'wrong':>7}")
    for name, score in scores.items():
        found = _fields(score)
        typer.echo(
            f"{name:<16}{found['recall']:>8.3f}{found['precision']:>11.3f}{found['named']:>8.3f}"
            f"{score.positives:>7}{score.negatives:>9}{score.wrong:>7}"
        )
