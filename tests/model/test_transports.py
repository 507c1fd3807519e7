"""The same scenario over the socket alone and over REST alone leads to the same log (docs/protocol.md §2, §3)."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import strategies as st

from tests.live.server import Cluster
from tests.model.operations import Operations
from tests.model.test_state_machine import IN_TURN, STEPS, Machine, bound, run_machine
from tests.model.views import compare
from tests.model.world import World

_ROWS = """
SELECT m.seq, m.message_type, m.sender_id::text, d.number, convert_from(m.content, 'UTF8'), m.metadata::text,
       t.seq, r.seq, m.client_random, m.is_deleted, m.delete_for_everyone, e.seq, m.expires_at IS NULL,
       m.ttl_after_read, m.edited_at = e.sent_at
FROM messages m
LEFT JOIN unnest(%s::uuid[], %s::int[]) AS d (id, number) ON d.id = m.sender_device_id
LEFT JOIN messages t ON t.id = m.target_id LEFT JOIN messages r ON r.id = m.reply_to_id
LEFT JOIN messages e ON e.id = m.edit_id
WHERE m.conversation_id = %s ORDER BY m.seq"""


def rows_of(world: World) -> list[tuple[Any, ...]]:
    """The log as it is stored, with people, devices and messages by their numbers and contents by theirs."""
    devices = list(world.devices.values())
    ids, numbers = [one.id for one in devices], [one.user * 10 + one.number for one in devices]
    rows = world.database.execute(_ROWS, [ids, numbers, world.conversation]).fetchall()
    names = {str(person): f"person {number}" for number, person in enumerate(world.people)}
    names |= {str(item.message_id): f"message {item.seq}" for item in world.model.items}
    names[world.name] = "world"
    found = []
    for row in rows:
        values = list(row)
        for number, value in enumerate(values):
            if isinstance(value, str):
                for known, name in names.items():
                    value = value.replace(known, name)
                values[number] = value
        found.append(tuple(values))
    return found


class Twice(Machine):
    """An example over the socket alone; then its steps again, in a group of their own, over REST alone."""

    over = "socket"
    operations = st.one_of(*IN_TURN)  # what races may come in another order the second time

    def finish(self) -> None:
        super().finish()
        first = rows_of(self.world)  # now: the worker of the other one erases what is due here as well
        again = Operations(self.server, self.database, "rest")
        try:
            self.run(self.replay(again))
        finally:
            self.loop.run_until_complete(again.close())
        assert rows_of(again) == first

    async def replay(self, again: Operations) -> None:
        (_, members), *steps = self.world.steps
        await again.begin(**members)
        for name, arguments in steps:
            await again.do(name, arguments)
        await compare(again)


@pytest.fixture
def twice(server: Cluster, model_database: "psycopg.Connection[Any]") -> Iterator[type[Machine]]:
    """The machine that does everything twice."""
    yield from bound(Twice, server, model_database)


def test_both_transports_lead_to_the_same_log(twice: type[Machine]) -> None:
    run_machine(twice, examples=5, steps=STEPS)
