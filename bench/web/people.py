"""Who is in a measurement: the reader in the browser, and those who wrote to it while it was away."""

import asyncio
import base64
import uuid
from uuid import UUID

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.log import append
from bench.target import Identity, Target
from bench.web.envelope import Writer

# Of the lengths that people write: one line, two or three lines.
WORDS = (
    "Yes, that is fine with me.",
    "I looked at it again this morning, and I think that we should go on as we said. Tell me if you see it otherwise.",
    "On my way!",
    "The train is late, so begin without me. I have the keys, and the others know where the room is; wait there.",
)
TOKENS = "dev/tokens"


async def sign_in(target: Target, name: str, device_id: UUID | None = None) -> Identity:
    """A device of the person of this name: a new one, or that one. The server must have WHISPR_DEV_LOGIN."""
    body = {"name": name} if device_id is None else {"name": name, "deviceId": str(device_id)}
    made = await target.request("POST", TOKENS, body)
    return Identity(name, UUID(made["userId"]), UUID(made["deviceId"]), made["token"])


async def key_of(target: Target, reader: Identity) -> bytes:
    """The encryption key that the browser registered for its device. Raises LookupError where there is none."""
    listed = await target.request("GET", "devices", token=reader.token)
    for device in listed["devices"]:
        if device["id"] == str(reader.device_id) and device["encryptionKey"]:
            return base64.b64decode(device["encryptionKey"])
    raise LookupError("The browser's device has no key.")


async def write_to(target: Target, reader: Identity, conversations: int, each: int) -> list[UUID]:
    """So many people, each with a direct conversation and messages in it that this device of the reader can read."""
    reader_key = await key_of(target, reader)
    made = []
    for number in range(1, conversations + 1):
        signing = Ed25519PrivateKey.generate()
        sender = await sign_in(target, f"Writer {number:02} {uuid.uuid4().hex[:6]}")
        public = base64.b64encode(signing.public_key().public_bytes_raw()).decode()
        await target.request("POST", "devices", {"publicKey": public}, sender.token)
        conversation_id = await target.conversation(sender, [reader])
        writer = Writer(sender, signing, conversation_id, reader.device_id, reader_key)
        await asyncio.to_thread(_append, target.database_url, writer, reader.user_id, each)
        made.append(conversation_id)
    with psycopg.connect(target.database_url, autocommit=True) as connection:
        connection.execute("ANALYZE messages, delivery_statuses, send_keys, conversations, members")
    return made


def _append(database_url: str, writer: Writer, recipient: UUID, count: int) -> None:
    messages = [writer.write(f"{number}. {WORDS[number % len(WORDS)]}") for number in range(1, count + 1)]
    with psycopg.connect(database_url) as connection:
        append(connection, writer.conversation_id, writer.sender, recipient, messages)


def unacknowledged(database_url: str, device: Identity) -> int:
    """How many entries of its conversations the device has not acknowledged."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT coalesce(sum(c.last_seq - coalesce(d.acked_seq, 0)), 0)::bigint FROM members m"
            " JOIN conversations c ON c.id = m.conversation_id"
            " LEFT JOIN device_cursors d ON d.conversation_id = c.id AND d.device_id = %s WHERE m.user_id = %s",
            [device.device_id, device.user_id],
        ).fetchone()
    assert row is not None
    return int(str(row[0]))
