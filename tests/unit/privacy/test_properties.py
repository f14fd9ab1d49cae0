"""Whatever the text: it comes back, in pieces too, and nothing that was found is left in what leaves."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy import MaskingMap, Restorer, find, mask
from app.privacy.folding import fold
from tests.unit.privacy.vectors import INTACT, LABELLED, MASKED

PIECES = [LABELLED.get(name, "") + value for name, value in MASKED] + INTACT
PLACEHOLDERS = [
    "<AADHAAR_1>",
    "<AADHAAR_1_2>",
    "<PHONE_1>",
    "<LITERAL_1>",
    r"<PHONE\_1>",
    "<PHONE_",
    "_1>",
    "<",
    "PHONE_1>",
]
GLUE = ["", " ", ",", "\n", "\u00a0", "\u200b", "-", ".", "%20", "%2B", "(", "1", "a", "౧", "é"]
texts = st.lists(
    st.one_of(st.sampled_from(PIECES), st.sampled_from(PLACEHOLDERS), st.sampled_from(GLUE), st.text(max_size=6)),
    max_size=12,
).map("".join)


@given(texts, texts)
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back(first, second):
    known = MaskingMap()
    for text in (first, second, first + second):
        once = mask(text, known)
        assert known.restore(once) == text
        assert mask(once, known) == once


@given(texts, st.lists(st.integers(0, 400), max_size=12))
@settings(max_examples=300, deadline=None)
def test_pieces_make_no_difference(text, cuts):
    known = MaskingMap()
    once = str(mask(text, known))
    ends = sorted({min(cut, len(once)) for cut in cuts} | {0, len(once)})
    restorer = Restorer(known)
    shown = [restorer.feed(once[start:end]) for start, end in itertools.pairwise(ends)]
    assert "".join([*shown, restorer.flush()]) == text


@given(texts)
@settings(max_examples=300, deadline=None)
def test_findings_are_in_order_and_do_not_overlap(text):
    ends = [0]
    for finding in find(text):
        assert ends[-1] <= finding.start < finding.end <= len(text)
        ends.append(finding.end)


@given(texts)
@settings(max_examples=300, deadline=None)
def test_a_masked_value_is_nowhere_in_what_leaves(text):
    known = MaskingMap()
    once = mask(text, known)
    for finding in find(text):
        value = text[finding.start : finding.end]
        assert value not in once or value in text[: finding.start] + text[finding.end :]


@given(texts)
@settings(max_examples=300, deadline=None)
def test_folding_leads_back(text):
    folded = fold(text)
    spans = [folded.original(at, at + 1) for at in range(len(folded.text))]
    assert spans == sorted(spans)
    assert all(0 <= start < end <= len(text) for start, end in spans)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_characters_at_all(text):
    known = MaskingMap()
    assert known.restore(mask(text, known)) == text
    assert MaskingMap.from_json(known.to_json()).restore(mask(text, known)) == text
