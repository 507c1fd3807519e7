"""The routes of the API's first version that conversations and devices answer (docs/protocol.md §7)."""

from django.urls import path, register_converter

from messaging.api import (
    blocks,
    conversations,
    development,
    devices,
    drafts,
    media,
    messages,
    reactions,
    scheduled,
    sync,
)
from messaging.api.base import IdConverter

register_converter(IdConverter, "id")

_CONVERSATION = "conversations/<id:conversation_id>"
urlpatterns = [
    path("messages", messages.Messages.as_view()),
    path("messages/scheduled", scheduled.ScheduledMessages.as_view()),
    path("messages/scheduled/<id:scheduled_id>", scheduled.ScheduledMessage.as_view()),
    path("messages/drafts", drafts.Drafts.as_view()),
    path("messages/drafts/<id:conversation_id>", drafts.Draft.as_view()),
    path("messages/<id:message_id>", messages.Message.as_view()),
    path("messages/<id:message_id>/reactions", reactions.Reactions.as_view()),
    path("conversations", conversations.Conversations.as_view()),
    path(_CONVERSATION, conversations.Conversation.as_view()),
    path(f"{_CONVERSATION}/messages", conversations.ConversationMessages.as_view()),
    path(f"{_CONVERSATION}/members", conversations.Members.as_view()),
    path(f"{_CONVERSATION}/members/<id:user_id>", conversations.Member.as_view()),
    path(f"{_CONVERSATION}/receipts", conversations.Receipts.as_view()),
    path(f"{_CONVERSATION}/devices", conversations.ConversationDeviceList.as_view()),
    path("sync", sync.SyncView.as_view()),
    path("devices", devices.Devices.as_view()),
    path("devices/<id:device_id>", devices.Device.as_view()),
    path("media", media.MediaList.as_view()),
    path("media/<id:media_id>", media.Medium.as_view()),
    path("blocks", blocks.Blocks.as_view()),
    path("blocks/<id:user_id>", blocks.Block.as_view()),
    path("settings", devices.Settings.as_view()),
    path("socket-tickets", devices.SocketTickets.as_view()),
    path("dev/tokens", development.DevTokens.as_view()),
    path("dev/people", development.DevPeople.as_view()),
]
