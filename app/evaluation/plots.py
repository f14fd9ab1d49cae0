"""Plots as SVG: the page must show them without a network. Colours are its CSS classes c0, c1..."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 14, 44
COLOURS = 6
MOST_BINS = 24
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Data to places. y runs from 0 to `top`."""

    top: float

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / self.top if self.top else 0)

    @staticmethod
    def x(share: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def grid(self, form: str) -> list[str]:
        lines = []
        for share in GRID:
            y = self.y(share * self.top)
            lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            lines.append(_text(LEFT - 6, y + 4, format(share * self.top, form), "end"))
        return lines


def bars(rows: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> str:
    """Groups of bars: a metric each, in it a bar for each row. Values in 0..1."""
    frame, parts = _Frame(1.0), _Frame(1.0).grid(".2f")
    group = 1 / max(len(metrics), 1)
    width = group * 0.8 / max(len(rows), 1)
    for at, metric in enumerate(metrics):
        for number, (name, row) in enumerate(rows.items()):
            if metric in row:
                left = frame.x(group * (at + 0.1) + width * number)
                parts.append(
                    _bar(left, frame.x(width) - frame.x(0) - 1, frame, row[metric], number, f"{name}, {metric}")
                )
        parts.append(_text(frame.x(group * (at + 0.5)), HEIGHT - BOTTOM + 16, metric, "middle"))
    return _svg(parts + _legend(rows), "Metrics by language")


def curve(rows: Mapping[str, Mapping[int, float]]) -> str:
    """A line for each row: shares in 0..1 over k, which stand at equal distances."""
    frame, parts = _Frame(1.0), _Frame(1.0).grid(".2f")
    ks = sorted({k for row in rows.values() for k in row})
    places = {k: frame.x((at + 0.5) / len(ks)) for at, k in enumerate(ks)}
    parts += [_text(place, HEIGHT - BOTTOM + 16, f"k = {k}", "middle") for k, place in places.items()]
    for number, (name, row) in enumerate(rows.items()):
        points = [(places[k], frame.y(row[k])) for k in ks if k in row]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line s{number % COLOURS}" points="{line}"/>')
        for (x, y), k in zip(points, [k for k in ks if k in row], strict=True):
            title = escape(f"{name}, recall@{k}: {row[k]:.4f}")
            parts.append(
                f'<circle class="c{number % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{title}</title></circle>'
            )
    return _svg(parts + _legend(rows), "Recall at k")


def histogram(values: Sequence[float], *, marks: Mapping[str, float]) -> str:
    """Counts of milliseconds, with lines at the marks."""
    highest = max(values, default=0.0) or 1.0
    bins = min(MOST_BINS, max(len(values), 1))
    counts = [0] * bins
    for value in values:
        counts[min(int(value / highest * bins), bins - 1)] += 1
    frame = _Frame(float(max(counts)))
    parts = frame.grid(".0f")
    for at, count in enumerate(counts):
        low, high = highest * at / bins, highest * (at + 1) / bins
        left, width = frame.x(at / bins), frame.x(1 / bins) - frame.x(0) - 1
        parts.append(_bar(left, width, frame, float(count), 0, f"{low:.0f} to {high:.0f} ms", ".0f"))
    for share in GRID:
        parts.append(_text(frame.x(share), HEIGHT - BOTTOM + 16, f"{highest * share:.0f} ms", "middle"))
    for name, value in marks.items():
        x = frame.x(value / highest)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(_text(min(x + 4, WIDTH - 60), TOP + 10 + 14 * (name != "p50"), f"{name} {value:.0f} ms", "start"))
    return _svg(parts, "Latency")


def _bar(left: float, width: float, frame: _Frame, value: float, number: int, title: str, form: str = ".4f") -> str:
    y = frame.y(value)
    height = HEIGHT - BOTTOM - y
    return (
        f'<rect class="c{number % COLOURS}" x="{left:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" '
        f'height="{height:.1f}">'
        f"<title>{escape(title)}: {value:{form}}</title></rect>"
    )


def _legend(names: Mapping[str, object]) -> list[str]:
    parts = []
    for number, name in enumerate(names):
        x, y = LEFT + 90 * number, HEIGHT - 12
        parts.append(f'<rect class="c{number % COLOURS}" x="{x}" y="{y - 9}" width="10" height="10"/>')
        parts.append(_text(x + 15, y, name, "start"))
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
