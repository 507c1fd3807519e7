"""What clients saw: one JSON line an operation and device.

An operation begins with `invoke` and ends with `ok`, `fail` (it certainly did not happen) or `info` (nobody knows:
a timeout, a closed socket, a 5xx). `id` pairs the two. What came unasked is an `ok` alone.
"""

import hashlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

Phase = Literal["invoke", "ok", "fail", "info"]


class Op(msgspec.Struct, omit_defaults=True, rename="camel", kw_only=True):
    """One line. Which fields are there depends on `op`:

    send      conversation, clientRandom, hash, type, target; ok: messageId, seq, sentAt, status
    delete    messageId
    ack, read conversation, upTo
    connect   url; join: cursors, ok: epoch; sync: ok with the id of its join; resync: conversation, code
    receive   an entry that was pushed: id is its join's
    fetch     conversation; ok: seq is the head that the server named; view: an entry of it, with the same id
    status    a receipt that was pushed: recipient, status, upTo
    receipt   at the end: how far the server says that recipient is; delivery: one message's status at recipient
    member    users, code: add or remove
    revoke    target: the device; block: conversation, target: the user
    schedule  clientRandom, due; cancel; planned: what became of it at the end
    fault     code: F1, isolated; heal; converged: seconds; audit: note, count; end
    """

    time: float
    op: str
    phase: Phase
    id: int | None = None
    user: str | None = None
    device: str | None = None
    socket: int | None = None
    conversation: str | None = None
    client_random: int | None = None
    message_id: str | None = None
    seq: int | None = None
    hash: str | None = None  # SHA-256 of the ciphertext; absent where there was none
    code: str | None = None
    type: str | None = None
    sender: str | None = None
    target: str | None = None
    sent_at: str | None = None
    edited: bool = False
    expires_at: float | None = None
    status: str | None = None
    up_to: int | None = None
    read_up_to: int | None = None
    recipient: str | None = None
    users: list[str] | None = None
    event: str | None = None  # of a system entry
    named: list[str] | None = None  # the messages that a system entry names
    emoji: str | None = None
    remove: bool = False
    reactions: dict[str, list[str]] | None = None
    cursors: dict[str, int] | None = None
    epoch: str | None = None
    due: float | None = None
    at: str | None = None
    read_at: str | None = None
    seconds: float | None = None
    count: int | None = None
    note: str | None = None
    url: str | None = None
    attempt: int = 1
    cut: bool = False  # the harness itself had cut the way to the server
    isolated: bool = False  # the fault must not be felt by others
    control: bool = False  # of a user who has nothing to do with the fault


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Op)


def hash_of(content: bytes) -> str | None:
    """The hash under which a ciphertext is compared; None where there is none."""
    return hashlib.sha256(content).hexdigest()[:32] if content else None


class History:
    """Writes a history. Lines are in the order of their times: one thread writes."""

    def __init__(self, path: Path | None) -> None:
        self.ops: list[Op] = []
        self._ids = itertools.count(1)
        self._file = path.open("ab", buffering=0) if path is not None else None

    def next_id(self) -> int:
        """A number that pairs a beginning with its end."""
        return next(self._ids)

    def write(self, op: str, phase: Phase, **fields: object) -> Op:
        """Note an operation now."""
        line = Op(time=time.time(), op=op, phase=phase, **fields)  # type: ignore[arg-type]
        self.ops.append(line)
        if self._file is not None:
            self._file.write(_encoder.encode(line) + b"\n")
        return line

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read(path: Path) -> Iterator[Op]:
    """The operations of a file; a last line that was cut short is left out. Raises msgspec.DecodeError."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _decoder.decode(line)
