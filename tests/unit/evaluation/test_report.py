"""The page: well formed, complete in itself, and nothing of a document can do anything in it."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from app.evaluation.plots import bars, curve, histogram
from app.evaluation.report import html, worst_questions
from app.evaluation.results import Answered, Found
from tests.unit.evaluation.test_comparing import result, run

HOSTILE = "<script>alert('x')</script>\"&"
VOID = {"meta", "br"}


class WellFormed(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "onclick"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page() -> str:
    bad = result(1, 40, ndcg_at_10=0, recall_at_1=0, recall_at_5=1, citation_valid=0)
    bad.text, bad.id = HOSTILE, HOSTILE
    bad.found = [Found(document=HOSTILE, page=2, score=0.5, right=False, text=HOSTILE)]
    bad.answer = Answered(content=HOSTILE, finish_reason="stop", problems=[HOSTILE])
    good = result(2, 10, "hi", ndcg_at_10=1, recall_at_1=1, recall_at_5=1)
    made = run(bad, good)
    made.counts = {"all": 2, "en": 1, "hi": 1}
    made.set.name, made.set.missing = HOSTILE, [HOSTILE]
    return html(made)


def test_page() -> None:
    text = page()
    reader = WellFormed()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert not reader.seen & {"script", "link", "img", "iframe"}
    assert not re.search(r"https?:|@import|url\(", text)
    assert "prefers-color-scheme:dark" in text
    assert text.count("<svg") == 3
    assert "40.0" in text
    assert text.count("<details>") == 1


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314  our own


def test_plots_are_drawn_to_scale() -> None:
    rows = {"all": {"ndcg@10": 1.0}, "en": {"ndcg@10": 0.5}}
    heights = [float(bar.attrib["height"]) for bar in parsed(bars(rows, ["ndcg@10"])) if bar.get("y")
               and bar.tag == "rect" and bar.find("title") is not None]  # fmt: skip
    assert heights[0] == 2 * heights[1] > 0
    line = parsed(curve({"all": {1: 0.0, 5: 1.0}})).find("polyline")
    assert line is not None
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in line.attrib["points"].split())
    assert x1 < x2
    assert y1 > y2
    drawn = parsed(histogram([1.0, 1.0, 10.0], marks={"p50": 1.0}))
    titles = [title.text for title in drawn.iter("title")]
    assert sum(int((title or "").split(": ")[1]) for title in titles) == 3
    for empty in (bars({}, []), curve({}), histogram([], marks={})):
        parsed(empty)


def test_worst_come_first_and_good_ones_not_at_all() -> None:
    found = worst_questions(
        [result(1, ndcg_at_10=1), result(2, ndcg_at_10=0.5), result(3, ndcg_at_10=1, refusal_wrong=1), result(4),
         result(5, refusal_right=0), result(6, refusal_right=1), result(7, ndcg_at_10=0, citation_valid=0)]
    )  # fmt: skip
    assert [one.id for one in found] == ["7", "3", "5", "2"]
