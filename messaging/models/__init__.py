"""Conversations, their members and their log (specification §10.1, docs/architecture.md "Tables").

Rows here are written by `messaging/store/` only; Django's models carry the schema, the admin and the tests.
"""

from messaging.models.conversations import Conversation, LogEpoch, Member, MemberSpan
from messaging.models.log import CLIENT_RANDOM_MAX, HiddenMessage, Message, Reaction, SendKey
from messaging.models.media import Media, MediaLink
from messaging.models.people import Block, Device, DevPerson, UserSettings
from messaging.models.personal import Draft, ScheduledMessage

__all__ = [
    "CLIENT_RANDOM_MAX",
    "Block",
    "Conversation",
    "DevPerson",
    "Device",
    "Draft",
    "HiddenMessage",
    "LogEpoch",
    "Media",
    "MediaLink",
    "Member",
    "MemberSpan",
    "Message",
    "Reaction",
    "ScheduledMessage",
    "SendKey",
    "UserSettings",
]
