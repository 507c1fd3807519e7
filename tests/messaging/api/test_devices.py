"""Devices, settings, tickets and the development sign-in over REST."""

import base64
from uuid import UUID, uuid4

from nacl.signing import SigningKey

from messaging.services.tickets import ticket_redeem
from tests.messaging.api.client import Client
from whispr.kernel.ids import user_id_of


def key() -> str:
    return base64.b64encode(bytes(SigningKey.generate().verify_key)).decode()


async def test_devices_are_registered_changed_and_revoked():
    ann, public_key, second = Client(), key(), str(uuid4())
    first = await ann.post("/devices", {"id": ann.device, "name": "phone", "publicKey": public_key, "platform": "ios"})
    assert (first.status, first.json["publicKey"], first.json["hasPushToken"]) == (200, public_key, False)
    other = await ann.post("/devices", {"id": second, "name": "desk", "publicKey": key(), "platform": "web"})
    assert other.status == 201
    listed = (await ann.get("/devices")).json["devices"]
    assert {device["id"]: device["name"] for device in listed} == {str(ann.device): "phone", second: "desk"}
    changed = await ann.patch(f"/devices/{second}", {"name": "office", "pushToken": "secret"})
    assert (changed.status, changed.json["name"], changed.json["hasPushToken"]) == (200, "office", True)
    assert b"secret" not in changed.body
    for stranger in (Client(),):
        assert (await stranger.patch(f"/devices/{second}", {"name": "x"})).code == "not_found"
        assert (await stranger.delete(f"/devices/{second}")).code == "not_found"
    assert (await ann.delete(f"/devices/{second}")).status == 204
    assert (await Client(ann.user, ann.device).get("/settings")).status == 200
    revoked = await Client(ann.user, UUID(second)).get("/settings")
    assert (revoked.status, revoked.code) == (401, "unauthenticated")


async def test_settings_are_the_users_on_all_devices():
    ann = Client()
    assert (await ann.get("/settings")).json == {"readReceipts": True, "shareLastSeen": True}
    changed = {"readReceipts": False, "shareLastSeen": True}
    assert (await ann.patch("/settings", {"readReceipts": False})).json == changed
    assert (await Client(ann.user).get("/settings")).json == changed
    assert (await ann.patch("/settings", {})).json == changed
    changed["shareLastSeen"] = False
    assert (await ann.patch("/settings", {"shareLastSeen": False})).json == changed
    assert (await ann.patch("/settings", {"shareLastSeen": "no"})).code == "bad_request"
    assert (await Client(ann.user).get("/settings")).json == changed


async def test_a_ticket_stands_for_the_device():
    ann = Client()
    answer = await ann.post("/socket-tickets")
    assert (answer.status, answer.json["expiresIn"]) == (201, 30)
    claims = await ticket_redeem(answer.json["ticket"], "127.0.0.1")
    assert (claims.user_id, claims.device_id) == (ann.user, ann.device)


async def test_the_development_sign_in():
    nobody = Client(token=None)
    answer = await nobody.post("/dev/tokens", {"name": "Ann"})
    assert (answer.status, answer.json["userId"]) == (201, str(user_id_of("Ann")))
    assert (await Client(token=answer.json["token"]).get("/settings")).status == 200
    assert (await nobody.get("/dev/people")).json == {"people": [{"userId": str(user_id_of("Ann")), "name": "Ann"}]}


async def test_without_the_setting_there_is_no_development_sign_in(settings):
    settings.WHISPR_DEV_LOGIN = False
    nobody = Client(token=None)
    absent = await nobody.get("/nothing")
    for answer in (await nobody.post("/dev/tokens", {"name": "Ann"}), await nobody.get("/dev/people")):
        assert answer.code == "not_found"
        assert answer.body == absent.body
