"""Phoenix v2 frames as a client writes and reads them, with only the fields that a load generator looks at."""

from datetime import datetime
from uuid import UUID

import msgspec

# [join_ref, ref, topic, event, payload]
frame_decoder: msgspec.json.Decoder[tuple[str | None, str | None, str, str, msgspec.Raw]] = msgspec.json.Decoder(
    tuple[str | None, str | None, str, str, msgspec.Raw]
)


class Reply(msgspec.Struct, gc=False):
    """`phx_reply`."""

    status: str
    response: msgspec.Raw


class Sent(msgspec.Struct, rename="camel", gc=False):
    """The ok response of `send_message`."""

    status: str
    message_id: UUID
    conversation_id: UUID
    seq: int
    sent_at: datetime


class NewMessage(msgspec.Struct, rename="camel", gc=False):
    """`new_message`."""

    conversation_id: str
    seq: int
    type: str
    content: str
    client_random: int | None
    message_id: str = ""
    sender_id: str = ""


class StatusUpdate(msgspec.Struct, rename="camel", gc=False):
    """`delivery_status_update`."""

    conversation_id: str
    recipient_id: str
    up_to: int


class SyncComplete(msgspec.Struct, gc=False):
    """`sync_complete`."""

    conversations: int
    messages: int


reply_decoder = msgspec.json.Decoder(Reply)
sent_decoder = msgspec.json.Decoder(Sent)
message_decoder = msgspec.json.Decoder(NewMessage)
status_decoder = msgspec.json.Decoder(StatusUpdate)
sync_decoder = msgspec.json.Decoder(SyncComplete)
