import pytest

from app.rag.answerability import Best, background, is_answerable, is_sure, threshold


@pytest.mark.parametrize(
    ("score", "answerable", "sure"), [(0.31, False, False), (0.33, True, False), (0.5, True, True)]
)
def test_with_the_model_that_was_measured_the_score_tells(score: float, answerable: bool, sure: bool) -> None:
    best = Best(score=score, cosine=0.1, background=None)
    assert (is_answerable(best), is_sure(best)) == (answerable, sure)


def test_with_other_models_the_same_score_may_answer_in_a_mixed_collection_and_not_in_a_handbook() -> None:
    best = {"score": 0.40, "cosine": 0.5}
    assert is_answerable(Best(**best, background=0.05))
    assert not is_answerable(Best(**best, background=0.5))


def test_words_alone_do_not_make_a_far_passage_answer() -> None:
    assert not is_answerable(Best(score=0.5, cosine=0.2, background=0.05))


def test_no_score_is_sure_where_the_background_decides() -> None:
    assert not is_sure(Best(score=0.9, cosine=0.9, background=0.05))


def test_of_few_passages_the_answer_itself_is_not_the_background() -> None:
    assert is_answerable(Best(score=0.7, cosine=0.8, background=background(1, 0.8)))
    assert background(0, 0.0) == 0.1
    assert abs(background(100_000, 0.4) - 0.4) < 0.001
    assert threshold(0.4) > threshold(0.1) == threshold(0.1)
