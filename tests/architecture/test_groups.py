"""What prepares for long is prepared once: its tests run in one process."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
@pytest.mark.xdist_group("groups")
def test_groups_are_kept_together(request: pytest.FixtureRequest) -> None:
    """The name ends with the group's, which is what tests are handed out by. A pytest that is too new forgets it."""
    assert request.node.nodeid.endswith("@groups")
