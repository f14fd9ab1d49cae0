import pytest

from app.rag.conversation import LONGEST, Said, points_back, referred, with_context

HISTORY = [
    Said("user", "Hello"),
    Said("user", "How long is parental leave?"),
    Said("assistant", "Sixteen weeks of parental leave [1]."),
]


@pytest.mark.parametrize(
    ("question", "lang"),
    [
        ("And for part-timers?", "en"), ("Do they have free wifi?", "en"), ("What about Sundays and holidays?", "en"),
        ("How much?", "en"), ("Is it paid in full by the insurance?", "en"), ("और ठेके पर काम करने वालों के लिए?", "hi"),
        ("उसके लिए किसकी मंज़ूरी चाहिए?", "hi"), ("మరి పార్ట్ టైమ్ ఉద్యోగులకు?", "te"), ("దానికి ఎవరి అనుమతి కావాలి?", "te"),
    ],
)  # fmt: skip
def test_a_question_that_points_back_takes_the_last_messages_along(question: str, lang: str) -> None:
    assert referred(question, HISTORY, lang) == ["How long is parental leave?", "Sixteen weeks of parental leave."]


@pytest.mark.parametrize(
    ("question", "lang"),
    [
        ("How many days of annual leave do employees get?", "en"),
        ("कर्मचारियों को सालाना कितने दिन की छुट्टी मिलती है?", "hi"),
        ("ఉద్యోగులకు సంవత్సరానికి ఎన్ని రోజుల సెలవు లభిస్తుంది?", "te"),
    ],
)
def test_a_question_that_stands_alone_is_left_alone(question: str, lang: str) -> None:
    assert not points_back(question, lang)
    assert referred(question, HISTORY, lang) == []


def test_long_messages_are_cut_and_nothing_is_taken_from_nothing() -> None:
    assert referred("And then?", [], "en") == []
    assert referred("And then?", [Said("assistant", "x" * 5000)], "en") == ["x" * LONGEST]


def test_a_question_with_words_of_its_own_is_answered_by_them() -> None:
    assert with_context("And for part-time employees?", ["leave"], "en") == "And for part-time employees?"
    assert with_context("How much?", ["Parental leave"], "en") == "Parental leave How much?"
