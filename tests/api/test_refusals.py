"""Whether an answer is tried without a language model, and what the trace says of it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.providers.ports import Passage
from app.rag.answerability import ENOUGH as SCORE_ENOUGH
from app.rag.answerability import SURE
from app.rag.support import ENOUGH as SUPPORT_ENOUGH
from app.services.supporting import Supporting
from tests.api.test_trace import get_trace
from tests.conftest import Tenant
from tests.unit.rag.texts import HINDI

BEES = [
    "A queen honey bee lays up to two thousand eggs on a day in early summer.",
    "Worker bees live for about six weeks in summer and for several months in winter.",
    "Drones are male bees. They have no sting, and they die after mating.",
    "Bees make wax with glands under the abdomen and build the comb of it.",
    "A forager tells others where flowers are by a dance in the dark of the hive.",
    "Honey holds so little water that hardly anything can grow in it.",
    "In winter the colony forms a ball around the queen and keeps it warm by shivering.",
    "A swarm leaves the hive with the old queen, and a new one stays behind.",
    "Pollen feeds the larvae. Nectar is carried home in the honey stomach.",
    "The varroa mite weakens colonies of bees by feeding on their fat and by spreading viruses.",
]
"""All alike: to any question about bees their mean cosine is high."""

TOWN = """
The hall was built in 1890 from red stone. The mayor rings a bell when the ferry comes in. A bus leaves for the coast
at noon. The library lends books for three weeks. Dogs are kept on a lead in the park. Bread is sold in the old mill.
"""


@pytest.fixture
async def bees(tenant: Tenant) -> Tenant:
    await asyncio.gather(*(tenant.add_text(text, title=f"Bees {n}") for n, text in enumerate(BEES)))
    return tenant


async def asked(tenant: Tenant, question: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(answer, trace)"""
    session = await tenant.session()
    response = await tenant.http.post(f"/api/v1/sessions/{session}/chat", json={"message": question})
    assert response.status_code == 200, response.text
    answer = dict(response.json())
    trace = (await get_trace(tenant, answer["turn_id"]))["trace"]
    return answer, trace


async def test_of_documents_on_one_subject_other_words_are_answered(bees: Tenant) -> None:
    for question in ("Why does honey not go bad?", "How do foragers say where to find nectar?"):
        answer, trace = await asked(bees, question)
        assert (answer["finish_reason"], trace["answerable"]) == ("stop", True), question
        assert trace["threshold"] == SCORE_ENOUGH < trace["hits"][0]["score"] < SURE
        assert trace["support"] > SUPPORT_ENOUGH


async def test_what_holds_the_words_apart_from_each_other_is_refused(tenant: Tenant) -> None:
    await tenant.add_text(TOWN, title="A walk")
    answer, trace = await asked(tenant, "Did the mayor open the library in 1890?")
    assert (answer["finish_reason"], trace["answerable"]) == ("no_context", True)
    assert trace["support"] < SUPPORT_ENOUGH


async def test_what_is_far_is_refused_by_the_search(bees: Tenant) -> None:
    answer, trace = await asked(bees, "Who won the football world cup in 1998?")
    assert (answer["finish_reason"], trace["answerable"], trace["support"]) == ("no_context", False, None)


async def test_what_the_search_is_sure_of_is_not_looked_at_again(bees: Tenant) -> None:
    answer, trace = await asked(bees, "How many eggs does a queen honey bee lay in early summer?")
    assert trace["hits"][0]["score"] >= SURE
    assert (answer["finish_reason"], trace["support"]) == ("stop", None)


async def test_words_decide_where_the_model_does_not_know_the_language(tenant: Tenant) -> None:
    await tenant.add_text(HINDI, title="छुट्टी")
    answer, trace = await asked(tenant, "कर्मचारियों को कितने दिन की छुट्टी मिलती है?")
    assert (answer["finish_reason"], trace["mode"]) == ("stop", "text")
    assert (trace["threshold"], trace["support"]) == (None, None)


async def test_cosines_of_another_model_say_nothing(bees: Tenant) -> None:
    space, passages = bees.runtime.spaces.current, [Passage(1, "Bees", None, BEES[0], 0.4)]
    supporting = Supporting(bees.runtime.spaces)
    assert await supporting.measure("How many eggs?", passages, "en") is not None
    bees.runtime.spaces._current = replace(space, model="another-model")
    try:
        assert await supporting.measure("How many eggs?", passages, "en") is None
        found = await bees.runtime.retrieval.retrieve(bees.caller, "Why does honey not go bad?", top_k=3)
    finally:
        bees.runtime.spaces._current = space
    assert found.trace["threshold"] > SCORE_ENOUGH, "the background has raised it"
    assert not found.sure
