import time
from itertools import pairwise
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from app.rag.chunking import Chunk, Splitter, split
from app.rag.graphemes import Boundaries, graphemes
from app.rag.slabs import SLAB, Slab, SlabCutter
from tests.unit.rag.texts import NASTY, characters, doubled, pieces, texts, words

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
TOKENIZERS = [words, pieces, characters, doubled]


def check(pages: list[str], chunks: list[Chunk], token_spans, max_tokens: int) -> None:
    full = "\f".join(pages)
    starts = [sum(len(page) + 1 for page in pages[:i]) for i in range(len(pages))]
    inside = {at for page, start in zip(pages, starts, strict=True) for at in _inside_clusters(page, start)}
    seen = bytearray(len(full))
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        assert chunk.page is not None
        begin = starts[chunk.page - 1]
        assert chunk.text == full[chunk.char_start : chunk.char_end]
        assert chunk.text.strip()
        assert begin <= chunk.char_start < chunk.char_end <= begin + len(pages[chunk.page - 1])
        assert chunk.char_start not in inside
        assert chunk.char_end not in inside
        assert chunk.token_count == len(token_spans(chunk.text))
        assert chunk.token_count <= max_tokens or len(regex.findall(r"\X", chunk.text)) == 1
        seen[chunk.char_start : chunk.char_end] = b"\x01" * len(chunk.text)
    assert not [full[i] for i, was in enumerate(seen) if not was and not full[i].isspace()]


def _inside_clusters(page: str, start: int) -> set[int]:
    return {start + at for match in regex.finditer(r"\X", page) for at in range(match.start() + 1, match.end())}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(texts, min_size=1, max_size=3),
    st.sampled_from(TOKENIZERS),
    st.integers(2, 40),
    st.integers(1, 60),
    st.integers(0, 12),
)
def test_chunks_hold_their_promises_for_any_text(pages, token_spans, max_tokens, target, overlap):
    sizes = {"max_tokens": max_tokens, "target_tokens": target, "overlap_tokens": overlap}
    numbered = [(i + 1, page) for i, page in enumerate(pages)]
    chunks = split(numbered, token_spans, **sizes)
    check(pages, chunks, token_spans, max_tokens)
    assert chunks == split(numbered, token_spans, **sizes)


def test_a_long_token_counts_as_one_where_it_need_not_be_cut():
    text = "1234567890" * 6
    (chunk,) = split([(1, text)], words, max_tokens=9)
    assert (chunk.text, chunk.token_count) == (text, 1)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_boundaries_are_those_of_the_unicode_standard(text):
    edges = Boundaries(text)
    inside = _inside_clusters(text, 0)
    assert {i for i in range(len(text)) if edges.before(i) != i} == inside
    assert all(edges.after(i) == i for i in range(len(text) + 1) if i not in inside)
    assert list(graphemes(text)) == regex.findall(r"\X", text)


def slabs(text: str, piece: int) -> list[Slab]:
    cutter = SlabCutter()
    found = [slab for at in range(0, len(text), piece) for slab in cutter.feed(text[at : at + piece])]
    return [*found, cutter.finish()]


@pytest.mark.parametrize("sample", NASTY)
def test_pages_longer_than_a_slab_are_cut_between_clusters(sample):
    text = sample * (3 * SLAB // len(sample) // 2)
    found = slabs(text, len(text))
    assert slabs(text, 65_536) == found
    assert slabs(text, 7_001) == found
    assert len(found) >= 2
    whole = "".join(slab.text for slab in found) == text
    assert whole
    assert [slab.start for slab in found[1:]] == [slab.start + len(slab.text) for slab in found[:-1]]
    assert max(len(slab.text) for slab in found) <= SLAB
    edges = Boundaries(text)
    torn = [slab.start for slab in found if edges.before(slab.start) != slab.start]
    assert torn == []


def test_pieces_of_any_size_give_the_same_chunks():
    body = "Every member of staff may take leave after the first month of work here. " * 60
    pages = [(1, f"LEAVE POLICY\n{body}"), (2, ""), (3, f"Sick Leave\n\n{body * 40}")]
    whole = split(pages, words, max_tokens=254, target_tokens=80)
    splitter = Splitter(words, max_tokens=254, target_tokens=80)
    found: list[Chunk] = []
    for number, text in pages:
        found += splitter.begin_page(number)
        for at in range(0, len(text), 997):
            found += splitter.feed(text[at : at + 997])
    found += splitter.finish()
    assert found == whole
    assert splitter.finish() == []


def test_headings_stay_with_their_text_and_are_known_to_all_chunks_below():
    body = "Every member of staff may take leave after the first month of work here. " * 12
    pages = [(1, f"LEAVE POLICY\n{body}\nSick Leave\n{body}"), (2, body)]
    chunks = split(pages, words, max_tokens=254, target_tokens=80)
    assert [chunk.text.split("\n")[0] for chunk in chunks if chunk.text[:4] in ("LEAV", "Sick")] == [
        "LEAVE POLICY",
        "Sick Leave",
    ]
    first_sick = next(i for i, chunk in enumerate(chunks) if chunk.text.startswith("Sick"))
    assert {chunk.heading for chunk in chunks[:first_sick]} == {"LEAVE POLICY"}
    assert {chunk.heading for chunk in chunks[first_sick:]} == {"Sick Leave"}
    assert not any(chunk.text.endswith(("LEAVE POLICY", "Sick Leave")) for chunk in chunks)


def test_rows_of_a_table_are_whole():
    header = "Plan | Price a month | Storage"
    rows = [f"Tariff {name} | {price} rupees | {price * 2} GB of storage" for price, name in enumerate("ABCDEFGH" * 6)]
    chunks = split([(None, "\n".join(["Prices", "", header, *rows]))], words, max_tokens=254, target_tokens=60)
    assert len(chunks) > 4
    lines = [line for chunk in chunks for line in chunk.text.split("\n")]
    assert [line for line in lines if " | " in line] == [header, *rows]
    assert header not in {chunk.heading for chunk in chunks}


def test_small_paragraphs_are_packed_and_no_tiny_end_is_left():
    text = "\n\n".join(f"Paragraph {i} says a few words only." for i in range(41))
    chunks = split([(None, text)], words, max_tokens=254, target_tokens=80)
    assert min(chunk.token_count for chunk in chunks) >= 40
    assert all(chunk.text.startswith("Paragraph") and chunk.text.endswith("only.") for chunk in chunks)
    assert {chunk.page for chunk in chunks} == {None}


def test_overlap_repeats_the_last_sentence_of_a_cut_paragraph_only():
    text = " ".join(f"This is sentence number {i} of one long paragraph." for i in range(30))
    plain = split([(1, text)], words, max_tokens=100, target_tokens=60)
    lapped = split([(1, text)], words, max_tokens=100, target_tokens=60, overlap_tokens=15)
    assert all(a.char_end <= b.char_start for a, b in pairwise(plain))
    assert all(a.text.endswith(b.text[: b.text.index(".") + 1]) for a, b in pairwise(lapped))


def test_the_language_is_that_of_each_chunk():
    chunks = split([(1, "Leave is paid."), (2, NASTY[0]), (3, NASTY[1]), (4, "123")], words, max_tokens=200)
    assert [chunk.lang for chunk in chunks] == ["en", "te", "hi", "en"]


@pytest.mark.parametrize(
    "text",
    [
        "0123456789" * 10_000,
        "a" + "\u0301" * 50_000,
        ("a" + "\u0301" * 40) * 2_000,
        "🇮🇳" * 60_000,
        "👨‍👩‍👧‍👦" * 20_000,
        "\n" * 2_000_000 + "x",
        " " * 2_000_000 + "x",
        ". " * 60_000,
        "." * 200_000,
        '"' * 200_000,
        "[" * 200_000,
        "• x\n" * 30_000,
        "A Title\n\n" * 20_000,
    ],
    ids=lambda text: repr(text[:4]),
)
def test_hostile_texts_take_linear_time(text):
    began = time.perf_counter()
    chunks = split([(1, text)], characters, max_tokens=254)
    assert time.perf_counter() - began < 4
    assert sum(len(chunk.text) for chunk in chunks) <= len(text)
    assert max(chunk.token_count for chunk in chunks) <= 254 or "\u0301" * 300 in text


def test_a_book_is_cut_between_sentences():
    path = DATA / "documents" / "files" / "book-war-and-peace-1225p.txt"
    if not path.exists():
        pytest.skip("not present: documents/files/book-war-and-peace-1225p.txt")
    book = path.read_text(encoding="utf-8", errors="replace")[:300_000]
    chunks = split([(None, book)], words, max_tokens=254)
    assert sum(len("".join(chunk.text.split())) for chunk in chunks) == len("".join(book.split()))
    whole = [chunk for chunk in chunks if chunk.text.rstrip("\"'”’»)*_")[-1:] in ".!?:;—"]
    assert len(whole) >= 0.95 * len(chunks)
    assert sum(chunk.token_count for chunk in chunks) / len(chunks) >= 120


def test_a_heading_in_the_middle_of_a_chunk_holds_for_the_next_page():
    first = "Leave is paid in full for all members of staff.\nSick Leave\nSick days are paid as well."
    chunks = split([(1, first), (2, "A note is needed on day three.")], words, max_tokens=254)
    assert [chunk.heading for chunk in chunks] == [None, "Sick Leave"]


def test_no_tiny_end_is_left_where_an_earlier_cut_is_as_good():
    text = " ".join(f"Sentence number {i} has seven words." for i in range(13))
    chunks = split([(1, text)], words, max_tokens=254, target_tokens=84)
    assert [chunk.token_count for chunk in chunks] == [91]
    assert [chunk.token_count for chunk in split([(1, text)], words, max_tokens=84)] == [63, 28]


def test_a_tokenizer_that_adds_tokens_of_its_own_stays_below_the_limit():
    def starting(text: str) -> list[tuple[int, int]]:
        return [(0, 0), *words(text)]

    text = " ".join(f"Sentence number {i} has quite a few words in it, twelve." for i in range(200))
    for limit in range(20, 60):
        chunks = split([(1, text)], starting, max_tokens=limit, target_tokens=limit)
        assert max(len(starting(chunk.text)) for chunk in chunks) <= limit
