"""Edits, deletions, reactions, expiry over running servers: one log, whichever transport, and every device the same."""

import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from messaging.fanout.bus import buses
from messaging.services.expiry import messages_expire
from tests.live.client import Client
from tests.live.kinds import OverRest, OverSocket, hidden_of, shown_from_history, shown_from_log, text
from tests.live.server import Scene
from tests.residue import redis_keys_left, tables_with
from whispr.kernel import database

CANARY = b"canary-over-the-wire-0123456789"
SEEDS = [1, 2, 3]


@pytest.fixture
async def worker(django_db_blocker: Any) -> AsyncIterator[Any]:
    """The expiry worker's work, in this process: what is due is erased and told."""

    async def run() -> None:
        await messages_expire()
        bus = buses.peek()
        if bus is not None:
            await bus.drained()

    with django_db_blocker.unblock():
        yield run


def make_due(scene: Scene, message_id: str) -> None:
    sql = (
        "UPDATE messages SET expires_at = (SELECT sent_at FROM messages WHERE id = %s)"
        " WHERE id = %s OR target_id = %s RETURNING id"
    )
    assert scene.rows(sql, message_id, message_id, message_id)


async def scenario(scene: Scene, ann: Any, bob: Any, conversation: str, worker: Any) -> None:
    """Everything that can become of a message."""
    one = (await ann.send(conversation, CANARY + b"one"))["messageId"]
    two = (await bob.send(conversation, CANARY + b"two", ttl=600, replyTo=one))["messageId"]
    three = (await ann.send(conversation, b"three", metadata={"k": "v"}))["messageId"]
    assert (await ann.edit(one, CANARY + b"edited"))["status"] == "sent"
    assert (await bob.react(one, "a"))["status"] == "sent"
    assert (await bob.react(one, "a"))["status"] == "duplicate"
    assert (await ann.react(two, "b"))["status"] == "sent"
    assert (await ann.react(two, "b", remove=True))["status"] == "sent"
    assert (await ann.react(two, "b", remove=True)) == {
        "status": "duplicate",
        "messageId": two,
        "conversationId": conversation,
    }
    assert await ann.delete(one, for_everyone=True) == {"messageId": one}
    assert await ann.delete(one, for_everyone=True) == {"messageId": one}
    assert (await ann.react(three, "c"))["status"] == "sent"
    assert (await ann.edit(three, b"three again"))["status"] == "sent"
    assert await bob.delete(three, for_everyone=False) == {"messageId": three}
    make_due(scene, two)
    await worker()


def normalised(scene: Scene, conversation: str, people: dict[UUID, str]) -> list[tuple[Any, ...]]:
    """A log without what two runs of the same may differ in: ids become seqs, users names."""
    sql = (
        "SELECT m.seq, m.message_type, m.sender_id, m.content, m.metadata::text, t.seq, r.seq, e.seq, m.is_deleted,"
        " m.delete_for_everyone, m.expires_at IS NULL, m.edited_at IS NULL, m.signature, m.media_id FROM messages m"
        " LEFT JOIN messages t ON t.id = m.target_id LEFT JOIN messages r ON r.id = m.reply_to_id"
        " LEFT JOIN messages e ON e.id = m.edit_id WHERE m.conversation_id = %s ORDER BY m.seq"
    )
    seqs = {message_id: f"#{seq}" for seq, message_id in scene.log(conversation)} | {
        str(user): name for user, name in people.items()
    }
    found = []
    for row in scene.rows(sql, conversation):
        metadata = row[4]
        for known, name in seqs.items():
            metadata = metadata.replace(known, name)
        found.append((*row[:2], people.get(row[2], "nobody"), *row[3:4], metadata, *row[5:]))
    return found


async def test_both_transports_lead_to_the_same_log_without_residue(scene: Scene, worker: Any) -> None:
    logs = []
    for over in ("socket", "rest"):
        ann, bob = uuid4(), uuid4()
        conversation = await scene.group(ann, bob)
        if over == "socket":
            actors: tuple[Any, Any] = (
                OverSocket(await scene.joined(ann, worker=0)),
                OverSocket(await scene.joined(bob, worker=1)),
            )
        else:
            actors = (OverRest(scene, ann, 0), OverRest(scene, bob, 1))
        await scenario(scene, *actors, conversation, worker)
        logs.append(normalised(scene, conversation, {ann: "ann", bob: "bob"}))
    assert logs[0] == logs[1]
    assert [row[0] for row in logs[0]] == list(range(1, 13))
    kinds = "system text text text edit reaction reaction reaction system reaction edit system"
    assert [row[1] for row in logs[0]] == kinds.split()
    assert await database.run(tables_with, CANARY) == []
    assert await redis_keys_left(CANARY) == []


async def held(scene: Scene, user: UUID, conversation: str) -> tuple[Any, Any, set[str]]:
    """What a new device of the user synchronises, what history shows, and what is hidden."""
    device, entries, cursors = uuid4(), [], {conversation: 0}
    while True:
        page = (await scene.rest(user, "POST", "sync", {"cursors": cursors, "limit": 200}, device=device)).body
        for one in page["conversations"]:
            entries += one["messages"]
            cursors[one["id"]] = one["messages"][-1]["seq"]
        if page["complete"]:
            break
    fetched, before = [], ""
    while True:
        path = f"conversations/{conversation}/messages?limit=200{before}"
        answer = (await scene.rest(user, "GET", path)).body
        fetched += answer["messages"]
        if not answer["hasMore"]:
            return (
                shown_from_log(entries, page["personal"]["hidden"]),
                shown_from_history(fetched),
                set(page["personal"]["hidden"]),
            )
        before = f"&before={answer['messages'][0]['seq']}"


@pytest.mark.parametrize("seed", SEEDS)
async def test_who_was_away_ends_as_who_was_there(scene: Scene, worker: Any, seed: int) -> None:
    rng = random.Random(seed)
    users = [uuid4(), uuid4(), uuid4()]
    conversation = await scene.group(*users)
    there = [await scene.joined(user, worker=number, acks=True) for number, user in enumerate(users)]
    sockets = [OverSocket(await scene.joined(user, worker=number + 1)) for number, user in enumerate(users)]
    rests = [OverRest(scene, user, number) for number, user in enumerate(users)]
    back = uuid4()  # a device that comes and goes
    kept: list[dict[str, Any]] = []
    told: set[str] = set()
    mine: dict[int, list[str]] = {0: [], 1: [], 2: []}
    dead: set[str] = set()
    edits: dict[str, int] = {}

    async def compare() -> None:
        head = scene.log(conversation)[-1][0]
        for user, client in zip(users, there, strict=True):
            await client.until_seq(conversation, head)
            synced, history, hidden = await held(scene, user, conversation)
            await client.until(lambda client=client, hidden=hidden: hidden_of(client) == hidden)
            assert client.seqs(conversation) == list(range(1, head + 1))
            live = shown_from_log(client.entries[conversation], hidden_of(client))
            assert live == synced == history, (seed, user)
        returned = await scene.joined(users[0], back, cursors={conversation: len(kept)})
        kept.extend(returned.entries.get(conversation, []))
        told.update(hidden_of(returned))
        await returned.close()
        assert [one["seq"] for one in kept] == list(range(1, head + 1))
        assert shown_from_log(kept, told) == shown_from_log(there[0].entries[conversation], hidden_of(there[0])), seed

    for step in range(60):
        number = rng.randrange(3)
        actor: Any = rng.choice((sockets, rests))[number]
        alive = [one for ids in mine.values() for one in ids if one not in dead]
        choice = rng.choices(["send", "edit", "react", "delete", "hide", "expire"], [5, 5, 6, 1, 1, 1])[0]
        if choice == "send" or not alive:
            fields = rng.choice(({}, {"ttl": 3600}, {"ttl": 3600, "ttlStart": "read"}, {"metadata": {"n": step}}))
            mine[number].append((await actor.send(conversation, b"step %d" % step, **fields))["messageId"])
        elif choice == "edit" and (own := [one for one in mine[number] if one not in dead]):
            target = rng.choice(own)
            for _ in range(rng.choice((1, 1, 12))):
                edits[target] = edits.get(target, 0) + 1
                await actor.edit(target, b"edit %d of %s" % (edits[target], target.encode()))
        elif choice == "react":
            visible = [one for one in alive if one not in hidden_of(there[number])]
            if visible:
                await actor.react(rng.choice(visible), rng.choice("abc"), remove=rng.random() < 0.4)
        elif choice == "delete" and (own := [one for one in mine[number] if one not in dead]):
            target = rng.choice(own)
            dead.add(target)
            await actor.delete(target, for_everyone=True)
        elif choice == "hide":
            target = rng.choice(alive)
            await actor.delete(target, for_everyone=False)
            await there[number].until(lambda t=target, c=there[number]: t in hidden_of(c))
            if target in mine[number]:
                dead.add(target)  # its author does not edit what they no longer see
        elif choice == "expire":
            target = rng.choice(alive)
            dead.add(target)
            make_due(scene, target)
            await worker()
        if rng.random() < 0.08:
            await compare()
    await compare()


async def test_refusals_on_the_socket_are_those_of_rest(scene: Scene) -> None:
    ann, bob, eve = [await scene.joined(uuid4()) for _ in range(3)]
    conversation = await scene.group(ann.user, bob.user)
    sent = (await ann.send(conversation)).ok["messageId"]

    async def code(client: Client, event: str, payload: Any) -> str:
        return (await client.ask(client.inbox, event, payload)).code

    edit = {"messageId": sent, "content": "eA==", "clientRandom": 77_001}
    react = {"messageId": sent, "emoji": "a", "clientRandom": 77_002}
    delete = {"messageId": sent, "forEveryone": True}
    for event, payload in (("edit_message", edit), ("react", react), ("delete_message", delete)):
        assert await code(eve, event, payload) == "not_found"
        assert await code(ann, event, payload | {"messageId": str(uuid4())}) == "not_found"
        for bad in ("x", None, 1, [sent]):
            assert await code(ann, event, payload | {"messageId": bad}) == "bad_request"
        assert await code(ann, event, []) == "bad_request"
        without = {name: value for name, value in payload.items() if name != "messageId"}
        assert await code(ann, event, without) == "bad_request"
    assert await code(bob, "edit_message", edit) == "forbidden"
    assert await code(bob, "delete_message", delete) == "forbidden"
    for bad in ({"content": ""}, {"content": "*"}, {"clientRandom": -1}, {"clientRandom": 1.0}, {"baseId": "x"}):
        assert await code(ann, "edit_message", edit | bad) == "bad_request"
    assert await code(ann, "edit_message", edit | {"baseId": str(uuid4())}) == "edit_conflict"
    for bad in ({"emoji": ""}, {"emoji": "ab"}, {"emoji": "x" * 10_000}, {"emoji": None}, {"remove": 1}):
        assert await code(ann, "react", react | bad) == "bad_request"
    for bad in ({"forEveryone": "true"}, {"forEveryone": None}, {"forEveryone": 1}):
        assert await code(ann, "delete_message", delete | bad) == "bad_request"
    assert [seq for seq, _ in scene.log(conversation)] == [1, 2]
    assert (await ann.ask(ann.inbox, "delete_message", delete)).ok == {"messageId": sent}
    assert await code(ann, "edit_message", edit) == "edit_conflict"
    assert await code(ann, "react", react) == "invalid_target"
    await ann.heartbeat()
    assert [entry["metadata"].get("event") for entry in ann.entries[conversation]] == [
        "conversation_created",
        "message_deleted",
    ]


async def test_pipelined_changes_of_one_socket_keep_their_order(scene: Scene) -> None:
    ann = await scene.joined(uuid4())
    conversation = await scene.group(ann.user)
    sent = (await ann.send(conversation)).ok["messageId"]
    waiting = []
    for number in range(8):
        edit = {"messageId": sent, "content": text(b"%d" % number), "clientRandom": 88_000 + number}
        waiting.append(await ann.asked(ann.inbox, "edit_message", edit))
        react = {
            "messageId": sent,
            "emoji": "abcdefgh"[number],
            "clientRandom": 88_100 + number,
        }  # what is switched on and off need not be told
        waiting.append(await ann.asked(ann.inbox, "react", react))
    replies = [(await one).ok for one in waiting]
    assert [one["seq"] for one in replies] == list(range(3, 19))
    view = (await scene.rest(ann.user, "GET", f"messages/{sent}")).body
    assert (view["content"], len(view["reactions"])) == (text(b"7"), 8)


async def test_the_time_of_an_ephemeral_starts_with_its_reading(scene: Scene) -> None:
    ann, bob = await scene.joined(uuid4(), worker=0), await scene.joined(uuid4(), worker=1)
    conversation = await scene.group(ann.user, bob.user)
    sent = (await ann.send(conversation, ttl=60, ttlStart="read")).ok
    await bob.until_seq(conversation, 2)
    pushed = bob.entries[conversation][-1]
    assert (pushed["ttlAfterRead"], pushed["expiresAt"]) == (60, sent["expiresAt"])
    assert (await bob.ack(conversation, 2, "message_read")).ok == {}
    late = await scene.joined(bob.user, worker=0)
    entry = late.entries[conversation][-1]
    assert "ttlAfterRead" not in entry
    assert entry["expiresAt"] < sent["expiresAt"]
