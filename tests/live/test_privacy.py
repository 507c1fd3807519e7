"""Who learns that one read, on both transports (docs/protocol.md §5 "Who learns that one read")."""

from typing import Any
from uuid import uuid4

import pytest

from tests.live.people import set_settings, settle
from tests.live.server import Scene


@pytest.mark.parametrize("off", ["reader", "sender", "conversation"])
@pytest.mark.parametrize("transport", ["socket", "rest"])
async def test_nobody_learns_of_a_reading_that_is_not_to_be_told(scene: Scene, off: str, transport: str) -> None:
    users = {"sender": uuid4(), "reader": uuid4()}
    conversation_id = await scene.group(*users.values())
    ann, bob = await scene.joined(users["sender"]), await scene.joined(users["reader"], worker=1)
    if off == "conversation":
        change = {"settings": {"readReceipts": False}}
        answer = await scene.rest(ann.user, "PATCH", f"conversations/{conversation_id}", change)
        assert answer.status == 200, answer
    else:
        await set_settings(scene, users[off], readReceipts=False)

    async def read(message: dict[str, Any]) -> None:
        await bob.until_seq(conversation_id, message["seq"])
        if transport == "socket":
            assert (await bob.ack(conversation_id, message["seq"], "message_read")).ok == {}
        else:
            answer = await scene.rest(bob.user, "POST", f"messages/{message['messageId']}/read", device=bob.device)
            assert answer.status == 200, answer

    async def known(message: dict[str, Any]) -> tuple[Any, ...]:
        """What ann knows of bob's reading by every route."""
        delivery = (await scene.rest(ann.user, "GET", f"messages/{message['messageId']}/delivery")).body
        receipts = (await scene.rest(ann.user, "GET", f"conversations/{conversation_id}/receipts")).body["receipts"]
        # A device of hers that was never there is told everything at once.
        sync = (await scene.rest(ann.user, "POST", "sync", {}, device=uuid4())).body["conversations"]
        (synced,) = [one for one in sync if one["id"] == conversation_id]
        (row,) = delivery["recipients"]
        (seq,) = {one["readSeq"] for r in (receipts, synced["receipts"]) for one in r if one["userId"] == str(bob.user)}
        return row["status"], row["readAt"] is not None, delivery["counts"]["read"], seq

    first = (await ann.send(conversation_id)).ok
    await read(first)
    await ann.until(lambda: ann.events("delivery_status_update"))
    await settle(ann)
    assert await known(first) == ("delivered", False, 0, 0)
    assert ann.events("read_status_update") == []
    # Switched on again: what was read before stays untold, what is read from now on is told.
    if off == "conversation":
        undone = {"settings": {"readReceipts": None}}
        assert (await scene.rest(ann.user, "PATCH", f"conversations/{conversation_id}", undone)).status == 200
    else:
        await set_settings(scene, users[off], readReceipts=True)
    second = (await ann.send(conversation_id)).ok
    await read(second)
    await ann.until(lambda: ann.events("read_status_update"))
    await settle(ann)
    (update,) = ann.events("read_status_update")
    assert (update["messageIds"], update["upTo"]) == ([second["messageId"]], second["seq"])
    assert (await known(first))[:3] == ("delivered", False, 0)
    assert await known(second) == ("read", True, 1, second["seq"])


async def test_ones_own_devices_learn_of_settings_and_of_what_was_read(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    phone, laptop, other = await scene.joined(ann), await scene.joined(ann, worker=1), await scene.joined(bob)
    await set_settings(scene, ann, readReceipts=False, shareLastSeen=False)
    for client in (phone, laptop):
        await client.until(lambda client=client: client.events("personal_update"))
        expected = {"kind": "settings", "readReceipts": False, "shareLastSeen": False}
        assert client.events("personal_update", client.inbox) == [expected]
    await set_settings(scene, ann, readReceipts=False)  # no change, no update
    sent = (await other.send(conversation_id)).ok
    await phone.until_seq(conversation_id, sent["seq"])
    assert (await phone.ack(conversation_id, sent["seq"], "message_read")).ok == {}
    await laptop.until(lambda: laptop.events("read_status_update"))
    assert laptop.events("read_status_update")[0]["upTo"] == sent["seq"]
    await settle(phone, laptop, other)
    assert [len(client.events("personal_update")) for client in (phone, laptop, other)] == [1, 1, 0]
    assert other.events("read_status_update") == []
    view = (await scene.rest(ann, "GET", f"conversations/{conversation_id}", device=laptop.device)).body
    assert (view["readSeq"], view["unread"]) == (sent["seq"], 0)


@pytest.mark.parametrize(
    "settings", [{"readReceipts": "no"}, {"readReceipts": 0}, {"sharedHistory": 1}, {"sharedHistory": []}]
)
async def test_settings_that_the_server_acts_on_are_checked(scene: Scene, settings: dict[str, Any]) -> None:
    ann = uuid4()
    conversation_id = await scene.group(ann)
    refused = await scene.rest(ann, "PATCH", f"conversations/{conversation_id}", {"settings": settings})
    assert (refused.status, refused.body["code"]) == (400, "bad_request")
    body = {"type": "group", "members": [str(ann)], "settings": settings}
    assert (await scene.rest(ann, "POST", "conversations", body)).status == 400
