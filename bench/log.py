"""Writing a log without sending it: messages by COPY, with the rows that the send path writes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import psycopg

from bench.ledger import digest_of
from bench.target import Identity
from whispr.kernel.ids import new_id


class Written(NamedTuple):
    """What a sender would have sent."""

    content: bytes
    client_random: int
    signature: bytes | None = None


class Appended(NamedTuple):
    """The message's row: its id and its place."""

    message_id: UUID
    seq: int
    sent_at: datetime


def append(
    connection: psycopg.Connection[tuple[object, ...]],
    conversation_id: UUID,
    sender: Identity,
    recipient: UUID,
    messages: Sequence[Written],
) -> list[Appended]:
    """Append messages, a millisecond apart, to a conversation under its lock, as store/log.py does it; no commit."""
    cursor = connection.cursor()
    head = cursor.execute(
        "SELECT last_seq, coalesce(last_sent_at, clock_timestamp()) FROM conversations WHERE id = %s FOR NO KEY UPDATE",
        [conversation_id],
    ).fetchone()
    assert head is not None
    last_seq, last_sent_at = head
    assert isinstance(last_seq, int)
    assert isinstance(last_sent_at, datetime)
    rows = [
        Appended(new_id(), last_seq + number, last_sent_at + timedelta(milliseconds=number))
        for number in range(1, len(messages) + 1)
    ]
    with cursor.copy(
        "COPY messages (id, conversation_id, seq, sender_id, sender_device_id, message_type, content, metadata,"
        " client_random, signature, sent_at, is_deleted, delete_for_everyone) FROM STDIN"
    ) as copy:
        for row, message in zip(rows, messages, strict=True):
            place = (row.message_id, conversation_id, row.seq, sender.user_id, sender.device_id, "text")
            said = (message.content, "{}", message.client_random, message.signature)
            copy.write_row((*place, *said, row.sent_at, False, False))
    with cursor.copy(
        "COPY send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at) FROM STDIN"
    ) as copy:
        for row, message in zip(rows, messages, strict=True):
            key = (row.message_id, sender.user_id, message.client_random, digest_of(message.content))
            copy.write_row((*key, conversation_id, row.seq, row.sent_at))
    with cursor.copy("COPY delivery_statuses (message_id, user_id) FROM STDIN") as copy:
        for row in rows:
            copy.write_row((row.message_id, recipient))
    cursor.execute(
        "UPDATE conversations SET last_seq = %s, last_sent_at = %s WHERE id = %s",
        [rows[-1].seq, rows[-1].sent_at, conversation_id],
    )
    return rows
