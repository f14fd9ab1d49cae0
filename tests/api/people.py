"""Users of a tenant, logged in."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from app.core.ids import new_id
from app.schemas.users import Role, UserCreate
from tests.conftest import Tenant

PASSWORD = "a rather long one"
AUTH = "/api/v1/auth"


@dataclass(frozen=True)
class Person:
    tenant: Tenant
    id: str
    email: str
    pair: dict[str, Any]
    http: httpx.AsyncClient
    """With their access token."""

    @property
    def token(self) -> str:
        return str(self.pair["access_token"])

    @property
    def as_tenant(self) -> Tenant:
        """For the helpers that a tenant has."""
        return replace(self.tenant, http=self.http)

    async def session(self) -> str:
        response = await self.http.post("/api/v1/sessions", json={})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])


Join = Callable[..., Awaitable[Person]]


async def log_in(tenant: Tenant, email: str, password: str = PASSWORD) -> dict[str, Any]:
    async with tenant.service.client() as http:
        response = await http.post(f"{AUTH}/login", json={"email": email, "password": password})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def joined(tenant: Tenant, role: Role, stack: contextlib.AsyncExitStack) -> Person:
    """Somebody new there, until the stack is left."""
    request = UserCreate(email=f"{new_id()}@shop.example", password=PASSWORD)
    user = await tenant.runtime.accounts.users.create(tenant.caller, request, role=role)
    pair = await log_in(tenant, user.email)
    http = await stack.enter_async_context(tenant.service.client())
    http.headers["Authorization"] = f"Bearer {pair['access_token']}"
    return Person(tenant, str(user.id), user.email, pair, http)


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """`await join(tenant, "admin")` is somebody new there."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(tenant: Tenant, role: Role = "user") -> Person:
            return await joined(tenant, role, stack)

        yield make
