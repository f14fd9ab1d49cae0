from itertools import pairwise

from app.repositories.jobs import BACKGROUND, LATER, USUAL
from app.services.documents import urgency


def test_small_documents_go_first_and_all_go_before_what_failed_and_what_nobody_waits_for() -> None:
    found = [urgency(size) for size in (0, 1, 4_096, 50_000, 1_000_000, 50_000_000, 10**12)]
    assert found[:3] == [USUAL] * 3
    assert all(one <= other for one, other in pairwise(found))
    assert found[2] < found[3] < found[4]
    assert found[-1] < LATER < BACKGROUND
