"""P1 and P4: the API is killed in the middle of everything, every client sends again, and each thing is there once."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.api.idempotency import HEADER, REPLAYED
from tests.integration.processes import Place

SEED = 8_117
KILLS = 3
WRITERS = 16
OTHERS = 2
"""That open sessions, and that send documents."""


@dataclass
class Client:
    """Makes one thing after the other; sends each again, under the same key, until there is an answer."""

    http: httpx.AsyncClient
    name: str
    path: str
    answers: dict[str, Any] = field(default_factory=dict)
    """By key: the body."""
    sent_again: Counter[str] = field(default_factory=Counter)
    replayed: int = 0

    def body(self, key: str) -> dict[str, Any]:
        if self.path.endswith("/messages"):
            return {"sender": "user", "content": key}
        return {"user_id": key} if self.path.endswith("/sessions") else {"title": key, "text": f"This is {key}."}

    async def work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            key = f"{self.name}-{len(self.answers)}"
            self.answers[key] = await self.until_answered(key)

    async def until_answered(self, key: str) -> Any:
        while True:
            try:
                response = await self.http.post(self.path, json=self.body(key), headers={HEADER: key})
            except httpx.HTTPError:
                self.sent_again[key] += 1
                await asyncio.sleep(0.05)
                continue
            if response.status_code in (201, 202):
                self.replayed += REPLAYED in response.headers
                return response.json()
            assert response.status_code in (409, 503), response.text
            assert response.json()["code"] in ("idempotency_in_progress", "database_busy", "database_unavailable")
            await asyncio.sleep(0.1)


async def all_items(http: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await http.get(path, params={"limit": "200"} | cursor)).json()
        items += page["items"]
        if not page["next_cursor"]:
            return items
        cursor = {"cursor": page["next_cursor"]}


async def test_killed_at_random_moments_every_request_has_one_effect(here: Place) -> None:
    quiet = {"rate_limit_per_minute": "0", "worker_in_process": "false"}
    chance = random.Random(SEED)
    service = await here.serve(**quiet)
    async with here.client() as http:
        path = "/api/v1/sessions"
        sessions = [(await http.post(path, json={"user_id": "ravi"})).json()["id"] for _ in range(4)]
        clients = [Client(http, f"writer-{n}", f"{path}/{sessions[n % 4]}/messages") for n in range(WRITERS)]
        clients += [Client(http, f"opener-{n}", path) for n in range(OTHERS)]
        clients += [Client(http, f"sender-{n}", "/api/v1/documents") for n in range(OTHERS)]
        stop = asyncio.Event()
        tasks = [asyncio.create_task(client.work(stop)) for client in clients]
        for _ in range(KILLS):
            answered = sum(len(client.answers) for client in clients)
            async with asyncio.timeout(40):
                while sum(len(client.answers) for client in clients) < answered + 100:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(chance.uniform(0, 0.2))
            await service.kill()
            service = await here.serve(**quiet)
        stop.set()
        await asyncio.gather(*tasks)
        assert sum(len(client.sent_again) for client in clients) >= KILLS  # requests were cut off, and sent again

        stored = Counter[str]()
        seqs: dict[str, tuple[str, int]] = {}
        for session in sessions:
            messages = await all_items(http, f"{path}/{session}/messages")
            assert [item["seq"] for item in messages] == [*range(1, len(messages) + 1)]
            stored.update(item["content"] for item in messages)
            seqs |= {item["content"]: (item["id"], item["seq"]) for item in messages}
        stored.update(item["user_id"] for item in await all_items(http, path) if item["user_id"] != "ravi")
        stored.update(item["title"] for item in await all_items(http, "/api/v1/documents"))
        keys = {key for client in clients for key in client.answers}
        assert stored == Counter(keys)

        for client in clients:  # whatever was answered is answered so again, and nothing is added
            for key, answer in random.Random(SEED).sample([*client.answers.items()], k=min(5, len(client.answers))):
                assert await client.until_answered(key) == answer
                if key in seqs:
                    assert (answer["id"], answer["seq"]) == seqs[key]
        assert len(await all_items(http, f"{path}/{sessions[0]}/messages")) == sum(
            1 for client in clients if sessions[0] in client.path for _ in client.answers
        )
    assert await service.stop() == 0
