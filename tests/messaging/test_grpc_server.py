"""The gRPC entry: one entry a key, delivered to live sockets; coded refusals; only this machine or a certificate."""

import asyncio
import contextlib
import datetime
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import pytest
from django.core.exceptions import ImproperlyConfigured
from grpc_health.v1 import health_pb2, health_pb2_grpc

from integrations.proto.whispr.messaging.v1 import messaging_pb2, messaging_pb2_grpc
from messaging import grpc_server
from messaging.fanout.hub import hub
from messaging.grpc_server import SERVICE, STATUS, ServiceServer
from messaging.models import Message, SendKey
from messaging.services import system
from messaging.store.conversations import conversation_create, conversation_delete
from tests.e2e.server import ROOT, SECRET, Server, database_url
from tests.live.client import Client
from whispr import grpc_stubs
from whispr.kernel import database, errors
from whispr.kernel.limits import LIMITS
from whispr.kernel.service_entry import ServiceEntry

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 30.0  # of patience with a busy machine


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def group(*users: UUID) -> UUID:
    owner = users[0] if users else uuid4()
    return conversation_create(owner, "group", list(users) or [owner], b"{}", None).view.id


def entries(conversation: UUID) -> list[Message]:
    return list(Message.objects.filter(conversation=conversation, seq__gt=1).order_by("seq"))


def call(conversation: object, **changes: str) -> messaging_pb2.PostSystemMessageRequest:
    fields = {
        "conversation_id": str(conversation),
        "event": "call_ended",
        "details_json": '{"seconds": 12}',
        "idempotency_key": str(uuid4()),
    }
    return messaging_pb2.PostSystemMessageRequest(**fields | changes)


@asynccontextmanager
async def serving(entry: ServiceEntry | None = None) -> AsyncIterator[str]:
    """A server in this process; the address that it has."""
    server = ServiceServer(entry or ServiceEntry(f"127.0.0.1:{free_port()}"))
    await server.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.stop()


@asynccontextmanager
async def calling(address: str) -> AsyncIterator[messaging_pb2_grpc.MessagingStub]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield messaging_pb2_grpc.MessagingStub(channel)


async def refusal(stub: messaging_pb2_grpc.MessagingStub, request: object) -> tuple[grpc.StatusCode, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.PostSystemMessage(request, timeout=SECONDS)
    assert "Traceback" not in caught.value.details()
    return caught.value.code(), dict(caught.value.trailing_metadata() or ())


# --- posting


async def test_a_call_appends_an_entry():
    conversation, user = await database.run(group), uuid4()
    async with serving() as address, calling(address) as stub:
        answer = await stub.PostSystemMessage(call(conversation, by=str(user)), timeout=SECONDS)
    (row,) = await database.run(entries, conversation)
    assert (str(row.id), row.seq, row.sender_id, row.message_type) == (answer.message_id, 2, user, "system")
    assert row.metadata == {"event": "call_ended", "seconds": 12}
    assert answer.seq == 2
    assert answer.sent_at.ToDatetime(datetime.UTC) == row.sent_at


async def test_a_caller_names_nobody_and_its_claims_of_itself_are_not_looked_at():
    conversation = await database.run(group)
    spoofed = (("x-user-id", str(uuid4())), ("x-forwarded-for", "10.0.0.1"))
    async with serving() as address, calling(address) as stub:
        await stub.PostSystemMessage(call(conversation, details_json=""), timeout=SECONDS, metadata=spoofed)
    (row,) = await database.run(entries, conversation)
    assert (row.sender_id, row.metadata) == (UUID(int=0), {"event": "call_ended"})


async def test_a_repeated_call_posts_once_and_is_answered_the_same():
    owner = uuid4()
    conversation = await database.run(group, owner)
    request = call(conversation, details_json='{"a": 1, "b": [2]}')
    again = call(conversation, details_json='{"b":[2],"a":1}', idempotency_key=request.idempotency_key)
    async with serving() as address, calling(address) as stub:
        first = await stub.PostSystemMessage(request, timeout=SECONDS)
        crowd = await asyncio.gather(*(stub.PostSystemMessage(again, timeout=SECONDS) for _ in range(10)))
    async with serving() as address, calling(address) as stub:  # another process, as far as the key is concerned
        await database.run(conversation_delete, owner, conversation)
        last = await stub.PostSystemMessage(request, timeout=SECONDS)
    assert all(answer == first for answer in (*crowd, last))
    posted = [row for row in await database.run(entries, conversation) if row.metadata.get("event") == "call_ended"]
    assert [row.seq for row in posted] == [2]


async def test_calls_at_once_with_one_key_post_once():
    conversation = await database.run(group)
    request = call(conversation)
    async with serving() as address, calling(address) as stub:
        answers = await asyncio.gather(*(stub.PostSystemMessage(request, timeout=SECONDS) for _ in range(20)))
    assert len({answer.message_id for answer in answers}) == 1
    assert len(await database.run(entries, conversation)) == 1


async def test_a_key_is_one_call_whatever_the_conversation():
    one, other = await database.run(group), await database.run(group)
    key = "k" * 128
    async with serving() as address, calling(address) as stub:
        await stub.PostSystemMessage(call(one, idempotency_key=key), timeout=SECONDS)
        for changed in (
            call(one, idempotency_key=key, details_json='{"seconds": 13}'),
            call(one, idempotency_key=key, event="call_began"),
            call(one, idempotency_key=key, by=str(uuid4())),
            call(other, idempotency_key=key),
        ):
            status, trailing = await refusal(stub, changed)
            assert (status, trailing["whispr-code"]) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "client_random_reused",
            )
    assert [len(await database.run(entries, conversation)) for conversation in (one, other)] == [1, 0]


async def test_one_key_at_once_in_many_conversations_posts_in_one():
    conversations = [await database.run(group) for _ in range(8)]
    async with serving() as address, calling(address) as stub:
        answers = await asyncio.gather(
            *(stub.PostSystemMessage(call(one, idempotency_key="k"), timeout=SECONDS) for one in conversations),
            return_exceptions=True,
        )
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(refused) == 7
    assert {error.code() for error in refused} == {grpc.StatusCode.FAILED_PRECONDITION}
    assert sum([len(await database.run(entries, one)) for one in conversations]) == 1
    assert await database.run(SendKey.objects.count) == 1


# --- refusals


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"conversation_id": ""}, "bad_request"),
        ({"conversation_id": "1"}, "bad_request"),
        ({"by": "somebody"}, "bad_request"),
        ({"event": ""}, "bad_request"),
        ({"event": "Call"}, "bad_request"),
        *[({"event": event}, "bad_request") for event in sorted(system.RESERVED)],
        ({"details_json": "{"}, "bad_request"),
        ({"details_json": "[]"}, "bad_request"),
        ({"details_json": "null"}, "bad_request"),
        ({"details_json": '{"a": NaN}'}, "bad_request"),
        ({"details_json": '{"a":' * 5_000}, "bad_request"),
        ({"details_json": '{"a":' * 20 + "1" + "}" * 20}, "bad_request"),
        ({"details_json": '{"a": "\\u0000"}'}, "bad_request"),
        ({"details_json": '{"event": "member_removed"}'}, "bad_request"),
        ({"details_json": json.dumps({"a": "x" * LIMITS.metadata_bytes})}, "too_large"),
        ({"idempotency_key": ""}, "bad_request"),
        ({"idempotency_key": "k" * 129}, "bad_request"),
    ],
)
async def test_a_bad_call_is_refused_with_its_code_and_changes_nothing(changes: dict[str, str], code: str):
    conversation = await database.run(group)
    async with serving() as address, calling(address) as stub:
        status, trailing = await refusal(stub, call(conversation, **changes))
    assert (status, trailing["whispr-code"]) == (grpc.StatusCode.INVALID_ARGUMENT, code)
    assert await database.run(entries, conversation) == []
    assert await database.run(SendKey.objects.count) == 0


async def test_an_unknown_conversation_is_not_found():
    async with serving() as address, calling(address) as stub:
        status, trailing = await refusal(stub, call(uuid4()))
    assert (status, trailing["whispr-code"]) == (grpc.StatusCode.NOT_FOUND, "not_found")
    assert await database.run(SendKey.objects.count) == 0


async def test_what_is_larger_than_a_frame_is_not_read():
    conversation = await database.run(group)
    async with serving() as address, calling(address) as stub:
        status, trailing = await refusal(stub, call(conversation, details_json="x" * LIMITS.frame_bytes))
    assert status == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "whispr-code" not in trailing  # gRPC's own word
    assert await database.run(entries, conversation) == []


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (errors.RateLimited(retry_after=2.5), grpc.StatusCode.RESOURCE_EXHAUSTED, "2.5"),
        (errors.TemporaryUnavailable(), grpc.StatusCode.UNAVAILABLE, "30"),
        (errors.Overloaded(), grpc.StatusCode.UNAVAILABLE, "1"),
        (errors.Timeout(), grpc.StatusCode.DEADLINE_EXCEEDED, "5"),
    ],
)
async def test_what_passes_says_when_to_come_back(
    monkeypatch, error: errors.WhisprError, status: grpc.StatusCode, retry_after: str
):
    async def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(grpc_server, "system_message_post_once", fails)
    async with serving() as address, calling(address) as stub:
        got, trailing = await refusal(stub, call(uuid4()))
    assert (got, trailing["whispr-code"], trailing["retry-after"]) == (status, error.code, retry_after)


async def test_a_fault_of_ours_tells_a_caller_nothing(monkeypatch):
    async def fails(*_: object) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(grpc_server, "system_message_post_once", fails)
    async with serving() as address, calling(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.PostSystemMessage(call(uuid4()), timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in caught.value.details()


def test_every_code_of_the_error_tree_has_a_status():
    def codes(kind: type[errors.WhisprError]) -> set[str]:
        return {kind.code}.union(*map(codes, kind.__subclasses__()))

    assert codes(errors.WhisprError) <= STATUS.keys()


async def test_a_caller_that_hangs_up_leaves_no_half_of_a_call(monkeypatch):
    began, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> None:
        began.set()
        await may_end.wait()
        ended.set()

    monkeypatch.setattr(grpc_server, "system_message_post_once", slow)
    async with serving() as address, calling(address) as stub:
        asked = stub.PostSystemMessage(call(uuid4()), timeout=SECONDS)
        waiter = asyncio.ensure_future(_outcome(asked))
        await asyncio.wait_for(began.wait(), SECONDS)
        asked.cancel()
        await waiter
        may_end.set()
        await asyncio.wait_for(ended.wait(), SECONDS)


async def _outcome(asked: "grpc.aio.UnaryUnaryCall") -> None:
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_the_server_says_that_it_serves():
    async with serving() as address, grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_taken_port_is_refused():
    async with serving() as address:
        with pytest.raises(ImproperlyConfigured, match="taken"):
            ServiceServer(ServiceEntry(address))


# --- the process


@pytest.fixture
def command() -> Iterator["Command"]:
    """`manage.py grpc_server` as a process."""
    process = Command()
    yield process
    process.end(signal.SIGKILL)


class Command:
    """The process of the command, on the test database."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        server = Server()  # for its environment
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "grpc_server"],
            cwd=ROOT,
            env=server.workers[0]._environment
            | {"WHISPR_GRPC_ADDRESS": self.address, "DATABASE_URL": database_url(), "WHISPR_JWT_SECRET": SECRET},
        )

    def end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(SECONDS)


async def test_what_the_process_posts_reaches_a_live_socket_and_sigterm_ends_it(command: Command):
    ann = uuid4()
    conversation = await database.run(group, ann)
    web = Server(env={"WHISPR_HEAD_CHECK_SECONDS": "600"})  # so that nothing but the bus can bring it
    try:
        await asyncio.to_thread(web.start)
        client = await Client.open(web.url, ann, uuid4(), acks=True)
        await client.join_inbox()
        async with calling(command.address) as stub:
            for _ in range(5):  # the doorbell may be lost, on a busy machine by its deadline of 250 ms; not each time
                answer = await stub.PostSystemMessage(call(conversation), timeout=SECONDS, wait_for_ready=True)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(client.until_seq(str(conversation), answer.seq), 5)
                    break
            pushed = client.entries[str(conversation)][-1]
            assert (pushed["messageId"], pushed["type"]) == (answer.message_id, "system")
            assert pushed["metadata"] == {"event": "call_ended", "seconds": 12}
            assert await asyncio.to_thread(command.end, signal.SIGTERM) == 0
        await client.close()
    finally:
        await asyncio.to_thread(web.kill)


def test_the_command_refuses_to_listen_for_everybody():
    environment = Server().workers[0]._environment | {"WHISPR_GRPC_ADDRESS": "0.0.0.0:9000"}
    ended = subprocess.run(
        [sys.executable, "manage.py", "grpc_server"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "without mutual TLS" in ended.stderr
    assert "Traceback" not in ended.stderr


# --- the stubs


def test_the_stubs_are_not_behind_the_contracts(tmp_path: Path):
    grpc_stubs.write_stubs(tmp_path)
    assert grpc_stubs.stale_stubs(tmp_path) == [], "run: .venv/bin/python manage.py grpc_stubs"
    (tmp_path / "integrations/proto/whispr/messaging/v1/messaging_pb2.py").write_text("")
    assert grpc_stubs.stale_stubs(tmp_path) == ["integrations/proto/whispr/messaging/v1/messaging_pb2.py"]


# --- permissions


async def test_changed_permissions_are_told_to_every_process():
    users, heard = [uuid4(), uuid4()], []
    hub.watchers.append(heard.append)
    try:
        async with serving() as address, calling(address) as stub:
            request = messaging_pb2.PermissionsChangedRequest(user_ids=map(str, users))
            await stub.PermissionsChanged(request, timeout=SECONDS)
    finally:
        hub.watchers.remove(heard.append)
    assert [(one.user_id, one.kind) for one in heard] == [(user, "permissions") for user in users]


@pytest.mark.parametrize("users", [["no uuid"], [str(UUID(int=number)) for number in range(1_001)]])
async def test_bad_ids_and_too_many_are_refused(users: list[str]):
    async with serving() as address, calling(address) as stub:
        request = messaging_pb2.PermissionsChangedRequest(user_ids=users)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.PermissionsChanged(request, timeout=SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
