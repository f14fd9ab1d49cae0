"""What turns told their clients. Events are stored and read as the JSON text that is sent: nothing decodes them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, text, update

from app.models import TurnEvent
from app.repositories.base import Repository

CHANNEL = "ragchat_turns"
"""Payloads are `cancel <turn>`, `follow <turn>` and `events <turn> <turn>...`."""
PAYLOAD_IDS = 200
"""A notification may have 8000 bytes."""

HOLD = text("""
SELECT id FROM turns
WHERE tenant_id = :tenant AND id = ANY(CAST(:turns AS uuid[])) AND lease_token = :holder AND status = 'running'
ORDER BY id FOR SHARE
""")

APPEND = text("""
INSERT INTO turn_events (tenant_id, turn_id, seq, type, data)
SELECT :tenant, * FROM unnest(
    CAST(:turn_ids AS uuid[]), CAST(:seqs AS int[]), CAST(:types AS text[]), CAST(CAST(:data AS text[]) AS json[])
)
ON CONFLICT DO NOTHING
""")

READ = text("""
SELECT seq, type, CAST(data AS text) AS data FROM turn_events
WHERE turn_id = :turn AND seq > :after AND tenant_id = :tenant
ORDER BY seq LIMIT :limit
""")

COMPACT = text("""
WITH old AS MATERIALIZED (
    SELECT t.id, t.assistant_message_id FROM turns t
    WHERE t.tenant_id = :tenant AND t.delta_ends IS NULL AND t.finished_at < now() - make_interval(hours => :hours)
    ORDER BY t.finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
), told AS (
    SELECT e.turn_id, e.seq, sum(char_length(e.data->>'text')) OVER (PARTITION BY e.turn_id ORDER BY e.seq) AS until
    FROM turn_events e JOIN old ON old.id = e.turn_id WHERE e.type = 'delta'
), whole AS MATERIALIZED (
    SELECT told.turn_id, array_agg(CAST(told.until AS int) ORDER BY told.seq) AS ends FROM told
    JOIN old ON old.id = told.turn_id JOIN messages m ON m.id = old.assistant_message_id
    GROUP BY told.turn_id, m.content HAVING max(told.until) = char_length(m.content)
), gone AS (
    DELETE FROM turn_events e USING whole WHERE e.turn_id = whole.turn_id AND e.type = 'delta'
)
UPDATE turns t SET delta_ends = coalesce(whole.ends, '{}')
FROM old LEFT JOIN whole ON whole.turn_id = old.id WHERE t.id = old.id
RETURNING t.id
""")

TENANTS_WITH_OLD = text("""
SELECT DISTINCT tenant_id FROM turns WHERE delta_ends IS NULL AND finished_at < now() - make_interval(hours => :hours)
""")

Row = tuple[UUID, int, str, str]
"""turn_id, seq, type and the event as JSON."""


class TurnEventRepository(Repository):
    async def append(self, holder: UUID, rows: Sequence[Row]) -> set[UUID]:
        """The turns among them that `holder` still holds; the others' events are left out, for somebody has ended them.

        What is held stays so until this transaction ends. The same rows once more are of no effect: when a connection
        is lost nobody can tell whether the commit went through.
        """
        values = {"tenant": self._caller.tenant_id, "holder": holder, "turns": [*{row[0] for row in rows}]}
        held = {*(await self._session.execute(HOLD, values)).scalars()}
        await self.add([row for row in rows if row[0] in held])
        return held

    async def add(self, rows: Sequence[Row]) -> None:
        """Of a turn whose row this transaction has locked or made."""
        if not rows:
            return
        turn_ids, seqs, types, data = zip(*rows, strict=True)
        values = {"turn_ids": turn_ids, "seqs": seqs, "types": types, "data": data}
        await self._session.execute(APPEND, {"tenant": self._caller.tenant_id} | {k: [*v] for k, v in values.items()})

    async def read(self, turn_id: UUID, after: int = 0, *, limit: int = 2**31 - 1) -> list[Row]:
        values = {"tenant": self._caller.tenant_id, "turn": turn_id, "after": after, "limit": limit}
        return [(turn_id, *row) for row in await self._session.execute(READ, values)]

    async def decoded(self, turn_id: UUID) -> list[TurnEvent]:
        """For whoever looks into them."""
        statement = select(TurnEvent).where(TurnEvent.turn_id == turn_id, self._mine(TurnEvent)).order_by(TurnEvent.seq)
        return [*(await self._session.execute(statement)).scalars()]

    async def replace(self, turn_id: UUID, events: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """(seq, data): what a client sees that replays them."""
        statement = (
            update(TurnEvent)
            .where(TurnEvent.turn_id == turn_id, TurnEvent.seq == bindparam("at"), self._mine(TurnEvent))
            .values(data=bindparam("new_data"))
            .execution_options(synchronize_session=False)
        )
        connection = await self._session.connection()
        await connection.execute(statement, [{"at": seq, "new_data": data} for seq, data in events])

    async def notify(self, kind: str, turn_ids: Sequence[UUID]) -> None:
        """Heard by every process once this transaction has been committed."""
        for at in range(0, len(turn_ids), PAYLOAD_IDS):
            payload = " ".join([kind, *map(str, turn_ids[at : at + PAYLOAD_IDS])])
            await self._session.execute(
                text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload}
            )

    async def tenants_with_old(self, hours: int) -> list[UUID]:
        """Of all tenants, those with turns whose deltas have been kept for longer."""
        return [*(await self._session.execute(TENANTS_WITH_OLD, {"hours": hours})).scalars()]

    async def compact(self, hours: int, *, limit: int) -> int:
        """Removes the deltas of turns that ended so long ago; how many turns there were.

        The turn keeps where in the answer each of them ended. Deltas that are not the message's text stay.
        """
        values = {"tenant": self._caller.tenant_id, "hours": hours, "limit": limit}
        return len((await self._session.execute(COMPACT, values)).all())
