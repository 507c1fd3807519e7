"""What a `Session` tells whoever drives it to do, and the joins it speaks of."""

from enum import IntEnum
from typing import TypeAlias

import msgspec

from messaging.phoenix.frames import Frame, Ref


class JoinState(IntEnum):
    """Where a join stands. `GONE` is final."""

    PENDING = 0
    JOINED = 1
    LEAVING = 2
    GONE = 3


class TopicJoin(msgspec.Struct, eq=False, gc=False):
    """One join of one topic by one socket, from `Join` on; a rejoin is another one. Compared and hashed by identity.

    `head` begins every text push to it (`encoding.push_head`); it is empty until it is joined. Read-only outside.
    """

    topic: str
    join_ref: Ref  # the join's own ref where the client gave no join_ref
    ref: Ref  # what waits for an answer: the join's while pending, the leave's while leaving
    state: JoinState = JoinState.PENDING
    head: str = ""
    held: list[tuple[Frame, int]] | None = None  # frames for a pending join, with their sizes


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send this frame."""

    data: str | bytes


class Join(msgspec.Struct, frozen=True, gc=False):
    """The client wants to join: answer with `Session.joined` or `Session.refused`. `payload` is a JSON object."""

    join: TopicJoin
    payload: msgspec.Raw


class Leave(msgspec.Struct, frozen=True, gc=False):
    """The client leaves: stop pushing to this join, let what it asked for finish, then call `Session.left`."""

    join: TopicJoin


class Gone(msgspec.Struct, frozen=True, gc=False):
    """A newer join of the topic took this one's place: stop its work and its pushes. Nothing is to be reported back."""

    join: TopicJoin


class Event(msgspec.Struct, frozen=True, gc=False):
    """The client's event on a joined topic: answer `ref` once. `payload` is a JSON object, or a binary push's bytes."""

    join: TopicJoin
    ref: Ref
    event: str
    payload: msgspec.Raw | bytes


class Close(msgspec.Struct, frozen=True, gc=False):
    """Close the socket with this code (docs/protocol.md "Close codes"); its joins end with it. The last action."""

    code: int
    reason: str


Action: TypeAlias = Send | Join | Leave | Gone | Event | Close
Actions: TypeAlias = tuple[Action, ...]
