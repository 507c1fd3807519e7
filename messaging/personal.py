"""Drafts and scheduled messages on the wire: requests and the frozen values of the answers (docs/protocol.md §7).

A user's own, on all the user's devices; nobody else learns of them.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from messaging.requests import Request, SendMessage, Seq

ScheduledState = Literal["scheduled", "sent", "needs_reencrypt", "failed"]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]  # RFC 3339 with its offset: a naive time is refused


class ScheduleMessage(SendMessage, frozen=True, kw_only=True):
    """`POST messages/scheduled`: a send, and the time for it."""

    scheduled_for: Moment


class UpdateScheduled(Request, frozen=True, kw_only=True):
    """`PUT messages/scheduled/{id}`: another time, another send (all of it, known by `content`), or both."""

    scheduled_for: Moment | None = None
    content: str | None = None


class ScheduledView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A scheduled message as its author's devices see it; `reason` is the error's code where it failed.

    The fields of the send are null once it is sent: they are in the message then.
    """

    id: UUID
    conversation_id: UUID
    device_id: UUID
    client_random: int
    scheduled_for: datetime
    state: ScheduledState
    reason: str | None
    message_id: UUID | None
    members_version: int
    created_at: datetime
    fired_at: datetime | None
    type: str | None = None
    content: str | None = None
    metadata: dict[str, Any] | None = None
    reply_to: UUID | None = None
    media_id: str | None = None
    ttl: int | None = None
    ttl_start: str | None = None
    signature: str | None = None

    def summary(self) -> "ScheduledView":
        """The same without what the message says, for pushes and lists of many."""
        return msgspec.structs.replace(self, content=None, metadata=None, signature=None)


class ScheduledList(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A page, the earliest time first; with `next` there is another one, at `?cursor=<next>`."""

    scheduled: list[ScheduledView]
    next: UUID | None = None


class SaveDraft(Request, frozen=True, kw_only=True):
    """`PUT messages/drafts/{conversationId}`, and with `conversationId` `POST messages/drafts`.

    `revision` is the one that the device knows of, 0 for none; without it, whatever is there is replaced.
    """

    content: str
    revision: Seq | None = None


class CreateDraft(SaveDraft, frozen=True, kw_only=True):
    """`POST messages/drafts`."""

    conversation_id: UUID


class DraftView(msgspec.Struct, frozen=True, rename="camel"):
    """A draft: an opaque blob. `revision` grows with each change, also past a deletion."""

    conversation_id: UUID
    content: bytes
    revision: int
    device_id: UUID
    changed_at: datetime


class DraftList(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The drafts of the user, the latest changed first; with `next` there are more, at `?cursor=<next>`."""

    drafts: list[DraftView]
    next: UUID | None = None
