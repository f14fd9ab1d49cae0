import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Service, Tenant, open_tenant, shared
from tests.integration.processes import Place, place


@pytest.fixture
async def here() -> AsyncIterator[Place]:
    """A place whose database is the embedded one."""
    async with place() as made:
        yield made


@dataclass(frozen=True)
class Northwind:
    """Six real PDFs of 263 pages, two of them near-identical plans, indexed. `folder`: with questions about them."""

    folder: Path
    tenant: Tenant
    documents: list[dict[str, Any]]


@pytest.fixture(scope="session")
async def northwind(service: Service) -> AsyncIterator[Northwind]:
    """One for all tests of the group: indexing takes half a minute and more."""
    folder = shared("northwind-pdf-pages")
    async with open_tenant(service) as tenant:
        paths = sorted((folder / "pdf").glob("*.pdf"))
        documents = await asyncio.gather(*(tenant.add_file(path, seconds=240) for path in paths))
        yield Northwind(folder, tenant, documents)
