"""The run as one HTML page without anything from elsewhere: it can be mailed and kept."""

from collections.abc import Sequence
from html import escape

from app.evaluation.plots import bars, curve, histogram
from app.evaluation.results import QuestionResult, Run

WORST = 25
BARS = ("ndcg@10", "mrr@10", "page_strict@5", "page_lenient@5", "refusal_right", "refusal_wrong", "citation_valid")
STYLE = """
:root{color-scheme:light dark;--fg:#1c1e21;--bg:#fff;--soft:#5c6470;--line:#d9dde3;--card:#f5f6f8;--bad:#b42318;
--good:#16794a;--k0:#2f6fde;--k1:#e08a1e;--k2:#1f9d6b;--k3:#a24bc9;--k4:#c7443c;--k5:#5b6b7f}
@media (prefers-color-scheme:dark){:root{--fg:#e6e8eb;--bg:#15171a;--soft:#9aa3af;--line:#343a42;--card:#1e2126;
--bad:#ff8a7a;--good:#5ad19a;--k0:#6ea2ff;--k1:#f0ab52;--k2:#4fd0a0;--k3:#cc8cf0;--k4:#f08078;--k5:#93a3b8}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:62rem;margin:2rem auto;
padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}p.soft,.soft{color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .7rem;
border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}td.n,th.n{text-align:right}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1rem}
figure{margin:0;background:var(--card);border-radius:8px;padding:.8rem}figcaption{font-weight:600}
svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}.grid{stroke:var(--line)}
.mark{stroke:var(--bad);stroke-dasharray:4 3}.line{fill:none;stroke-width:2}
.c0{fill:var(--k0)}.c1{fill:var(--k1)}.c2{fill:var(--k2)}.c3{fill:var(--k3)}.c4{fill:var(--k4)}.c5{fill:var(--k5)}
.s0{stroke:var(--k0)}.s1{stroke:var(--k1)}.s2{stroke:var(--k2)}.s3{stroke:var(--k3)}.s4{stroke:var(--k4)}
.s5{stroke:var(--k5)}details{border-bottom:1px solid var(--line);padding:.4rem 0}summary{cursor:pointer}
.bad{color:var(--bad)}.good{color:var(--good)}li{overflow-wrap:anywhere}
"""


def html(run: Run) -> str:
    worst = worst_questions(run.questions)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(run.set.name)}: evaluation</title><style>{STYLE}</style></head><body>
<h1>{escape(run.set.name)}</h1>
<p class="soft">{escape(_about(run))}</p>
{_missing(run)}<div class="wide">{_table(run)}</div>
<h2>Plots</h2><div class="plots">{_plots(run)}</div>
<h2>Worst questions</h2>
{"".join(map(_question, worst)) or "<p>Every judged question is answered as expected.</p>"}
</body></html>
"""


def worst_questions(results: Sequence[QuestionResult]) -> list[QuestionResult]:
    """Wrong refusals and bad citations count as much as what was not found."""
    judged = [(badness, result) for result in results if (badness := _badness(result)) > 0]
    return [result for _, result in sorted(judged, key=lambda pair: -pair[0])][:WORST]


def _badness(result: QuestionResult) -> float:
    scores = result.scores
    found = 1 - scores["ndcg@10"] if "ndcg@10" in scores else 0.0
    refused = scores.get("refusal_wrong", 0.0) + 1 - scores.get("refusal_right", 1.0)
    return found + refused + 1 - scores.get("citation_valid", 1.0)


def _about(run: Run) -> str:
    split = f", split {run.set.split}" if run.set.split else ""
    return (
        f"{run.set.questions} questions{split}: {run.set.judged} with an expected document, {run.set.unanswerable} to "
        f"be refused. {run.set.documents} documents, {run.set.passages} passages. ragchat {run.instance.version}, "
        f"{run.instance.model}, {run.instance.at}."
    )


def _missing(run: Run) -> str:
    if not run.set.missing:
        return ""
    names = ", ".join(run.set.missing[:20])
    return f'<p class="bad">{len(run.set.missing)} documents that the set names are not there: {escape(names)}</p>\n'


def _table(run: Run) -> str:
    heads = "".join(f'<th class="n">{escape(name)} ({run.counts[name]})</th>' for name in run.metrics)
    rows = []
    for metric in {name: None for row in run.metrics.values() for name in row}:
        digits = 1 if metric.endswith("_ms") else 4
        values = (row.get(metric) for row in run.metrics.values())
        cells = "".join(f'<td class="n">{"-" if value is None else f"{value:.{digits}f}"}</td>' for value in values)
        rows.append(f"<tr><td>{escape(metric)}</td>{cells}</tr>")
    return f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _plots(run: Run) -> str:
    measured = [name for name in BARS if any(name in row for row in run.metrics.values())]
    figures = [("Metrics by language", bars(run.metrics, measured))] if measured else []
    recalls = {
        name: {int(metric.split("@")[1]): value for metric, value in row.items() if metric.startswith("recall@")}
        for name, row in run.metrics.items()
    }
    recalls = {name: row for name, row in recalls.items() if row}
    if recalls:
        figures.append(("Recall at k", curve(recalls)))
    for title, field in (("Search", "search"), ("Whole answer", "turn")):
        values = [value for q in run.questions if (value := getattr(q, f"{field}_ms")) is not None]
        if values:
            marks = {p: run.metrics["all"][f"{field}_{p}_ms"] for p in ("p50", "p95")}
            figures.append((f"{title}, milliseconds", histogram(values, marks=marks)))
    return "".join(f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>" for title, svg in figures)


def _question(result: QuestionResult) -> str:
    expected = ", ".join(result.expected) or ("a refusal" if result.answerable is False else "an answer")
    rank = f"first right one at {result.rank}" if result.rank else "not found" if result.expected else ""
    items = "".join(
        f'<li class="{"good" if hit.right else ""}">{escape(hit.document)}{f", page {hit.page}" if hit.page else ""} '
        f'<span class="soft">({hit.score:.3f}) {escape(" ".join(hit.text.split()))}</span></li>'
        for hit in result.found[:5]
    )
    return (
        f"<details><summary>{escape(result.text)} <span class='bad'>{escape(rank)}</span></summary>"
        f"<p class='soft'>{escape(result.id)} · expected: {escape(expected)}</p>{_answer(result)}<ol>{items}</ol>"
        "</details>"
    )


def _answer(result: QuestionResult) -> str:
    if result.answer is None:
        return ""
    problems = "".join(f"<br><span class='bad'>{escape(problem)}</span>" for problem in result.answer.problems)
    ended = f"<span class='soft'>({escape(result.answer.finish_reason)})</span>"
    return f"<p>{escape(result.answer.content)} {ended}{problems}</p>"
