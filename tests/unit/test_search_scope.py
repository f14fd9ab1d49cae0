"""How a search is made, by what is known of the sizes."""

import pytest

from app.repositories.search_scope import Sizes, choose_way


@pytest.mark.parametrize(
    ("sizes", "whole", "wide", "nearest_only", "one_plan", "all_first"),
    [
        (Sizes(None, None), True, True, False, False, False),
        (Sizes(90, 100), True, True, True, True, False),
        (Sizes(90, 100), False, True, False, True, False),
        (Sizes(90, 100), False, False, False, False, False),
        (Sizes(40, 100), True, True, False, True, False),
        (Sizes(90, None), True, True, False, True, False),
        (Sizes(20, 30), True, True, True, False, True),
        (Sizes(20, 30), False, True, False, False, True),
        (Sizes(20, 30), False, False, False, False, False),
    ],
)
def test_the_way_of_a_search(
    sizes: Sizes, whole: bool, wide: bool, nearest_only: bool, one_plan: bool, all_first: bool
) -> None:
    way = choose_way(sizes, ef_search=200, whole_tenant=whole, wide=wide, exact_limit=30)
    assert (way.nearest_only, way.one_plan, way.all_first) == (nearest_only, one_plan, all_first)
    assert "hnsw.ef_search = 200;" in way.settings
    assert f"iterative_scan = {'off' if nearest_only else 'relaxed_order'};" in way.settings
    assert f"plan_cache_mode = {'force_generic_plan' if one_plan else 'auto'};" in way.settings
