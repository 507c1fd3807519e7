"""The Python client's rules, part by part; tests/live/test_python_client.py has them against a server."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from whispr_client import Closed, MemoryStore, Message, Refused, SqliteStore, Store, Unanswered, outbox
from whispr_client.backoff import TRIES, connect_delay, retry_delay
from whispr_client.inbox import Inbox

HERE = UUID(int=1)


def entry(seq: int) -> Message:
    body = {
        "messageId": str(uuid4()),
        "conversationId": str(HERE),
        "seq": seq,
        "senderId": str(uuid4()),
        "type": "text",
        "content": "AA==",
        "sentAt": datetime.now(UTC).isoformat(),
    }
    return Message.of(body)


def taken(inbox: Inbox) -> list[int]:
    found = [message.seq for message in inbox.messages]
    inbox.messages.clear()
    return found


async def nothing(conversation_id: UUID, after: int, before: int) -> list[Message]:
    raise AssertionError("nothing was to be fetched")


async def test_the_inbox_hands_out_each_entry_once_and_in_order() -> None:
    inbox = Inbox({HERE: 4}, nothing)
    for seq in (4, 5, 5, 6):
        inbox.take(entry(seq))
    assert taken(inbox) == [5, 6]


async def test_a_push_waits_for_the_place_of_an_own_send() -> None:
    inbox = Inbox({}, nothing)
    inbox.take(entry(3))
    inbox.take(entry(6))
    inbox.own(HERE, 5)
    assert taken(inbox) == [3]
    inbox.own(HERE, 4)
    assert taken(inbox) == [6]


async def test_an_own_send_may_be_the_first_that_is_known() -> None:
    inbox = Inbox({}, nothing)
    inbox.own(HERE, 2)
    inbox.take(entry(1))
    inbox.take(entry(3))
    assert taken(inbox) == [1, 3]


async def test_what_does_not_come_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whispr_client.inbox.HOLD_SECONDS", 0.01)
    asked: list[tuple[int, int]] = []

    async def fetch(conversation_id: UUID, after: int, before: int) -> list[Message]:
        asked.append((after, before))
        return [entry(3)]

    inbox = Inbox({HERE: 1}, fetch)
    inbox.take(entry(5))
    async with asyncio.timeout(5):
        while len(inbox.messages) < 2:
            await asyncio.sleep(0.005)
    assert taken(inbox) == [3, 5]
    assert asked == [(1, 5)]


async def test_a_reset_conversation_begins_anew() -> None:
    inbox = Inbox({HERE: 9}, nothing)
    inbox.reset(None)
    inbox.take(entry(1))
    assert taken(inbox) == [1]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_store_keeps_sends_in_order_and_cursors(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "bot.sqlite")
    first, second = (store.outbox_add(HERE, number, {"content": "AA=="}) for number in (7, 2**53 - 1))
    store.outbox_rekey(second.number, 8)
    store.cursor_set(HERE, 5)
    store.cursor_set(HERE, 3)
    if isinstance(store, SqliteStore):
        store.close()
        store = SqliteStore(tmp_path / "bot.sqlite")
    kept = store.list_outbox()
    assert [(item.client_random, item.payload) for item in kept] == [(7, {"content": "AA=="}), (8, {"content": "AA=="})]
    assert store.get_cursors() == {HERE: 3}
    store.outbox_remove(first.number)
    assert [item.number for item in store.list_outbox()] == [second.number]
    assert store.outbox_add(HERE, 1, {}).number > second.number


class Server:
    """Answers to `send_message`, one after the other; `None` is no answer at all."""

    def __init__(self, *answers: Mapping[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Mapping[str, Any]] = []

    async def ask(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(payload)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def sent(seq: int = 1, status: str = "sent") -> dict[str, Any]:
    return {"status": status, "messageId": str(uuid4()), "seq": seq, "sentAt": datetime.now(UTC).isoformat()}


def outbox_of(server: Server, store: Store | None = None) -> outbox.Outbox:
    made = outbox.Outbox(store or MemoryStore(), server.ask, lambda conversation_id, seq: None)
    made.start()
    made.set_online(True)
    return made


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "retry_delay", lambda tries, after=None: 0.0 if tries < TRIES else 600.0)


@pytest.mark.usefixtures("no_pauses")
async def test_a_send_without_an_answer_is_repeated_as_it_was() -> None:
    server = Server(Unanswered("x"), Refused("timeout"), sent(4, "duplicate"))
    outcome = await outbox_of(server).add(HERE, {"content": "AA=="})
    assert (outcome.seq, outcome.duplicate) == (4, True)
    assert server.asked[0] == server.asked[1] == server.asked[2]


@pytest.mark.usefixtures("no_pauses")
async def test_a_reused_client_random_is_drawn_anew() -> None:
    server = Server(Refused("client_random_reused"), sent())
    await outbox_of(server).add(HERE, {"content": "AA=="})
    assert server.asked[0]["clientRandom"] != server.asked[1]["clientRandom"]


async def test_a_refusal_for_good_is_raised_and_lets_the_next_one_pass() -> None:
    server, store = Server(Refused("not_found"), sent()), MemoryStore()
    box = outbox_of(server, store)
    first, second = box.add(HERE, {"n": 1}), box.add(HERE, {"n": 2})
    with pytest.raises(Refused) as refused:
        await first
    assert refused.value.code == "not_found"
    assert (await second).seq == 1
    assert store.list_outbox() == []


@pytest.mark.usefixtures("no_pauses")
async def test_five_tries_park_a_send_until_the_connection_is_back() -> None:
    server = Server(*[Refused("temporary_unavailable")] * TRIES, sent())
    box = outbox_of(server)
    sending = box.add(HERE, {})
    async with asyncio.timeout(5):
        while sending.status != "parked":
            await asyncio.sleep(0.001)
    assert len(server.asked) == TRIES
    box.set_online(False)
    box.set_online(True)
    assert (await sending).seq == 1


async def test_what_is_parked_goes_on_by_itself_though_the_connection_never_breaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "retry_delay", lambda tries, after=None: 0.0)
    server = Server(*[Refused("temporary_unavailable")] * (TRIES + 2), sent())
    sending = outbox_of(server).add(HERE, {})
    async with asyncio.timeout(5):
        assert (await sending).seq == 1
    assert len(server.asked) == TRIES + 3


async def test_a_conversation_is_sent_in_order_and_does_not_hold_up_another() -> None:
    held: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
    asked: list[Any] = []

    async def ask(payload: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(payload["n"])
        return await held if payload["n"] == 1 else sent(payload["n"])

    box = outbox.Outbox(MemoryStore(), ask, lambda conversation_id, seq: None)
    box.set_online(True)
    first, second, other = box.add(HERE, {"n": 1}), box.add(HERE, {"n": 2}), box.add(uuid4(), {"n": 3})
    assert (await other).seq == 3
    assert asked == [1, 3]
    held.set_result(sent(1))
    assert [(await first).seq, (await second).seq] == [1, 2]


async def test_pending_ends_when_the_entry_arrives() -> None:
    server = Server({"status": "pending", "messageId": str(uuid4())})
    box = outbox_of(server)
    sending = box.add(HERE, {})
    async with asyncio.timeout(5):
        while sending.status != "pending":
            await asyncio.sleep(0.001)
    box.arrived(sending.item.client_random, HERE, 9, uuid4(), datetime.now(UTC))
    assert (await sending).seq == 9


async def test_what_has_no_outcome_is_kept_for_the_next_process(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "bot.sqlite")
    box = outbox.Outbox(store, Server().ask, lambda conversation_id, seq: None)  # never online
    sending = box.add(HERE, {"content": "AA=="})
    await box.close()
    with pytest.raises(Closed):
        await sending
    store.close()
    server = Server(sent())
    again = outbox_of(server, SqliteStore(tmp_path / "bot.sqlite"))
    await again.sendings[0]
    assert server.asked == [{"content": "AA==", "clientRandom": sending.item.client_random}]


def test_pauses() -> None:
    for tries, base in enumerate((1, 2, 4, 8, 16, 60, 60), 1):
        assert base <= retry_delay(tries) <= base * 1.25
    assert 30 <= retry_delay(1, 30.0) <= 37.5
    assert all(0 < connect_delay(tries) <= 15 for tries in range(1, 40))
