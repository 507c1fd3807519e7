"""The comparison: what each device holds, and what the server answers each user by every route, against the model."""

import asyncio
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any
from uuid import UUID

import rfc8785

from tests.model.devices import Device, assert_free
from tests.model.items import MESSAGES, Item
from tests.model.world import AUDITOR, NIL, World

SAMPLE = 2  # messages that are asked for one by one, of each end of the log
PAGE = 25


def logged(world: World, user: int, item: Item) -> dict[str, Any]:
    """An entry as the log reads for a user now: an empty place where it is gone, hidden or withheld."""
    if world.model.shut(user, item):
        return withheld(world.entry_of(item))
    return blanked(world.entry_of(item)) if world.model.blank(user, item) else world.entry_of(item)


def withheld(entry: dict[str, Any]) -> dict[str, Any]:
    """What stands in the place of an entry that a block keeps from its reader."""
    kept = {name: entry[name] for name in ("messageId", "conversationId", "seq", "sentAt")}
    empty = {"senderId": str(NIL), "type": "system", "content": "", "metadata": {"event": "withheld"}}
    return dict.fromkeys(entry.keys() - {"ttlAfterRead"}) | kept | empty


def blanked(entry: dict[str, Any]) -> dict[str, Any]:
    if entry["type"] == "system":
        return entry
    empty = {"content": "", "metadata": {}, "mediaId": None, "signature": None}
    return {name: value for name, value in entry.items() if name != "ttlAfterRead"} | empty


def shown(world: World, user: int, item: Item) -> dict[str, Any]:
    """An entry as it is now, as history has it."""
    entry = logged(world, user, item)
    if item.type not in MESSAGES or world.model.shut(user, item):
        return entry
    edit = world.model.last_edit(user, item)
    if edit is not None:
        of_edit = world.entry_of(edit)
        entry |= {"content": of_edit["content"], "metadata": of_edit["metadata"], "editedAt": of_edit["sentAt"]}
        entry["edit"] = {name: of_edit[name] for name in ("messageId", "seq", "senderDeviceId", "clientRandom")}
    reactions = world.model.reacted(user, item)
    if reactions:
        entry["reactions"] = [
            {
                "emoji": emoji,
                "count": len(users),
                "userIds": [str(world.people[one]) for one in users],
                "mine": user in users,
            }
            for emoji, users in reactions.items()
        ]
    return entry


def learn(world: World, entry: dict[str, Any]) -> None:
    """What only the server knew: the times of its own entries, and when a ttl that began with a reading ends."""
    item = world.model.items[entry["seq"] - 1]
    if item.sent_at is None:
        item.sent_at = entry["sentAt"]
    root = item.root
    if root.expiry_moved and root.expires_at is None:
        root.expires_at = entry["expiresAt"]
        assert root.expires_at is not None


async def compare(world: World) -> None:
    """Everything, now."""
    _compare_places(world)
    head = await _synced(world, 0)  # user 0 sees everything: what the server alone knew is learnt there
    times = [datetime.fromisoformat(entry["sentAt"]) for entry in head]
    assert all(before < after for before, after in pairwise(times)), times
    await asyncio.gather(*(_compare_user(world, user) for user in range(len(world.people))))
    for device in world.devices.values():
        if device.online:
            await world.caught_up(device)
    for device in world.devices.values():
        await _compare_device(world, device)


def _compare_places(world: World) -> None:
    """seq 1 … N without a hole, each with one id, which is the one that was answered."""
    sql = "SELECT seq, id::text FROM messages WHERE conversation_id = %s ORDER BY seq"
    rows = world.database.execute(sql, [world.conversation]).fetchall()
    assert [row[0] for row in rows] == list(range(1, world.model.head + 1))
    for item, (_, message_id) in zip(world.model.items, rows, strict=True):
        item.message_id = item.message_id or message_id
        assert item.message_id == message_id
    assert len({item.message_id for item in world.model.items}) == len(rows)


async def _synced(world: World, user: int) -> list[dict[str, Any]]:
    """The whole log as a device that has nothing synchronises it, equal to the model's."""
    entries: list[dict[str, Any]] = []
    links: list[tuple[int, str]] = []
    forbidden, complete = world.forbidden(user), False
    while not complete:
        body = {"cursors": {world.conversation: entries[-1]["seq"] if entries else 0}, "limit": PAGE}
        page = world.ok(await world.rest(user, AUDITOR, "POST", "sync", body))
        assert_free(page, forbidden)
        for one in page["conversations"]:
            entries += one["messages"]
            links += zip((entry["seq"] for entry in one["messages"]), one["chain"]["links"], strict=True)
            assert (one["chain"]["seq"], one["chain"]["head"]) == links[-1]
        complete = page["complete"]
    for entry in entries:
        learn(world, entry)
    check_links(world, links)
    expected = [logged(world, user, item) for item in world.model.visible(user)]
    for found, wanted in zip(entries, expected, strict=False):
        assert found == wanted, (user, found, wanted)
    assert len(entries) == len(expected), (user, len(entries), len(expected))
    member = world.model.users[user]
    hidden = {item.message_id for item in world.model.items if item.seq in member.hidden}
    assert set(page["personal"]["hidden"]) == hidden
    return entries


def check_links(world: World, links: list[tuple[int, str]]) -> None:
    """The hash chain: each link is that of the entry as it was appended, and the same for every reader."""
    before: tuple[int, str] | None = None
    for seq, link in links:
        assert world.links.setdefault(seq, link) == link, seq
        if seq == 1 or (before is not None and before[0] == seq - 1):
            made = link_of(bytes(32) if before is None else b64decode(before[1]), world.appended(seq))
            assert made == b64decode(link), (seq, world.appended(seq))
        before = seq, link


def link_of(before: bytes, entry: dict[str, Any]) -> bytes:
    """docs/protocol.md "The hash chain", in words of its own."""
    moment = datetime.fromisoformat(entry["sentAt"]) - datetime(1970, 1, 1, tzinfo=UTC)
    fields = (
        UUID(entry["conversationId"]).bytes,
        entry["seq"].to_bytes(8, "big"),
        UUID(entry["messageId"]).bytes,
        UUID(entry["senderId"]).bytes,
        entry["type"].encode(),
        sha256(b64decode(entry["content"])).digest(),
        sha256(rfc8785.dumps(entry["metadata"])).digest(),
        b"" if entry["target"] is None else UUID(entry["target"]).bytes,
        b"" if entry["replyTo"] is None else UUID(entry["replyTo"]).bytes,
        (moment // timedelta(microseconds=1)).to_bytes(8, "big"),
    )
    body = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return sha256(before + b"whispr/log/v1" + body).digest()


async def _history(world: World, user: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    forbidden, more = world.forbidden(user), True
    while more:
        before = f"&before={found[0]['seq']}" if found else ""
        path = f"conversations/{world.conversation}/messages?limit={PAGE}{before}"
        page = world.ok(await world.rest(user, AUDITOR, "GET", path))
        assert_free(page, forbidden)
        found[:0] = page["messages"]
        more = page["hasMore"]
    return found


async def _compare_user(world: World, user: int) -> None:
    """Each route by which a user reads."""
    member, model = world.model.users[user], world.model
    path = f"conversations/{world.conversation}"
    if not member.spans:
        for route in (path, f"{path}/messages", f"{path}/receipts", f"{path}/members"):
            assert await world.rest(user, AUDITOR, "GET", route) == ("error", "not_found"), route
        return
    if user != 0:
        await _synced(world, user)
    state = [shown(world, user, item) for item in model.visible(user) if not model.hides(user, item)]
    assert await _history(world, user) == state
    device = world.devices[(user, 0)]
    if device.online and len(state) <= 200:
        forbidden = world.forbidden(user)
        ask = {"conversationId": world.conversation, "limit": 200}
        reply = (await device.client.ask(device.client.inbox, "history", ask)).ok
        assert_free(reply, forbidden)
        assert reply == {"messages": state, "hasMore": False}
    views = {view["seq"]: view for view in state}
    for item in [*model.messages[:SAMPLE], *model.messages[-SAMPLE:]]:
        outcome = await world.rest(user, AUDITOR, "GET", f"messages/{item.message_id}")
        view = views.get(item.seq)
        assert outcome == (("error", "not_found") if view is None else ("ok", view))
    if not member.is_member:
        for route in (path, f"{path}/receipts", f"{path}/members", f"{path}/devices"):
            assert await world.rest(user, AUDITOR, "GET", route) == ("error", "not_found"), route
        return
    about = world.ok(await world.rest(user, AUDITOR, "GET", path))
    expected = {
        "lastSeq": model.head,
        "unread": model.unread(user),
        "membersVersion": model.version,
        "memberCount": len(model.members),
        "joinedSeq": member.spans[-1][0],
        "leftSeq": None,
        "deliveredSeq": member.delivered,
        "readSeq": member.read,
        "role": member.role,
        "settings": model.settings_of(user),
    }
    assert {name: about[name] for name in expected} == expected
    await _compare_receipts(world, user)


async def _compare_receipts(world: World, user: int) -> None:
    model = world.model
    answer = world.ok(await world.rest(user, AUDITOR, "GET", f"conversations/{world.conversation}/receipts"))
    found = {one["userId"]: (one["deliveredSeq"], one["readSeq"]) for one in answer["receipts"]}
    assert found == {
        str(world.people[one]): (
            model.delivered_shown(user, one),
            model.users[one].read if one == user else model.users[one].public if model.tells(user) else 0,
        )
        for one in model.members
    }
    own = [item for item in model.messages if item.sender == user]
    for item in {item.seq: item for item in [*own[:SAMPLE], *own[-SAMPLE:]]}.values():
        answer = world.ok(await world.rest(user, AUDITOR, "GET", f"messages/{item.message_id}/delivery"))
        statuses = {one["userId"]: one["status"] for one in answer["recipients"]}
        for one, _ in item.perhaps:
            if statuses.get(str(world.people[one])) == "expired":  # the deletion came first
                item.delivered_to.discard(one)
        assert statuses == {str(world.people[one]): model.status(item, one) for one in item.recipients}, item
        for one in answer["recipients"]:
            assert (one["deliveredAt"] is not None) == (one["status"] in ("delivered", "read"))
            assert one["readAt"] is None or one["deliveredAt"] <= one["readAt"]
        if item.gone:
            assert tuple(answer["erasure"].values()) in model.erasures(item), (answer, item)
        else:
            assert "erasure" not in answer


async def _compare_device(world: World, device: Device) -> None:
    """What a device holds; an online one everything, and each socket once, in order, only what it may have."""
    model, user = world.model, device.user
    visible = {item.seq: item for item in model.visible(user)}
    if device.online:
        hidden = {item.message_id for item in model.items if item.seq in model.users[user].hidden}
        await device.client.until(lambda: device.absorbed().hidden >= hidden)
        await device.client.heartbeat()
        device.absorb()
        assert device.hidden == hidden
        assert device.log.keys() == visible.keys(), (user, device.number)
    assert device.log.keys() <= visible.keys(), (user, device.number)
    for seq, entry in device.log.items():
        assert applied(world, device, visible[seq], entry) == logged(world, user, visible[seq])
    never = {secret for secret in world.forbidden(user) if secret in _contents(world, user)}
    for connection in device.connections:
        client = connection.client
        seqs = client.seqs(world.conversation)
        # In order and once; whoever is added to what is shared gets it from where they stand, which may be before.
        again = sum(later <= earlier for earlier, later in pairwise(seqs))
        assert again <= len(model.users[user].shared), (user, device.number, seqs)
        assert not connection.own & set(seqs), (connection.own, seqs)
        assert client.entries.keys() <= {world.conversation}
        forbidden = connection.forbidden - _shared(world, user) | never
        assert_free([push.payload for push in client.pushes if push.event != "phx_reply"], forbidden)
        _compare_pushed_receipts(world, device, connection.client)


def _contents(world: World, user: int) -> set[str]:
    """The contents of entries that the user never could see."""
    model = world.model
    items = [item for item in model.items if not model.users[user].sees(item.seq) or model.shut(user, item)]
    return {world.entry_of(item)["content"] for item in items} | {str(item.metadata.get("k")) for item in items}


def _shared(world: World, user: int) -> set[str]:
    """The contents of what was before the user came, and is shared with them since."""
    spans = world.model.users[user].shared
    items = [item for item in world.model.items if any(first <= item.seq <= last for first, last in spans)]
    return {world.entry_of(item)["content"] for item in items} | {str(item.metadata.get("k")) for item in items}


def applied(world: World, device: Device, item: Item, entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as a client holds it that applied what it was told of since: deletions, expiries, its own hiding."""
    if world.model.shut(device.user, item):
        return entry
    if world.model.blank(device.user, item):
        entry = blanked(entry)
    if item.root.expiry_moved:
        entry = {name: value for name, value in entry.items() if name != "ttlAfterRead"}
        entry["expiresAt"] = item.root.expires_at
    return entry


def _compare_pushed_receipts(world: World, device: Device, client: Any) -> None:
    """Receipts never go back, and tell nothing that their reader may not know."""
    last: dict[tuple[str, str], int] = {}
    for push in client.pushes:
        if push.event not in ("delivery_status_update", "read_status_update"):
            continue
        receipt = push.payload
        assert receipt["conversationId"] == world.conversation
        key = (receipt["recipientId"], receipt["status"])
        assert receipt["upTo"] >= last.get(key, 0), (last, receipt)
        last[key] = receipt["upTo"]
        who = [str(one) for one in world.people].index(receipt["recipientId"])
        known = world.told.get((device.user, who), (0, 0))
        assert receipt["upTo"] <= known[receipt["status"] == "read"], (device.user, who, receipt, known)
