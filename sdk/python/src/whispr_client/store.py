"""What a client must not forget: what it still has to send, and how far it got in each conversation.

`SqliteStore` keeps both in a file, so that a send outlives the process: it is on disk before `send()` returns.
`MemoryStore` is for tests and for bots that may forget.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One send that has no outcome yet. `payload` is `send_message`'s, without its clientRandom."""

    number: int  # the order of the sends
    conversation_id: UUID
    client_random: int
    payload: Mapping[str, Any]


class Store(Protocol):
    """The client calls these on its event loop: they must be quick."""

    def outbox_add(self, conversation_id: UUID, client_random: int, payload: Mapping[str, Any]) -> OutboxItem:
        """Keep a send; the numbers grow."""

    def outbox_rekey(self, number: int, client_random: int) -> None:
        """The send gets another clientRandom: the server knew the first one for something else."""

    def outbox_remove(self, number: int) -> None:
        """The send has its outcome."""

    def list_outbox(self) -> list[OutboxItem]:
        """What has no outcome, in the order of the sends."""

    def cursor_set(self, conversation_id: UUID, seq: int) -> None:
        """Everything of the conversation up to `seq` was handed out and dealt with; 0 begins anew."""

    def get_cursors(self) -> dict[UUID, int]:
        """How far each conversation is."""


class MemoryStore:
    """A store that is gone with the process."""

    def __init__(self) -> None:
        self._number = 0
        self._outbox: dict[int, OutboxItem] = {}
        self._cursors: dict[UUID, int] = {}

    def outbox_add(self, conversation_id: UUID, client_random: int, payload: Mapping[str, Any]) -> OutboxItem:
        """See Store."""
        self._number += 1
        item = self._outbox[self._number] = OutboxItem(self._number, conversation_id, client_random, payload)
        return item

    def outbox_rekey(self, number: int, client_random: int) -> None:
        """See Store."""
        item = self._outbox[number]
        self._outbox[number] = OutboxItem(number, item.conversation_id, client_random, item.payload)

    def outbox_remove(self, number: int) -> None:
        """See Store."""
        self._outbox.pop(number, None)

    def list_outbox(self) -> list[OutboxItem]:
        """See Store."""
        return list(self._outbox.values())

    def cursor_set(self, conversation_id: UUID, seq: int) -> None:
        """See Store."""
        self._cursors[conversation_id] = seq

    def get_cursors(self) -> dict[UUID, int]:
        """See Store."""
        return dict(self._cursors)


_TABLES = """
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT NOT NULL,
    client_random INTEGER NOT NULL, payload TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cursors (conversation_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
"""


class SqliteStore:
    """A store in one file. One client at a time: it is locked for others while this one is open."""

    def __init__(self, path: str | Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=2.0)
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A send that was promised is on disk: a commit waits for it.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def outbox_add(self, conversation_id: UUID, client_random: int, payload: Mapping[str, Any]) -> OutboxItem:
        """See Store."""
        row = (str(conversation_id), client_random, json.dumps(payload))
        cursor = self._connection.execute(
            "INSERT INTO outbox (conversation_id, client_random, payload) VALUES (?, ?, ?)", row
        )
        assert cursor.lastrowid is not None
        return OutboxItem(cursor.lastrowid, conversation_id, client_random, payload)

    def outbox_rekey(self, number: int, client_random: int) -> None:
        """See Store."""
        self._connection.execute("UPDATE outbox SET client_random = ? WHERE number = ?", (client_random, number))

    def outbox_remove(self, number: int) -> None:
        """See Store."""
        self._connection.execute("DELETE FROM outbox WHERE number = ?", (number,))

    def list_outbox(self) -> list[OutboxItem]:
        """See Store."""
        rows = self._connection.execute("SELECT number, conversation_id, client_random, payload FROM outbox ORDER BY 1")
        return [OutboxItem(row[0], UUID(row[1]), row[2], json.loads(row[3])) for row in rows]

    def cursor_set(self, conversation_id: UUID, seq: int) -> None:
        """See Store."""
        self._connection.execute(
            "INSERT INTO cursors VALUES (?, ?) ON CONFLICT (conversation_id) DO UPDATE SET seq = excluded.seq",
            (str(conversation_id), seq),
        )

    def get_cursors(self) -> dict[UUID, int]:
        """See Store."""
        return {UUID(row[0]): row[1] for row in self._connection.execute("SELECT * FROM cursors")}
