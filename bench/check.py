"""The check at the end: the database holds exactly what was promised (docs/protocol.md §8.1-4.5)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

import psycopg

from bench import history
from bench.ledger import Ledger, Place

# Of each kind of fault so many are shown; one broken batch would otherwise print thousands of lines.
SHOWN = 5
CONVERSATIONS_A_QUERY = 100


class StoredEntry(NamedTuple):
    """A row of `messages`, with what `send_keys` says of it."""

    message_id: UUID
    conversation_id: UUID
    seq: int
    sender_id: UUID
    client_random: int | None  # None: a system entry
    digest: bytes
    sent_at: datetime
    keys: int  # how many send_keys name this message, with the same sender, clientRandom and seq


class StoredReceipt(NamedTuple):
    """What the database says of an acknowledgement: the rows up to its seq, and the two watermarks."""

    place: Place
    entries: int  # messages of others up to there, while statuses are kept
    delivered: int  # of these, those whose status of this user says delivered
    delivered_seq: int
    acked_seq: int


def list_entry_faults(ledger: Ledger, stored: Iterable[StoredEntry], heads: Mapping[UUID, int]) -> list[str]:
    """What is wrong with the log: lost, doubled, altered or unordered entries. `heads` is last_seq by conversation."""
    faults = _Faults()
    logs: defaultdict[UUID, list[StoredEntry]] = defaultdict(list)
    by_id: defaultdict[UUID, list[StoredEntry]] = defaultdict(list)
    for entry in stored:
        logs[entry.conversation_id].append(entry)
        by_id[entry.message_id].append(entry)
    for conversation_id in ledger.conversations:
        _check_log(faults, conversation_id, logs.get(conversation_id, []), heads.get(conversation_id))
    _check_promises(faults, ledger, by_id)
    promised = {promise.message_id for promise in ledger.promises}
    for entry in (one for log in logs.values() for one in log):
        if entry.client_random is None:
            continue
        if entry.keys != 1:
            faults.add("a message has not exactly one send key", f"{entry.message_id} has {entry.keys}")
        if entry.message_id not in promised and (entry.sender_id, entry.client_random) not in ledger.unanswered:
            faults.add("a message is stored that nobody was told of", f"{entry.message_id}")
    return faults.lines()


def _check_log(faults: "_Faults", conversation_id: UUID, log: list[StoredEntry], head: int | None) -> None:
    log.sort(key=lambda entry: entry.seq)
    if head is None:
        faults.add("a conversation is gone", str(conversation_id))
    elif head != len(log):
        faults.add("last_seq is not the number of entries", f"{conversation_id}: {head}, but {len(log)} entries")
    for place, entry in enumerate(log, 1):
        if entry.seq != place:
            faults.add("seq has a gap or a double", f"{conversation_id}: {entry.seq} in place {place}")
            break
    for earlier, later in pairwise(log):
        if later.sent_at <= earlier.sent_at:
            faults.add("sent_at does not increase", f"{conversation_id}: seq {earlier.seq} and {later.seq}")


def _check_promises(faults: "_Faults", ledger: Ledger, by_id: Mapping[UUID, list[StoredEntry]]) -> None:
    for promise in ledger.promises:
        found = by_id.get(promise.message_id, [])
        if len(found) != 1:
            faults.add("an acknowledged message is not there exactly once", f"{promise.message_id}: {len(found)} times")
            continue
        entry = found[0]
        if (entry.conversation_id, entry.seq) != (promise.conversation_id, promise.seq):
            faults.add("a message is not where its reply said", f"{promise.message_id}: {entry.seq}, not {promise.seq}")
        if (entry.sender_id, entry.client_random) != (promise.sender_id, promise.client_random):
            faults.add("a message is under another key", str(promise.message_id))
        if entry.digest != promise.digest:
            faults.add("a content was altered", str(promise.message_id))
        if entry.sent_at != promise.sent_at:
            faults.add("sent_at is not what the reply said", f"{promise.message_id}")
    twice = Counter((promise.conversation_id, promise.seq) for promise in ledger.promises)
    for place, times in twice.items():
        if times > 1:
            faults.add("two replies named the same seq", f"{place[0]}: {place[1]}")


def list_receipt_faults(ledger: Ledger, stored: Sequence[StoredReceipt]) -> list[str]:
    """Which confirmed acknowledgements the database does not hold."""
    faults = _Faults()
    found = {receipt.place: receipt for receipt in stored}
    for place, up_to in ledger.received.items():
        receipt = found.get(place)
        name = f"{place.conversation_id} of {place.user_id} up to {up_to}"
        if receipt is None:
            faults.add("an acknowledgement left nothing", name)
            continue
        if receipt.delivered != receipt.entries:
            lacking = f"{name}: {receipt.delivered} of {receipt.entries}"
            faults.add("statuses are not delivered that were acknowledged", lacking)
        if receipt.delivered_seq < up_to:
            faults.add("the member's watermark is behind", f"{name}: {receipt.delivered_seq}")
        if receipt.acked_seq < up_to:
            faults.add("the device's cursor is behind", f"{name}: {receipt.acked_seq}")
    return faults.lines()


class _Faults:
    def __init__(self) -> None:
        self._by_kind: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, detail: str) -> None:
        self._by_kind[kind].append(detail)

    def lines(self) -> list[str]:
        return [
            f"{kind} ({len(details)}): " + "; ".join(details[:SHOWN]) + (" …" if len(details) > SHOWN else "")
            for kind, details in self._by_kind.items()
        ]


_ENTRIES = """
SELECT m.id, m.conversation_id, m.seq, m.sender_id, m.client_random, sha256(m.content), m.sent_at,
       (SELECT count(*) FROM send_keys k WHERE k.message_id = m.id AND k.sender_id = m.sender_id
        AND k.client_random = m.client_random AND k.conversation_id = m.conversation_id AND k.seq = m.seq)
FROM messages m WHERE m.conversation_id = ANY(%b)"""

_RECEIPTS = """
SELECT a.conversation_id, a.user_id, a.device_id, count(m.id), count(s.delivered_at),
       coalesce(max(b.delivered_seq), -1), coalesce(max(d.acked_seq), -1)
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::bigint[]) AS a(conversation_id, user_id, device_id, up_to)
LEFT JOIN messages m ON m.conversation_id = a.conversation_id AND m.seq <= a.up_to AND m.sender_id <> a.user_id
     AND m.message_type <> 'system'
LEFT JOIN delivery_statuses s ON s.message_id = m.id AND s.user_id = a.user_id
LEFT JOIN members b ON b.conversation_id = a.conversation_id AND b.user_id = a.user_id
LEFT JOIN device_cursors d ON d.conversation_id = a.conversation_id AND d.device_id = a.device_id
GROUP BY a.conversation_id, a.user_id, a.device_id"""


def list_faults(database_url: str, ledger: Ledger) -> list[str]:
    """Read the database and compare. Empty: it holds exactly what was promised."""
    conversations = sorted(ledger.conversations)
    stored: list[StoredEntry] = []
    receipts: list[StoredReceipt] = []
    heads: dict[UUID, int] = {}
    with psycopg.connect(database_url, autocommit=True) as connection:
        for start in range(0, len(conversations), CONVERSATIONS_A_QUERY):
            some = conversations[start : start + CONVERSATIONS_A_QUERY]
            stored += [StoredEntry(*row) for row in connection.execute(_ENTRIES, [some], binary=True)]
            rows = connection.execute("SELECT id, last_seq FROM conversations WHERE id = ANY(%b)", [some])
            heads |= {row[0]: row[1] for row in rows}
        places = sorted(ledger.received)
        for start in range(0, len(places), CONVERSATIONS_A_QUERY):
            some_places = places[start : start + CONVERSATIONS_A_QUERY]
            columns = [list(column) for column in zip(*some_places, strict=True)]
            up_to = [ledger.received[place] for place in some_places]
            found = connection.execute(_RECEIPTS, [*columns, up_to], binary=True)
            receipts += [StoredReceipt(Place(*row[:3]), *row[3:]) for row in found]
    if history.record is not None:
        history.record.stored(stored, heads.items())
    return list_entry_faults(ledger, stored, heads) + list_receipt_faults(ledger, receipts)
