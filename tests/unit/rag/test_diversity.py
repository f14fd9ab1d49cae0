from app.rag.diversity import Place, diverse


def hit(
    name: str, document: int = 0, index: int = 0, page: int | None = None, text: str = "", score: float = 0.5
) -> tuple[str, Place]:
    return name, Place(score, text or name, document, index, page)


def test_a_second_passage_of_a_page_steps_back() -> None:
    hits = [hit("a", 1, 0, page=3, score=0.9), hit("b", 1, 1, page=3), hit("c", 1, 2, page=4), hit("d", 2, 7, page=3)]
    assert diverse(hits, 3) == ["a", "c", "d"]
    assert diverse(hits, 4) == ["a", "b", "c", "d"]


def test_without_pages_the_neighbour_steps_back() -> None:
    hits = [hit("a", 1, 5, score=0.9), hit("b", 1, 6), hit("c", 1, 8), hit("d", 2, 6)]
    assert diverse(hits, 3) == ["a", "c", "d"]


def test_repetitions_come_last() -> None:
    hits = [hit(str(n), n, text="Open  from Nine." if n % 2 else "open from nine.") for n in range(5)]
    assert diverse([*hits, hit("other", 9)], 2) == ["0", "other"]
    assert diverse([*hits, hit("beside", 0, 1)], 3) == ["0", "1", "beside"]


def test_what_is_nearly_as_good_stays() -> None:
    hits = [hit("a", 1, 5, score=0.54), hit("b", 1, 6), hit("c", 2, 8)]
    assert diverse(hits, 2) == ["a", "b"]


def test_everything_is_given_when_everything_is_asked_for() -> None:
    hits = [hit("a", 1, 0, 1), hit("b", 1, 1, 1, text="a")]
    assert diverse(hits, 50) == ["a", "b"]
    assert diverse([], 5) == []
