"""An edit and a reaction are signed as the entries they become (docs/protocol.md "The device signature")."""

import base64
from typing import Any
from urllib.parse import quote
from uuid import UUID

from nacl.signing import SigningKey

from messaging.signatures import envelope
from tests.messaging.api.client import RANDOMS, Client


def text(value: bytes) -> str:
    return base64.b64encode(value).decode()


async def signing_device(client: Client) -> SigningKey:
    key = SigningKey.generate()
    body = {"id": client.device, "name": "phone", "publicKey": text(bytes(key.verify_key)), "platform": "android"}
    assert (await client.post("/devices", body)).status in (200, 201)
    return key


def sign(key: SigningKey, client: Client, conversation: str, **fields: Any) -> str:
    values = {"reply_to": None, "target": None, "media_id": None, "ttl": None, "content": b"", "metadata": {}} | fields
    signed = envelope(conversation_id=UUID(conversation), sender_id=client.user, device_id=client.device, **values)
    return text(key.sign(signed).signature)


async def test_edits_and_reactions_are_verified_and_hand_their_signature_on():
    ann, bob = Client(), Client()
    conversation = await ann.group(bob)
    sent = (await bob.send(conversation)).json["messageId"]
    key = await signing_device(ann)
    random = next(RANDOMS)
    signature = sign(key, ann, conversation, client_random=random, type="text", content=b"first")
    mine = (await ann.send(conversation, b"first", clientRandom=random, signature=signature)).json["messageId"]

    random = next(RANDOMS)
    edit = {"content": text(b"second"), "clientRandom": random}
    fields = {"client_random": random, "type": "edit", "target": UUID(mine), "content": b"second"}
    good = sign(key, ann, conversation, **fields)
    wrong = [
        sign(key, ann, conversation, **fields | {"target": UUID(sent)}),
        sign(key, ann, conversation, **fields | {"type": "text"}),
        sign(key, ann, conversation, **fields | {"metadata": {"a": 1}}),
        sign(SigningKey.generate(), ann, conversation, **fields),
    ]
    for bad in ({}, *({"signature": one} for one in wrong)):
        refused = await ann.ask("PUT", f"/messages/{mine}", edit | bad)
        assert (refused.status, refused.code) == (422, "invalid_signature")
    assert (await ann.ask("PUT", f"/messages/{mine}", edit | {"signature": good})).status == 200
    view = (await bob.get(f"/messages/{mine}")).json
    assert (view["signature"], view["edit"]["clientRandom"]) == (good, random)

    random = next(RANDOMS)
    fields = {"client_random": random, "type": "reaction", "target": UUID(sent)}
    good = sign(key, ann, conversation, **fields, metadata={"emoji": "👍", "remove": False})
    bad = sign(key, ann, conversation, **fields, metadata={"emoji": "👍", "remove": True})
    path = f"/messages/{sent}/reactions"
    for refused in (
        await ann.post(path, {"emoji": "👍"}),
        await ann.post(path, {"emoji": "👍", "clientRandom": random, "signature": bad}),
    ):
        assert (refused.status, refused.code) == (422, "invalid_signature")
    assert (await ann.post(path, {"emoji": "👍", "clientRandom": random, "signature": good})).status == 201
    random = next(RANDOMS)
    fields["client_random"] = random
    good = sign(key, ann, conversation, **fields, metadata={"emoji": "👍", "remove": True})
    query = f"emoji={quote('👍')}&clientRandom={random}&signature={quote(good, safe='')}"
    removed = await ann.delete(f"{path}?{query}")
    assert (removed.status, removed.json["status"]) == (200, "sent")
