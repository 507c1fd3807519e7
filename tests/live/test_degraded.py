"""The database goes away and comes back, under real servers: `pending`, the queue, the drain (docs/protocol.md
"Pending sends", docs/operations.md "Degraded modes").
"""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.live.client import Client, message_of
from tests.live.server import Cluster, Scene
from tests.own_postgres import OwnPostgres
from tests.own_redis import OwnRedis

HEALED_SECONDS = 30.0  # the reliability catalogue I22
# The circuits probe each second, as after a first outage: here is one after the other.
ENVIRONMENT = {"WHISPR_HEAD_CHECK_SECONDS": "1", "WHISPR_TRACE": "all", "WHISPR_CIRCUIT_PAUSE_MAX_SECONDS": "1"}


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[OwnPostgres]:
    with OwnPostgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def own_redis() -> Iterator[OwnRedis]:
    with OwnRedis(durable=True) as redis:
        yield redis


@pytest.fixture(scope="module")
def mortal(own_postgres: OwnPostgres, own_redis: OwnRedis) -> Iterator[Cluster]:
    """Two processes on servers of this module."""
    urls = {"DATABASE_URL": own_postgres.url, "REDIS_URL": own_redis.url}
    with Cluster("uvicorn", workers=2, env=urls | ENVIRONMENT) as servers:
        yield servers


class Stage(Scene):
    """A scene whose database is the module's."""

    def __init__(self, cluster: Cluster, postgres: OwnPostgres) -> None:
        super().__init__(cluster)
        self.postgres = postgres

    def rows(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        return self.postgres.execute(sql, *params)


@pytest.fixture
async def stage(mortal: Cluster, own_postgres: OwnPostgres) -> AsyncIterator[Stage]:
    for url in mortal.urls:  # nothing is left of the test before
        await until(lambda url=url: get_ready(url)["status"] == "ok")
    scene = Stage(mortal, own_postgres)
    mortal.faults()
    yield scene
    await scene.close()
    assert "Traceback" not in mortal.faults(), mortal.log()


async def pair(stage: Stage) -> tuple[Client, Client, str]:
    """Ann on one process, Bob on the other."""
    ann, bob = uuid4(), uuid4()
    conversation_id = await stage.group(ann, bob)
    return await stage.joined(ann, acks=True), await stage.joined(bob, worker=1, acks=True), conversation_id


async def pending_send(client: Client, conversation_id: str, **fields: Any) -> dict[str, Any]:
    sent = (await client.send(conversation_id, **fields)).ok
    assert sent["status"] == "pending", sent
    assert "seq" not in sent
    return sent


async def until_sent(client: Client, conversation_id: str) -> dict[str, Any]:
    """Resend as a good client until the answer is durable."""
    message = message_of(conversation_id)
    async with asyncio.timeout(HEALED_SECONDS):
        while True:
            reply = await client.ask(client.inbox, "send_message", message)
            if reply.status == "ok" and reply.response["status"] in ("sent", "duplicate"):
                return reply.response
            await asyncio.sleep(0.2)


async def test_sends_wait_while_postgres_is_stopped_and_arrive_in_order(stage: Stage, own_redis: OwnRedis) -> None:
    ann, bob, conversation_id = await pair(stage)
    (await ann.send(conversation_id)).ok  # 2
    await bob.until_seq(conversation_id, 2)
    stage.postgres.stop()
    try:
        pending = [(await pending_send(ann, conversation_id))["messageId"] for _ in range(5)]
        # Pipelined sends of one socket keep their order, too.
        futures = [await ann.asked(ann.inbox, "send_message", message_of(conversation_id)) for _ in range(20)]
        pending += [(await future).ok["messageId"] for future in futures]
        assert own_redis.client.llen("retry:messages:normal") == 25
    finally:
        stage.postgres.start()
    last = await until_sent(ann, conversation_id)
    assert last["seq"] == 28
    await bob.until_seq(conversation_id, 28)
    assert [entry["messageId"] for entry in bob.entries[conversation_id]][2:27] == pending
    assert bob.seqs(conversation_id) == list(range(1, 29))
    # The author's own socket is told of what was pending as of anybody's message.
    await ann.until_seq(conversation_id, 27)
    assert [entry["messageId"] for entry in ann.entries[conversation_id]][1:26] == pending
    assert own_redis.client.keys("retry:*") == []
    async with asyncio.timeout(HEALED_SECONDS):
        while "degraded" not in await steps_of(stage, ann, pending[0]):
            await asyncio.sleep(0.2)


async def steps_of(stage: Stage, client: Client, message_id: str) -> list[str]:
    answer = await stage.rest(client.user, "GET", f"messages/{message_id}/trace")
    return [step["step"] for step in answer.body["steps"]]


async def test_nobody_answers_sent_or_waits_while_postgres_hangs(stage: Stage) -> None:
    ann, bob, conversation_id = await pair(stage)
    stage.postgres.freeze()
    try:
        # Whatever is asked is answered in time: pending, or with a code and when to come back.
        for _ in range(3):
            reply = await client_answers(ann, conversation_id)
            if reply is not None and reply["status"] == "pending":
                break
        else:
            raise AssertionError("a hung database does not open the circuit")
        refused = await bob.ask(bob.inbox, "message_received", {"conversationId": conversation_id, "upTo": 1})
        assert refused.status == "ok" or refused.code in ("temporary_unavailable", "timeout")
    finally:
        stage.postgres.thaw()
    last = await until_sent(ann, conversation_id)
    await bob.until_seq(conversation_id, last["seq"])
    assert bob.seqs(conversation_id) == list(range(1, last["seq"] + 1))


async def client_answers(client: Client, conversation_id: str) -> dict[str, Any] | None:
    """The answer to a send, within the 10 s of docs/protocol.md §8.8."""
    async with asyncio.timeout(10.5):
        reply = await client.send(conversation_id)
    if reply.status == "ok":
        assert reply.response["status"] == "pending", reply
        return reply.response
    assert reply.code in ("timeout", "temporary_unavailable")
    assert reply.response["retryAfter"] > 0
    return None


async def test_a_crash_of_everything_loses_nothing_that_was_answered(
    stage: Stage, mortal: Cluster, own_redis: OwnRedis
) -> None:
    ann, _, conversation_id = await pair(stage)
    sent = (await ann.send(conversation_id)).ok
    stage.postgres.kill()
    try:
        pending = [(await pending_send(ann, conversation_id))["messageId"] for _ in range(3)]
        mortal.kill()
        own_redis.kill()
        own_redis.start()
    finally:
        stage.postgres.start()
        await asyncio.to_thread(mortal.start)
    # Nobody who saw the outage is left: the schedule's task drains.
    await asyncio.to_thread(drain, mortal)
    assert [one for _, one in stage.log(conversation_id)][1:] == [sent["messageId"], *pending]


def drain(cluster: Cluster) -> None:
    """What the beat has a worker do."""
    environment = cluster.workers[0]._environment
    code = "import django; django.setup(); from messaging.tasks import recover_pending; print(recover_pending())"
    subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "DJANGO_SETTINGS_MODULE": "whispr.settings"},
        check=True,
        capture_output=True,
        timeout=60,
    )


async def until_state(client: Client, state: str) -> list[str]:
    """Wait until this is the last thing that the client was told of outages; what is lost."""
    await client.until(lambda: [one["state"] for one in client.events("service_state")][-1:] == [state])
    return client.events("service_state")[-1]["lost"]


async def test_a_database_that_takes_no_writes_is_read_on(stage: Stage) -> None:
    ann, bob, conversation_id = await pair(stage)
    (await ann.send(conversation_id)).ok  # 2
    known = await stage.joined(bob.user)
    await known.close()
    stage.postgres.read_only(True)
    try:
        pending = await pending_send(ann, conversation_id)
        assert await until_state(ann, "degraded") == ["sends", "changes", "receipts"]
        page = (await ann.ask(ann.inbox, "history", {"conversationId": conversation_id})).ok
        assert [one["seq"] for one in page["messages"]] == [1, 2]
        assert "degraded" not in page
        ready = get_ready(stage.url(0))
        assert (ready["status"], ready["lost"]) == ("degraded", ["sends", "changes", "receipts"])
        laptop = await stage.joined(bob.user, known.device)
        await laptop.until_seq(conversation_id, 2)
        assert await until_state(laptop, "degraded") == ["sends", "changes", "receipts"]
        refused = await bob.ask(bob.inbox, "message_read", {"conversationId": conversation_id, "upTo": 2})
        assert refused.code == "temporary_unavailable"
    finally:
        stage.postgres.read_only(False)
    await bob.until_seq(conversation_id, 3)
    assert bob.entries[conversation_id][-1]["messageId"] == pending["messageId"]
    assert await until_state(ann, "normal") == []


async def test_a_resend_is_the_same_message_before_and_after(stage: Stage) -> None:
    ann, bob, conversation_id = await pair(stage)
    message = message_of(conversation_id, b"one")
    stage.postgres.stop()
    try:
        first = (await ann.ask(ann.inbox, "send_message", message)).ok
        again = (await ann.ask(ann.inbox, "send_message", message)).ok
        assert first == again
        other = message_of(conversation_id, b"another", clientRandom=message["clientRandom"])
        assert (await ann.ask(ann.inbox, "send_message", other)).code == "client_random_reused"
    finally:
        stage.postgres.start()
    await bob.until_seq(conversation_id, 2)
    settled = (await ann.ask(ann.inbox, "send_message", message)).ok
    assert (settled["status"], settled["messageId"], settled["seq"]) == ("duplicate", first["messageId"], 2)


async def test_a_resend_of_what_was_sent_before_keeps_its_id(stage: Stage, own_redis: OwnRedis) -> None:
    ann, _, conversation_id = await pair(stage)
    message = message_of(conversation_id)
    sent = (await ann.ask(ann.inbox, "send_message", message)).ok
    await until(lambda: own_redis.client.exists(f"dedup:{ann.user}:{message['clientRandom']}"))
    stage.postgres.stop()
    try:
        again = (await ann.ask(ann.inbox, "send_message", message)).ok
        assert (again["status"], again["messageId"]) == ("pending", sent["messageId"])
    finally:
        stage.postgres.start()
    last = await until_sent(ann, conversation_id)
    assert last["seq"] == 3  # the resend became nothing
    assert own_redis.client.keys("retry:messages:*") == []


async def until(condition: Any) -> None:
    async with asyncio.timeout(HEALED_SECONDS):
        while not condition():
            await asyncio.sleep(0.05)


async def test_what_is_refused_when_it_could_be_appended_is_told(stage: Stage, own_redis: OwnRedis) -> None:
    _, bob, conversation_id = await pair(stage)
    message = message_of(conversation_id, b"too late")
    stage.postgres.read_only(True)
    try:
        pending = (await bob.ask(bob.inbox, "send_message", message)).ok
        assert pending["status"] == "pending"
        stage.postgres.execute(
            "UPDATE members SET left_seq = 1 WHERE user_id = %s AND conversation_id = %s", bob.user, conversation_id
        )
    finally:
        stage.postgres.read_only(False)
    await bob.until(lambda: bob.events("personal_update"))
    assert bob.events("personal_update") == [
        {
            "kind": "refused",
            "conversationId": conversation_id,
            "messageId": pending["messageId"],
            "clientRandom": message["clientRandom"],
            "reason": "not_found",
        }
    ]
    assert await until_state(bob, "normal") == []
    assert (await bob.ask(bob.inbox, "send_message", message)).code == "not_found"
    letters = stage.rows("SELECT code FROM dead_letters WHERE kind = 'pending' AND key = %s", pending["messageId"])
    assert letters == [("not_found",)]
    assert own_redis.client.keys("retry:*") == []
    assert [seq for seq, _ in stage.log(conversation_id)] == [1]


async def test_without_the_database_the_last_entries_are_read_from_the_cache(stage: Stage, own_redis: OwnRedis) -> None:
    ann, bob, conversation_id = await pair(stage)
    sent = [(await ann.send(conversation_id, b"number %d" % number)).ok for number in range(3)]  # 2 to 4
    secret = (await ann.send(conversation_id, b"soon gone", type="ephemeral", ttl=600)).ok  # 5
    (await bob.ask(bob.inbox, "react", {"messageId": sent[1]["messageId"], "emoji": "🐌", "clientRandom": 7})).ok  # 6
    edit = {"messageId": sent[0]["messageId"], "content": "bmV3", "clientRandom": 8}
    (await ann.ask(ann.inbox, "edit_message", edit)).ok  # 7
    await until(lambda: own_redis.client.zcard(f"conv:recent:{conversation_id}") == 7)
    await until(lambda: own_redis.client.hget(f"conv:members:{conversation_id}", "members"))
    before = (await bob.ask(bob.inbox, "history", {"conversationId": conversation_id})).ok["messages"]
    seen = await stage.rest(bob.user, "GET", f"conversations/{conversation_id}/messages", device=bob.device)
    stage.postgres.stop()
    try:
        page = (await bob.ask(bob.inbox, "history", {"conversationId": conversation_id})).ok
        assert page["degraded"] is True
        assert page["messages"] == [one for one in before if one["messageId"] != secret["messageId"]]
        assert page["messages"] == [one for one in seen.body["messages"] if one["messageId"] != secret["messageId"]]
        last = (await bob.ask(bob.inbox, "history", {"conversationId": conversation_id, "before": 4, "limit": 1})).ok
        assert [one["seq"] for one in last["messages"]] == [3]
        assert last["hasMore"] is True
        # REST knows the device from before.
        path = f"conversations/{conversation_id}/messages"
        answer = await stage.rest(bob.user, "GET", path, device=bob.device)
        assert (answer.status, answer.body) == (200, page)
        assert (await stage.rest(uuid4(), "GET", path)).status == 503
    finally:
        stage.postgres.start()
    await until_sent(ann, conversation_id)


async def test_nothing_waits_where_redis_would_not_keep_it(stage: Stage, own_redis: OwnRedis) -> None:
    ann, _, conversation_id = await pair(stage)
    own_redis.client.config_set("appendonly", "no")
    stage.postgres.stop()
    try:
        await asyncio.sleep(5)  # the last look at how Redis is set up
        refused = await ann.send(conversation_id)
        assert refused.code == "temporary_unavailable"
        assert 0 < refused.response["retryAfter"] <= 30
        assert own_redis.client.keys("retry:messages:*") == []
    finally:
        stage.postgres.start()
        own_redis.client.config_set("appendonly", "yes")
    assert (await until_sent(ann, conversation_id))["seq"] == 2


async def test_rest_sends_wait_too(stage: Stage, own_redis: OwnRedis) -> None:
    ann, bob, conversation_id = await pair(stage)
    (await ann.send(conversation_id)).ok  # 2
    await stage.rest(ann.user, "GET", "conversations", device=ann.device)
    await until(lambda: own_redis.client.hget(f"conv:members:{conversation_id}", "members"))
    stage.postgres.stop()
    try:
        body = message_of(conversation_id)
        answer = await stage.rest(ann.user, "POST", "messages", body, device=ann.device)
        assert (answer.status, answer.body["status"]) == (202, "pending")
        assert (await stage.rest(uuid4(), "POST", "messages", body)).status == 503
        await until(lambda: get_ready(stage.url(0)).get("recoveryQueue") == "ok")  # it looks at Redis every few seconds
        assert get_ready(stage.url(0))["status"] == "degraded"
    finally:
        stage.postgres.start()
    await bob.until_seq(conversation_id, 3)
    assert bob.entries[conversation_id][-1]["messageId"] == answer.body["messageId"]


def get_ready(url: str) -> Any:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:  # 503, and says why
        return json.loads(error.read())
