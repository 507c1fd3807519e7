"""The hash chain of a conversation: each entry's hash covers the one before (docs/protocol.md "Hash chain").

Pure: no Django, no I/O. `tests/vectors/hash_chain.json` holds cases that Python and TypeScript both pass.

What is covered is what was appended. An erasure takes an entry's content and leaves its hash in the table, so the chain
goes on: who saw the original can still prove it; who did not takes that one link as given, and proves all others.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import rfc8785

from messaging.events import Entry

PREFIX = b"whispr/log/v1"
GENESIS = bytes(32)  # what the first link is made on: at seq 1, or where the chain was switched on
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NOTHING = hashlib.sha256(b"{}").digest()


class ChainBroken(Exception):
    """An entry is not the one that the chain was made of, or not at its place; `seq` says which."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        super().__init__(f"entry {seq} does not fit its hash")


def entry_link(previous: bytes, entry: Entry) -> bytes:
    """The entry's hash: SHA-256 over the hash before and the entry's fields, each with its length (u32, big-endian).

    `entry` must be as it was appended: with its content and its metadata.
    """
    raw = bytes(entry.metadata)
    metadata = _NOTHING if raw == b"{}" else hashlib.sha256(_canonical(raw)).digest()
    fields = (
        entry.conversation_id.bytes,
        entry.seq.to_bytes(8, "big"),
        entry.message_id.bytes,
        entry.sender_id.bytes,
        entry.type.encode(),
        hashlib.sha256(entry.content).digest(),
        metadata,
        b"" if entry.target is None else entry.target.bytes,
        b"" if entry.reply_to is None else entry.reply_to.bytes,
        ((entry.sent_at - _EPOCH) // _MICROSECOND).to_bytes(8, "big"),
    )
    body = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return hashlib.sha256(previous + PREFIX + body).digest()


def _canonical(raw: bytes) -> bytes:
    metadata: Mapping[str, Any] = msgspec.json.decode(raw)
    return rfc8785.dumps(dict(metadata))


def is_whole(entry: Entry) -> bool:
    """Whether the entry is shown as it was appended: not erased, not blank, not with the content of a later edit."""
    if entry.edited_at is not None:
        return False
    if entry.type == "system":
        return b'"withheld"' not in bytes(entry.metadata)
    if entry.type == "reaction":
        return b'"emoji"' in bytes(entry.metadata)
    return bool(entry.content)


def chain_verify(previous: bytes | None, entries: Sequence[Entry], links: Sequence[bytes]) -> int:
    """Check a slice of a log against its links (one an entry); how many entries the links were proven for.

    `previous` is the hash of the entry before the first one, as the reader holds it; None where it holds none: then the
    first link is taken as given. So are the links of entries that are not whole. Raises ChainBroken for an entry that
    does not fit, or where a seq is left out.
    """
    proven = 0
    for index, (entry, link) in enumerate(zip(entries, links, strict=True)):
        if index and entry.seq != entries[index - 1].seq + 1:
            raise ChainBroken(entry.seq)
        if previous is not None and is_whole(entry):
            if entry_link(previous, entry) != link:
                raise ChainBroken(entry.seq)
            proven += 1
        previous = link
    return proven
