"""After the commit: what happened goes to this process's sockets at once, and to the other processes by the bus.

The bus is only the doorbell (at most once): a socket that missed something finds out by seq, or by the head check, and
reads the log. Nothing here can fail a send that is committed.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from messaging.events import Entry
from messaging.fanout.bus import buses
from messaging.fanout.hub import hub
from messaging.fanout.news import ConversationPush, EncodedEntry, News, PresenceChange, UserChange, UserPush

__all__ = [
    "on_published",
    "publish_conversation_push",
    "publish_entries",
    "publish_presence_change",
    "publish_user_event",
    "publish_user_push",
]


# Who else hears of the entries that this process committed, with their encoded forms.
on_published: list[Callable[[Sequence[Entry], Sequence[EncodedEntry]], None]] = []


def publish_entries(entries: Sequence[Entry]) -> None:
    """Pass committed entries on, encoded once: to the subscribed sockets here, and in one message to the other
    processes."""
    encoded = [EncodedEntry.of(entry) for entry in entries]
    _publish(encoded)
    for listener in on_published:
        listener(entries, encoded)


def publish_user_push(
    user_id: UUID, event: str, payload: bytes, *, conversation_id: UUID | None = None, origin: object | None = None
) -> None:
    """Push `event` to the devices of a user: on the inbox topic, and on `conversation_id`'s topic where it is joined.

    `payload` is a JSON object. The socket `origin` is left out.
    """
    _publish([UserPush(user_id, event, payload, conversation_id, origin)])


def publish_conversation_push(conversation_id: UUID, event: str, payload: bytes, *, by: UUID) -> None:
    """Push a passing event (typing) to the live subscribers of a conversation, but not to the user `by`."""
    _publish([ConversationPush(conversation_id, event, payload, by)])


UserEvent = Literal["revoked", "settings", "device_key", "opened", "blocks", "permissions", "service"]


def publish_user_event(user_id: UUID, kind: UserEvent, payload: dict[str, Any]) -> None:
    """Tell every process that something of a user changed: a device was revoked, settings or a device's key changed."""
    _publish([UserChange(user_id, kind, msgspec.json.encode(payload))])


def publish_presence_change(conversation_id: UUID, *, joined: bool, payload: bytes) -> None:
    """Tell every process that sockets came to a conversation or left it."""
    _publish([PresenceChange(conversation_id, joined, payload)])


def _publish(news: Sequence[News]) -> None:
    if not news:
        return
    hub.take(news)
    buses.get().send(news)
