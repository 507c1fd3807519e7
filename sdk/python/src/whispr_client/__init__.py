"""An asyncio client of Whispr: guaranteed sending, every message once and in order.

    async with Client("http://127.0.0.1:8000", token) as client:
        sent = await client.send(conversation_id, ciphertext)
        async for message in client.messages():
            ...

The client carries ciphertexts: what is in them is the application's.
"""

from whispr_client.client import Client
from whispr_client.errors import Closed, Refused, SignedOut, Unanswered, WhisprClientError
from whispr_client.messages import Event, Message, Receipt, Sent
from whispr_client.outbox import Outbox, Sending
from whispr_client.rest import Rest, dev_sign_in
from whispr_client.store import MemoryStore, OutboxItem, SqliteStore, Store

__all__ = [
    "Client",
    "Closed",
    "Event",
    "MemoryStore",
    "Message",
    "Outbox",
    "OutboxItem",
    "Receipt",
    "Refused",
    "Rest",
    "Sending",
    "Sent",
    "SignedOut",
    "SqliteStore",
    "Store",
    "Unanswered",
    "WhisprClientError",
    "dev_sign_in",
]
