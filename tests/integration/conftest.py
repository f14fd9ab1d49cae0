from collections.abc import AsyncIterator

import pytest

from tests.integration.processes import Place, place


@pytest.fixture
async def here() -> AsyncIterator[Place]:
    """A place whose database is the embedded one."""
    async with place() as made:
        yield made
