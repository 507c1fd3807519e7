"""Conversations and members over REST, from the gate to PostgreSQL."""

from uuid import UUID, uuid4

from tests.messaging.api.client import Client


async def test_create_group_direct_and_again():
    ann, bob = Client(), Client()
    chosen = str(uuid4())
    body = {"type": "group", "members": [bob.user, bob.user], "id": chosen, "settings": {"a": [1]}}
    first, again = await ann.post("/conversations", body), await ann.post("/conversations", body)
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert first.json | {"createdAt": "", "lastSentAt": ""} == {
        "id": chosen,
        "type": "group",
        "lastSeq": 1,
        "lastSentAt": "",
        "unread": 0,
        "membersVersion": 1,
        "memberCount": 2,
        "role": "owner",
        "joinedSeq": 1,
        "leftSeq": None,
        "deliveredSeq": 0,
        "readSeq": 0,
        "settings": {"a": [1]},
        "createdAt": "",
        "createdBy": str(ann.user),
        "peerId": None,
    }
    direct = await ann.post("/conversations", {"type": "direct", "members": [bob.user]})
    same = await bob.post("/conversations", {"type": "direct", "members": [ann.user, bob.user]})
    assert (direct.status, same.status) == (201, 200)
    assert direct.json["id"] == same.json["id"]
    assert (direct.json["peerId"], same.json["peerId"]) == (str(bob.user), str(ann.user))
    assert (await bob.post("/conversations", body)).code == "forbidden"
    assert (await Client().post("/conversations", body)).code == "not_found"


async def test_the_list_is_paged():
    ann = Client()
    ids = [await ann.group() for _ in range(3)]
    first = await ann.get("/conversations?limit=2")
    rest = await ann.get(f"/conversations?limit=2&cursor={first.json['next']}")
    found = [view["id"] for view in first.json["conversations"] + rest.json["conversations"]]
    assert found == sorted(ids, reverse=True)
    assert "next" not in rest.json
    assert (await ann.get("/conversations?cursor=x")).code == "bad_request"
    assert (await Client().get("/conversations")).json == {"conversations": []}


async def test_members_come_and_go_in_the_log():
    ann, bob, cid = Client(), Client(), Client()
    path = f"/conversations/{await ann.group(bob)}"
    added = await ann.post(f"{path}/members", {"userIds": [cid.user]})
    assert added.status == 201
    assert (await ann.post(f"{path}/members", {"userIds": [cid.user]})).status == 200
    members = (await cid.get(f"{path}/members")).json["members"]
    facts = ("userId", "role", "joinedSeq", "joinedAt", "online")
    assert [[m[k] for k in facts] for m in members] == [[m[k] for k in facts] for m in added.json["members"]]
    roles = [(m["role"], m["joinedSeq"]) for m in members]
    assert (sorted(roles[:2]), roles[2:]) == ([("member", 1), ("owner", 1)], [("member", 2)])
    assert (await bob.post(f"{path}/members", {"userIds": [uuid4()]})).code == "forbidden"
    changed = await ann.patch(f"{path}/members/{bob.user}", {"role": "admin"})
    assert (changed.status, changed.json["role"]) == (200, "admin")
    assert (await ann.patch(f"{path}/members/{bob.user}", {"role": "king"})).code == "bad_request"
    removed = await bob.delete(f"{path}/members/{cid.user}")
    assert (removed.status, removed.body) == (204, b"")
    assert (await cid.get(path)).code == "not_found"
    assert (await cid.delete(f"{path}/members/{cid.user}")).code == "not_found"
    log = (await ann.get(f"{path}/messages")).json
    assert [(e["seq"], e["type"], e["metadata"]["event"]) for e in log["messages"]] == [
        (1, "system", "conversation_created"),
        (2, "system", "member_added"),
        (3, "system", "conversation_updated"),
        (4, "system", "member_removed"),
    ]
    assert (log["messages"][3]["metadata"], log["hasMore"]) == (
        {"event": "member_removed", "userIds": [str(cid.user)], "by": str(bob.user)},
        False,
    )
    await ann.send(path.rsplit("/", 1)[1])
    seen = (await cid.get(f"{path}/messages")).json["messages"]
    assert [e["seq"] for e in seen] == [2, 3, 4]  # from the joining entry to the removing one


async def test_settings_and_deletion():
    ann, bob = Client(), Client()
    path = f"/conversations/{await ann.group(bob)}"
    assert (await ann.patch(path, {"settings": {"name": "x", "b": 1}})).json["settings"] == {"name": "x", "b": 1}
    assert (await ann.patch(path, {"settings": {"b": None}})).json["settings"] == {"name": "x"}
    assert (await bob.patch(path, {"settings": {"name": "y"}})).code == "forbidden"
    assert (await ann.patch(path, {"settings": {"name": "y" * 5_000}})).code == "too_large"
    assert (await bob.delete(path)).code == "forbidden"
    assert (await ann.delete(path)).status == 204
    for client in (ann, bob):
        assert (await client.get(path)).code == "not_found"


async def test_absent_and_foreign_are_the_same():
    ann, eve = Client(), Client()
    mine, absent = await ann.group(), str(uuid4())
    for method, tail, body in (
        ("GET", "", None),
        ("PATCH", "", {"settings": {"a": 1}}),
        ("DELETE", "", None),
        ("GET", "/messages", None),
        ("GET", "/members", None),
        ("POST", "/members", {"userIds": [eve.user]}),
        ("PATCH", f"/members/{ann.user}", {"role": "member"}),
        ("DELETE", f"/members/{ann.user}", None),
        ("GET", "/receipts", None),
        ("GET", "/devices", None),
    ):
        foreign = await eve.ask(method, f"/conversations/{mine}{tail}", body)
        nothing = await eve.ask(method, f"/conversations/{absent}{tail}", body)
        assert (foreign.status, foreign.code) == (404, "not_found"), (method, tail)
        assert (foreign.body, foreign.status) == (nothing.body, nothing.status)
    assert (await ann.get(f"/conversations/{mine}")).json["lastSeq"] == 1


async def test_whom_to_encrypt_for():
    ann, bob = Client(), Client()
    path = f"/conversations/{await ann.group(bob)}"
    await bob.get("/settings")
    found = (await ann.get(f"{path}/devices")).json
    assert found["membersVersion"] == 1
    assert {UUID(device["id"]) for device in found["devices"]} == {ann.device, bob.device}
