"""Columns that several of the pages have."""

from messaging.models import Conversation, Member, Message
from whispr.record_admin import column, record_link, search_link, visible

conversation_of = column("conversation", lambda record: record_link(Conversation, record.conversation_id))
message_of = column("message", lambda record: record_link(Message, record.message_id))
user_of = column("user", lambda record: search_link(Member, record.user_id))
name_of = column("name", lambda record: visible(record.name) or "–")
