import pytest

from app.rag.support import COMPARED, Run, best_runs, is_enough
from tests.unit.rag.test_extractive import HANDBOOK

QUESTION = "How many days of annual leave do full-time employees get?"


def test_the_sentences_that_hold_most_of_the_question_come_first() -> None:
    found = best_runs(QUESTION, HANDBOOK, "en")
    assert len(found) == COMPARED
    assert "20 days of paid annual leave" in found[0].text
    assert found[0].covered == max(run.covered for run in found) > 0.5
    assert all(run.text in source.text for run in found for source in HANDBOOK if source.text.startswith(run.text))


def test_a_word_of_the_title_counts_as_held() -> None:
    named = best_runs("Does the handbook mention parking?", HANDBOOK, "en")
    unnamed = best_runs("Does the yearbook mention parking?", HANDBOOK, "en")
    assert named[0].covered > unnamed[0].covered


@pytest.mark.parametrize("question", ["", "?", "the", "Mars"])
def test_a_question_without_a_word_that_occurs_is_covered_by_nothing(question: str) -> None:
    assert {run.covered for run in best_runs(question, HANDBOOK, "en")} == {0.0}
    assert best_runs(question, [], "en") == []


def test_neither_words_nor_meaning_alone_are_enough() -> None:
    assert not is_enough(Run("a", covered=1.0).support(0.2))
    assert not is_enough(Run("a", covered=0.0).support(0.7))
    assert is_enough(Run("a", covered=0.6).support(0.6))
    assert Run("a", covered=0.0).support(-0.5) == 0.0
