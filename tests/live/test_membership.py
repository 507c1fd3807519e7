"""Joining, leaving and encrypting for who is there, on both transports (docs/protocol.md §5 "Members")."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.live.client import Reply, message_of
from tests.live.people import settle
from tests.live.server import Scene


async def test_a_new_member_of_a_conversation_that_shares_its_history_gets_it_as_any_device_does(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    body = {"type": "group", "members": [str(ann)], "settings": {"sharedHistory": True}}
    conversation_id = (await scene.rest(ann, "POST", "conversations", body)).body["id"]
    author = await scene.joined(ann)
    for _ in range(30):
        assert (await author.send(conversation_id)).ok
    online = await scene.joined(bob, worker=1, acks=True)
    await scene.add(ann, conversation_id, bob)
    await online.until_seq(conversation_id, 32)
    assert (await author.send(conversation_id)).ok
    await online.until_seq(conversation_id, 33)
    assert online.seqs(conversation_id) == list(range(1, 34))
    late = await scene.joined(bob, acks=True)
    await late.until_seq(conversation_id, 33)
    assert late.entries[conversation_id] == online.entries[conversation_id]
    # Removed and back again: what was between is shared as well, and nothing comes twice.
    await scene.remove(ann, conversation_id, bob)
    await online.until_seq(conversation_id, 34)
    assert (await author.send(conversation_id)).ok
    await settle(online, late)
    assert online.seqs(conversation_id)[-1] == late.seqs(conversation_id)[-1] == 34
    await scene.add(ann, conversation_id, bob)
    for client in (online, late):
        await client.until_seq(conversation_id, 36)
        assert sorted(set(client.seqs(conversation_id))) == list(range(1, 37))
        assert client.seqs(conversation_id)[33:] == [34, 35, 36]


async def test_a_stale_sender_is_told_the_change_on_both_transports(scene: Scene) -> None:
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    client = await scene.joined(ann)
    await scene.add(ann, conversation_id, cid)
    await scene.remove(ann, conversation_id, bob)
    details = {"membersVersion": 3, "added": [str(cid)], "removed": [str(bob)]}
    refused = await client.send(conversation_id, membersVersion=1)
    assert (refused.code, refused.response["details"]) == ("stale_membership", details)
    answer = await scene.rest(ann, "POST", "messages", message_of(conversation_id, membersVersion=1))
    assert (answer.status, answer.body["code"], answer.body["details"]) == (409, "stale_membership", details)
    assert (await client.send(conversation_id, membersVersion=3)).ok["status"] == "sent"


@pytest.mark.parametrize("transport", ["socket", "rest"])
async def test_who_is_removed_while_all_send_gets_and_writes_nothing_after_it(scene: Scene, transport: str) -> None:
    """Row 42 over running servers: the sends of both, and the removal, on different processes at the same moment."""
    ann, bob = uuid4(), uuid4()
    author, leaver = await scene.joined(ann, acks=True), await scene.joined(bob, worker=1, acks=True)

    async def by_socket(asked: "asyncio.Future[Reply]") -> int:
        """The seq of a send, 0 where it was refused as a stranger's."""
        reply = await asked
        return reply.ok["seq"] if reply.status == "ok" else {"not_found": 0}[reply.code]

    async def by_rest(body: dict[str, Any]) -> int:
        answer = await scene.rest(bob, "POST", "messages", body, worker=1)
        return answer.body["seq"] if answer.status == 201 else {404: 0}[answer.status]

    for _ in range(30):
        conversation_id = await scene.group(ann, bob)
        await leaver.until_seq(conversation_id, 1)
        if transport == "socket":
            asked = [await leaver.asked(leaver.inbox, "send_message", message_of(conversation_id)) for _ in range(3)]
            mine = [asyncio.ensure_future(by_socket(one)) for one in asked]
        else:
            mine = [asyncio.ensure_future(by_rest(message_of(conversation_id))) for _ in range(3)]
        others = [await author.asked(author.inbox, "send_message", message_of(conversation_id)) for _ in range(3)]
        await scene.remove(ann, conversation_id, bob)
        (await author.send(conversation_id)).ok
        sql = "SELECT seq FROM messages WHERE conversation_id = %s AND metadata->>'event' = 'member_removed'"
        ((removed,),) = scene.rows(sql, conversation_id)
        assert all(seq < removed for seq in await asyncio.gather(*mine))
        assert all([(await one).status == "ok" for one in others])
        await leaver.until_seq(conversation_id, removed)
        assert max(leaver.seqs(conversation_id)) == removed
        refused = await leaver.send(conversation_id)
        assert refused.code == "not_found"
    await settle(leaver)
    last = {one: leaver.seqs(one)[-1] for one in leaver.entries}
    sql = "SELECT conversation_id::text, left_seq FROM members WHERE user_id = %s"
    assert last == dict(scene.rows(sql, bob))
