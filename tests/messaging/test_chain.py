"""The hash chain: the vectors that TypeScript passes too, and what a reader of a real log can prove."""

import base64
import hashlib
import struct
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import rfc8785

from messaging.chain import GENESIS, ChainBroken, chain_verify, entry_link, is_whole
from messaging.events import Entry
from messaging.models import Conversation, Message
from messaging.store.deletions import message_delete
from tests.messaging.api.client import Client
from tests.messaging.store.test_log import append, entry_of, group_of

VECTORS = msgspec.json.decode((Path(__file__).parent.parent / "vectors" / "hash_chain.json").read_bytes())["cases"]


def entry_from(shown: dict[str, Any]) -> Entry:
    """An entry of its JSON, as `new_message`, history and sync carry it."""
    absent = dict.fromkeys(("senderDeviceId", "mediaId", "clientRandom", "editedAt", "expiresAt", "signature"))
    return msgspec.json.decode(msgspec.json.encode(absent | shown), type=Entry)


@pytest.mark.parametrize("case", VECTORS, ids=[case["entry"]["type"] + str(case["entry"]["seq"]) for case in VECTORS])
def test_vectors(case):
    entry = entry_from(case["entry"])
    link = base64.b64decode(case["link"])
    assert entry_link(base64.b64decode(case["previous"]), entry) == link
    assert by_hand(base64.b64decode(case["previous"]), case["entry"]) == link


def by_hand(previous: bytes, shown: dict[str, Any]) -> bytes:
    """The same by what the protocol's page says, written a second time."""
    moment = datetime.fromisoformat(shown["sentAt"])
    micros = int(moment.timestamp()) * 1_000_000 + moment.microsecond
    packed = previous + b"whispr/log/v1"
    for field in (
        UUID(shown["conversationId"]).bytes,
        struct.pack(">Q", shown["seq"]),
        UUID(shown["messageId"]).bytes,
        UUID(shown["senderId"]).bytes,
        shown["type"].encode(),
        hashlib.sha256(base64.b64decode(shown["content"])).digest(),
        hashlib.sha256(rfc8785.dumps(shown["metadata"])).digest(),
        UUID(shown["target"]).bytes if shown["target"] else b"",
        UUID(shown["replyTo"]).bytes if shown["replyTo"] else b"",
        struct.pack(">Q", micros),
    ):
        packed += struct.pack(">I", len(field)) + field
    return hashlib.sha256(packed).digest()


def vector_log() -> tuple[list[Entry], list[bytes]]:
    return [entry_from(case["entry"]) for case in VECTORS], [base64.b64decode(case["link"]) for case in VECTORS]


def test_any_change_breaks_it():
    entries, links = vector_log()
    assert chain_verify(GENESIS, entries, links) == len(entries)
    changed = {
        "message_id": uuid4(),
        "conversation_id": uuid4(),
        "sender_id": uuid4(),
        "type": "ephemeral",
        "content": b"forged",
        "metadata": msgspec.Raw(b'{"forged":1}'),
        "target": uuid4(),
        "reply_to": uuid4(),
        "sent_at": entries[0].sent_at,
    }
    for name, value in changed.items():
        forged = list(entries)
        forged[1] = msgspec.structs.replace(entries[1], **{name: value})
        with pytest.raises(ChainBroken) as broken:
            chain_verify(GENESIS, forged, links)
        assert broken.value.seq == 2, name
    with pytest.raises(ChainBroken):
        chain_verify(GENESIS, entries[:2] + entries[3:], links[:2] + links[3:])
    with pytest.raises(ChainBroken):
        chain_verify(bytes([1] * 32), entries, links)
    with pytest.raises(ValueError):
        chain_verify(GENESIS, entries, links[:-1])


def test_what_is_erased_is_taken_as_given_and_the_rest_is_proven():
    entries, links = vector_log()
    erased = list(entries)
    erased[1] = msgspec.structs.replace(entries[1], content=b"", metadata=msgspec.Raw(b"{}"))
    assert not is_whole(erased[1])
    assert chain_verify(GENESIS, erased, links) == len(entries) - 1
    assert chain_verify(None, entries[3:], links[3:]) == len(entries) - 4
    assert entry_link(links[0], entries[1]) == links[1]  # who saw the original proves it still


@pytest.mark.django_db
def test_the_log_keeps_it(settings):
    settings.WHISPR_HASH_CHAIN = True
    ann, bob = uuid4(), uuid4()
    conversation = group_of(ann, bob)
    one, two = append(entry_of(conversation, ann, metadata=b'{"b":1.0,"a":"\xc3\xa9"}'), entry_of(conversation, bob))
    append(entry_of(conversation, ann, reply_to=one.outcome.message_id))
    assert one.entry is not None
    message_delete(ann, one.outcome.message_id)
    rows = list(Message.objects.filter(conversation=conversation).order_by("seq"))
    links = [bytes(row.chain_hash or b"") for row in rows]
    assert bytes(Conversation.objects.get(id=conversation).head_hash or b"") == links[-1]
    assert entry_link(links[0], one.entry) == links[1]
    assert two.entry is not None
    assert entry_link(links[1], two.entry) == links[2]


@pytest.mark.django_db
def test_off_it_costs_no_bytes_and_on_again_it_begins_anew(settings):
    ann = uuid4()
    settings.WHISPR_HASH_CHAIN = True
    conversation = group_of(ann)
    settings.WHISPR_HASH_CHAIN = False
    append(entry_of(conversation, ann))
    assert Conversation.objects.get(id=conversation).head_hash is None
    settings.WHISPR_HASH_CHAIN = True
    (last,) = append(entry_of(conversation, ann))
    hashes = [row.chain_hash for row in Message.objects.filter(conversation=conversation).order_by("seq")]
    assert [one is None for one in hashes] == [False, True, False]
    assert last.entry is not None
    assert bytes(hashes[2] or b"") == entry_link(GENESIS, last.entry)


@pytest.mark.django_db(transaction=True)
async def test_a_reader_proves_what_sync_gives(settings):
    settings.WHISPR_HASH_CHAIN = True
    settings.WHISPR_JWT_SECRET = "a secret for tests, of more than 32 bytes"
    settings.WHISPR_SIGNATURES = "optional"
    ann, bob, late = Client(), Client(), Client()
    conversation = await ann.group(bob)
    sent = [(await ann.send(conversation, b"%d" % n, metadata={"n": n, "f": 0.5})).json for n in range(4)]
    await bob.send(conversation, replyTo=sent[1]["messageId"])

    async def check(client: Client, previous: bytes | None, limit: int, cursor: int = 0) -> tuple[int, int, bytes]:
        answer = (await client.post("/sync", {"cursors": {conversation: cursor}, "limit": limit})).json
        (page,) = answer["conversations"]
        entries = [entry_from(one) for one in page["messages"]]
        links = [base64.b64decode(link) for link in page["chain"]["links"]]
        head = base64.b64decode(page["chain"]["head"])
        assert (page["chain"]["seq"], head) == (entries[-1].seq, links[-1])
        return len(entries), chain_verify(previous, entries, links), head

    total, proven, head = await check(bob, GENESIS, 3)
    assert (total, proven) == (3, 3)
    assert (await check(bob, head, 200, cursor=3))[:2] == (3, 3)
    await ann.delete(f"/messages/{sent[0]['messageId']}?for_everyone=true")
    total, proven, _ = await check(bob, GENESIS, 200)
    assert proven == total - 1
    await ann.post(f"/conversations/{conversation}/members", {"userIds": [late.user]})
    await ann.send(conversation)
    assert (await check(late, None, 200))[:2] == (2, 1)


async def test_without_it_sync_says_nothing_of_it(settings, transactional_db):
    settings.WHISPR_HASH_CHAIN = False
    settings.WHISPR_JWT_SECRET = "a secret for tests, of more than 32 bytes"
    settings.WHISPR_SIGNATURES = "optional"
    ann = Client()
    await ann.group()
    (page,) = (await ann.post("/sync")).json["conversations"]
    assert "chain" not in page
