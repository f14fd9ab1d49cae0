"""How a search is made, by what is known of the sizes."""

import pytest

from app.core.ids import new_id
from app.repositories.search_scope import MOST_REMEMBERED, REMEMBERED_SECONDS, KnownSizes, Sizes, choose_way


@pytest.mark.parametrize(
    ("sizes", "whole", "wide", "nearest_only", "one_plan"),
    [
        (Sizes(None, None), True, True, False, False),
        (Sizes(90, 100), True, True, True, True),
        (Sizes(90, 100), False, True, False, True),
        (Sizes(90, 100), False, False, False, False),
        (Sizes(40, 100), True, True, False, True),
        (Sizes(90, None), True, True, False, True),
        (Sizes(20, 30), True, True, True, False),
    ],
)
def test_the_way_of_a_search(sizes: Sizes, whole: bool, wide: bool, nearest_only: bool, one_plan: bool) -> None:
    way = choose_way(sizes, ef_search=200, whole_tenant=whole, wide=wide, exact_limit=30)
    assert (way.nearest_only, way.one_plan) == (nearest_only, one_plan)
    assert "hnsw.ef_search = 200;" in way.settings
    assert f"iterative_scan = {'off' if nearest_only else 'relaxed_order'};" in way.settings
    assert f"plan_cache_mode = {'force_generic_plan' if one_plan else 'auto'};" in way.settings


def test_sizes_are_known_for_a_while() -> None:
    now = 0.0
    known = KnownSizes(lambda: now)
    one, other = new_id(), new_id()
    known.put(one, 1, Sizes(5, 6))
    assert (known.get(one, 1), known.get(one, 2), known.get(other, 1)) == (Sizes(5, 6), None, None)
    now = REMEMBERED_SECONDS
    assert known.get(one, 1) is None


def test_what_is_remembered_does_not_grow() -> None:
    known = KnownSizes(lambda: 0.0)
    for space in range(MOST_REMEMBERED + 1):
        known.put(new_id(), space, Sizes(1, 1))
    assert len(known._known) <= MOST_REMEMBERED
