"""The map of a session: sealed in the database, its owner's alone, written before anything leaves."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
import structlog
from sqlalchemy import event, text

from app.core.caller import Caller
from app.core.errors import NotFound
from app.core.ids import new_id
from app.privacy.vault import Vault
from app.services.masking import MaskingService
from app.services.turns import Question
from tests.conftest import MakeTenant, Tenant
from tests.integration.test_masking import REMARK, Speaking, aws_environment, speaking, stand_in
from tests.unit.privacy.vectors import INTACT, LABELLED, MASKED

__all__ = ["aws_environment", "speaking", "stand_in"]
pytestmark = pytest.mark.usefixtures("aws_environment")
PHONE, OTHER, ACCOUNT = "9848022338", "9848022339", "50100123456789"
NEW, OLD = "new-" * 10, "old-" * 10


async def stored(tenant: Tenant, session: str) -> list[Any]:
    statement = text("SELECT sealed, key_id, version, tenant_id FROM masking_maps WHERE session_id = :session")
    async with tenant.runtime.owner.begin() as connection:
        return [*(await connection.execute(statement, {"session": UUID(session)}))]


@contextmanager
def statements(tenant: Tenant) -> Iterator[list[str]]:
    """About maps."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "masking_maps" in statement:
            seen.append(statement.split()[0])

    engine = tenant.runtime.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


class TestTranscripts:
    """Text of a session on its way to translation or speech, which are not there yet."""

    @pytest.mark.parametrize(("name", "value"), MASKED)
    async def test_what_must_be_masked(self, tenant: Tenant, name: str, value: str) -> None:
        session = UUID(await tenant.session())
        said = f"So, {LABELLED.get(name, '')}{value}, please."
        masking = tenant.runtime.masking
        once = await masking.mask(tenant.caller, session, said)
        assert once == f"So, {LABELLED.get(name, '')}<{name}_1>, please."
        assert await masking.restore(tenant.caller, session, f"దయచేసి <{name}_1>") == f"దయచేసి {value}"

    async def test_what_must_not_is_intact(self, tenant: Tenant) -> None:
        session = UUID(await tenant.session())
        for said in INTACT:
            assert await tenant.runtime.masking.mask(tenant.caller, session, said) == said
        assert await stored(tenant, str(session)) == []

    async def test_the_chat_knows_it_by_the_same_name(self, speaking: Speaking) -> None:
        tenant, session = speaking.tenant, await speaking.tenant.session()
        await tenant.runtime.masking.mask(tenant.caller, UUID(session), f"{OTHER} and {PHONE}")
        model = speaking.with_model("say:<PHONE_2>")
        answer = await speaking.ask(session, f"Call {PHONE}.")
        assert "Call <PHONE_2>." in speaking.sent(model)
        assert answer["content"] == PHONE


class TestStored:
    async def test_sealed_before_the_model_is_asked_and_gone_with_the_session(self, speaking: Speaking) -> None:
        model = speaking.with_model("hang-before")
        session = await speaking.tenant.session()
        runtime, caller = speaking.tenant.runtime, speaking.tenant.caller
        turn_id = await runtime.chat.ask(caller, Question(UUID(session), f"Call {PHONE}.", use_rag=False))
        async with asyncio.timeout(10):
            while not speaking.stand_in.count(model):
                await asyncio.sleep(0.02)
        ((sealed, key_id, version, tenant_id),) = await stored(speaking.tenant, session)
        assert PHONE.encode() not in sealed
        assert key_id.encode() in sealed
        assert (version, tenant_id) == (1, speaking.tenant.caller.tenant_id)
        await runtime.turns.cancel(caller, turn_id)
        assert [event async for event in runtime.turns.follow(caller, turn_id)][-1]["status"] == "cancelled"
        await speaking.tenant.http.delete(f"/api/v1/sessions/{session}")
        assert await stored(speaking.tenant, session) == []

    async def test_read_and_written_only_when_there_is_something_to_know(self, speaking: Speaking) -> None:
        speaking.with_model("say:Noted.")
        session = await speaking.tenant.session()
        for question, expected in (
            ("Hello.", []),
            ("Hello again.", ["SELECT"]),
            (f"Call {PHONE}.", ["SELECT", "INSERT"]),
            (f"Call {PHONE} again.", ["SELECT"]),
        ):
            with statements(speaking.tenant) as seen:
                await speaking.ask(session, question)
            assert seen == expected, question

    async def test_gone_with_a_document_that_the_session_was_shown(self, speaking: Speaking) -> None:
        document = await speaking.tenant.add_text(f"The canteen pays to A/c no {ACCOUNT}. {REMARK}", title="Canteen")
        speaking.with_model("say:The canteen pays to A/c no <ACCOUNT_1>. [1]")
        session, other = await speaking.tenant.session(), await speaking.tenant.session()
        await speaking.ask(session, "Where does the canteen pay to?", use_rag=True)
        await speaking.ask(other, f"Call {PHONE}.")
        assert len(await stored(speaking.tenant, session)) == 1
        await speaking.tenant.http.delete(f"/api/v1/documents/{document['id']}")
        assert await stored(speaking.tenant, session) == []
        assert len(await stored(speaking.tenant, other)) == 1

    async def test_a_map_that_was_forgotten_meanwhile_does_not_come_back(self, tenant: Tenant) -> None:
        session = UUID(await tenant.session())
        masks = tenant.runtime.masking.masks(tenant.caller, session)
        await masks.cover(f"A/c no {ACCOUNT}")
        async with tenant.runtime.owner.begin() as connection:
            await connection.execute(text("DELETE FROM masking_maps WHERE session_id = :id"), {"id": session})
        assert await masks.cover(f"Call {PHONE}.") == ["Call <PHONE_1>."]
        again = await tenant.runtime.masking.mask(tenant.caller, session, f"{ACCOUNT} {PHONE}")
        assert again == f"{ACCOUNT} <PHONE_1>"


class TestOwners:
    async def test_nobody_else_reads_or_writes_it(self, tenant: Tenant, new_tenant: MakeTenant) -> None:
        session, masking = UUID(await tenant.session(user_id="ravi")), tenant.runtime.masking
        ravi = Caller(tenant.caller.tenant_id, "ravi")
        assert await masking.mask(ravi, session, f"Call {PHONE}.") == "Call <PHONE_1>."
        before = await stored(tenant, str(session))
        for stranger in (
            Caller(tenant.caller.tenant_id, "asha"),
            (await new_tenant()).caller,
            Caller(new_id(), "ravi"),
        ):
            for attempt in (masking.mask(stranger, session, f"Call {OTHER}."), masking.restore(stranger, session, "x")):
                with pytest.raises(NotFound, match="session_not_found"):
                    await attempt
        assert await stored(tenant, str(session)) == before
        assert await masking.restore(ravi, session, "<PHONE_1> <PHONE_2>") == f"{PHONE} <PHONE_2>"

    async def test_two_who_write_at_once_lose_nothing(self, tenant: Tenant) -> None:
        session, masking = UUID(await tenant.session()), tenant.runtime.masking
        numbers = [f"98480223{n:02}" for n in range(12)]
        masks = [masking.masks(tenant.caller, session) for _ in numbers[:3]]
        for mask in masks:
            await mask.cover(PHONE)  # each has read the map
        once = await asyncio.gather(*(masks[n % 3].cover(number) for n, number in enumerate(numbers[:3])))
        assert len({text for (text,) in once}) == 3
        for (text_,), number in zip(once, numbers, strict=False):
            assert await masking.restore(tenant.caller, session, text_) == number


class TestKeys:
    def service(self, tenant: Tenant, *secrets: str) -> MaskingService:
        return MaskingService(tenant.runtime.uow, Vault.of_secrets(secrets))

    async def test_a_new_one_seals_and_the_old_one_opens(self, tenant: Tenant) -> None:
        session = await tenant.session()
        old, both, new = self.service(tenant, OLD), self.service(tenant, NEW, OLD), self.service(tenant, NEW)
        await old.mask(tenant.caller, UUID(session), f"A/c no {ACCOUNT}")
        names = [(await stored(tenant, session))[0].key_id]
        assert await both.mask(tenant.caller, UUID(session), f"{ACCOUNT} {PHONE}") == "<ACCOUNT_1> <PHONE_1>"
        names.append((await stored(tenant, session))[0].key_id)
        assert names == [Vault.of_secrets([OLD]).current, Vault.of_secrets([NEW]).current]
        assert await new.restore(tenant.caller, UUID(session), "<ACCOUNT_1>") == ACCOUNT

    async def test_without_the_old_one_the_map_is_begun_anew_and_chat_goes_on(self, tenant: Tenant) -> None:
        session = UUID(await tenant.session())
        await self.service(tenant, OLD).mask(tenant.caller, session, f"{OTHER} {PHONE}")
        with structlog.testing.capture_logs() as logged:
            new = self.service(tenant, NEW)
            assert await new.mask(tenant.caller, session, f"Call {PHONE}.") == "Call <PHONE_1>."
        assert [(line["event"], line["reason"]) for line in logged] == [("masking.map_not_opened", "Sealed")]
        assert await new.restore(tenant.caller, session, "<PHONE_1>") == PHONE

    async def test_a_map_is_of_no_use_in_another_session(self, tenant: Tenant) -> None:
        session, other = await tenant.session(), await tenant.session()
        masking = tenant.runtime.masking
        for id_ in (session, other):
            await masking.mask(tenant.caller, UUID(id_), PHONE)
        moved = text("UPDATE masking_maps SET sealed = :sealed WHERE session_id = :id")
        ((sealed, *_),) = await stored(tenant, session)
        async with tenant.runtime.owner.begin() as connection:
            await connection.execute(moved, {"sealed": sealed, "id": UUID(other)})
        assert await masking.restore(tenant.caller, UUID(other), "<PHONE_1>") == "<PHONE_1>"


async def test_switched_off_everything_leaves_as_it_is(tenant: Tenant) -> None:
    masks = MaskingService(tenant.runtime.uow, Vault.of_secrets([NEW]), on=False).masks(tenant.caller, new_id())
    assert await masks.cover(f"Call {PHONE}, <PHONE_1>.") == [f"Call {PHONE}, <PHONE_1>."]
    assert masks.restore("<PHONE_1>") == "<PHONE_1>"


async def test_without_a_vault_a_turn_is_masked_all_the_same(tenant: Tenant) -> None:
    session = UUID(await tenant.session())
    masks = MaskingService(tenant.runtime.uow).masks(tenant.caller, session)
    assert await masks.cover(f"Call {PHONE}.") == ["Call <PHONE_1>."]
    assert masks.restore("<PHONE_1>") == PHONE
    assert await stored(tenant, str(session)) == []
