"""The reconciliation: each thing is broken on purpose, found, and repaired; what is whole has nothing to find."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import connection

from delivery.models import DeadLetter, DeliveryStatus, ReconcileRun
from delivery.services import reconcile as service
from delivery.store import reconcile as store
from delivery.store.receipts import NewReceipt, receipts_write
from delivery.store.reconcile_checks import CHECKS, KEY_ORPHAN
from messaging.events import Actor, MediaMetadata
from messaging.models import Conversation, Device, MediaLink, Message, SendKey
from messaging.requests import SendMessage
from messaging.services.send import access_send
from messaging.store.blocks import block_set
from messaging.store.conversations import conversation_create
from messaging.store.deletions import message_delete
from messaging.store.log import Appended, entries_append
from messaging.store.members import member_remove, members_add
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _unsigned(settings: Any) -> None:
    settings.WHISPR_SIGNATURES = "off"


def lose_push(w: "World") -> None:
    """Bob lacks an hour-old message, and nobody is to tell him."""
    w.ack(w.ann, w.group, w.head(w.group))
    for table, column in (("messages", "sent_at"), ("send_keys", "sent_at"), ("conversations", "last_sent_at")):
        key = "id" if table == "conversations" else "conversation_id"
        sql(f"UPDATE {table} SET {column} = {column} - interval '1 hour' WHERE {key} = %s", w.group)
    sql("DELETE FROM push_outbox WHERE %s = ANY(conversation_ids)", w.group)


class World:
    """Two groups and a direct conversation, with all that belongs to them: people who left and came back, receipts,
    reactions, media, deletions."""

    def __init__(self) -> None:
        self.ann, self.bob, self.cid = uuid4(), uuid4(), uuid4()
        self.device = {user: Device.objects.create(user_id=user).id for user in (self.ann, self.bob, self.cid)}
        self.number = 0
        self.group = conversation_create(self.ann, "group", [self.ann, self.bob, self.cid], b"{}", None).view.id
        self.direct = conversation_create(self.ann, "direct", [self.ann, self.bob], b"{}", None).view.id
        self.first = self.send(self.group, self.ann)
        self.media = self.send(self.group, self.bob, kind="media")
        self.deleted = self.send(self.group, self.ann, kind="media")
        self.ack(self.bob, self.group, 3, read=True)
        member_remove(self.ann, self.group, self.cid)
        self.send(self.group, self.bob)
        members_add(self.ann, self.group, [self.cid])
        self.last = self.send(self.group, self.ann)
        self.ack(self.cid, self.group, self.seq(self.last))
        message_delete(self.ann, self.deleted)
        self.told = self.send(self.direct, self.ann)
        self.ack(self.bob, self.direct, 2, read=True)
        self.send(self.direct, self.bob)

    def send(self, conversation: UUID, sender: UUID, kind: Any = "text", **fields: Any) -> UUID:
        self.number += 1
        medium = str(uuid4()) if kind == "media" else None
        request = SendMessage(
            conversation_id=conversation,
            type=kind,
            content="AAAA",
            client_random=self.number,
            metadata={"b": 1, "a": [True, None]},
            media_id=medium,
        )
        entry = access_send(Actor(sender, self.device[sender]), request)
        if medium is not None:
            entry = msgspec.structs.replace(entry, media=MediaMetadata(medium, 1, b"", datetime.now(UTC)))
        (outcome,) = entries_append([entry])
        assert isinstance(outcome, Appended), outcome
        return outcome.outcome.message_id

    def ack(self, user: UUID, conversation: UUID, up_to: int, *, read: bool = False) -> None:
        receipts_write([NewReceipt(user, self.device[user], conversation, up_to, read)])

    def seq(self, message: UUID) -> int:
        return Message.objects.get(id=message).seq

    def head(self, conversation: UUID) -> int:
        return Conversation.objects.get(id=conversation).last_seq


@pytest.fixture
def world() -> World:
    return World()


def run(*, repair: bool = False, conversation: UUID | None = None) -> service.Outcome:
    return async_to_sync(service.reconcile)(repair=repair, conversation_id=conversation)


def sql(text: str, *params: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text, params)


def test_what_is_whole_has_nothing_to_find(world: World):
    before = dump()
    outcome = run(repair=True)
    assert (outcome.found, outcome.repaired, outcome.examples) == ({}, {}, [])
    assert outcome.conversations == 2
    assert outcome.entries == world.head(world.group) + world.head(world.direct)
    assert dump() == before


def dump() -> list[Any]:
    rows: list[Any] = []
    with connection.cursor() as cursor:
        for table in ("conversations", "members", "messages", "send_keys", "delivery_statuses", "media_links"):
            cursor.execute(f"SELECT md5(t::text) FROM {table} t ORDER BY 1")
            rows.append((table, cursor.fetchall()))
    return rows


# check: how it is broken, and whether it is as it was after the repair.
BREAKS: dict[str, Callable[[World], None]] = {
    "head_seq": lambda w: sql("UPDATE conversations SET last_seq = 2 WHERE id = %s", w.group),
    "head_time": lambda w: sql("UPDATE conversations SET last_sent_at = NULL WHERE id = %s", w.group),
    "head_hash": lambda w: sql("UPDATE conversations SET head_hash = 'x' WHERE id = %s", w.group),
    "member_count": lambda w: sql("UPDATE conversations SET member_count = 7 WHERE id = %s", w.group),
    "watermark_above_head": lambda w: sql(
        "UPDATE members SET delivered_seq = 99, read_seq = 98 WHERE conversation_id = %s AND user_id = %s",
        w.group,
        w.cid,
    ),
    "cursor_above_head": lambda w: sql(
        "UPDATE device_cursors SET acked_seq = 99 WHERE device_id = %s", w.device[w.cid]
    ),
    "push_above_head": lambda w: sql(
        "INSERT INTO push_states (user_id, conversation_id, pushed_seq, pushed_devices, is_shown, attempts, reason)"
        " VALUES (%s, %s, 99, '{}', false, 0, '')",
        w.bob,
        w.group,
    ),
    "key_wrong": lambda w: sql("UPDATE send_keys SET seq = 77 WHERE message_id = %s", w.first),
    "key_missing": lambda w: sql("DELETE FROM send_keys WHERE message_id = %s", w.first),
    "status_orphan": lambda w: sql(
        "INSERT INTO delivery_statuses (message_id, user_id) VALUES (%s, %s)", w.first, uuid4()
    ),
    "status_missing": lambda w: sql(
        "DELETE FROM delivery_statuses WHERE message_id = %s AND user_id = %s", w.last, w.bob
    ),
    "watermark_behind": lambda w: sql(
        "UPDATE members SET delivered_seq = 0, read_seq = 0, public_read_seq = 0"
        " WHERE conversation_id = %s AND user_id = %s",
        w.direct,
        w.bob,
    ),
    "status_behind": lambda w: sql(
        "UPDATE delivery_statuses SET delivered_at = NULL WHERE message_id = %s AND user_id = %s", w.last, w.cid
    ),
    "push_missing": lose_push,
    "media_link_missing": lambda w: sql("DELETE FROM media_links WHERE message_id = %s", w.media),
    "media_link_stale": lambda w: sql("UPDATE media_links SET removed_at = NULL WHERE message_id = %s", w.deleted),
    "media_link_parked": lambda w: sql(
        "UPDATE media_links SET next_try_at = now() + interval '100 years' WHERE message_id = %s", w.media
    ),
    "key_orphan": lambda w: sql(
        "INSERT INTO send_keys (message_id, sender_id, client_random, fingerprint, conversation_id, seq, sent_at)"
        " VALUES (%s, %s, 9999, '', %s, 3, now())",
        new_id(),
        w.ann,
        w.group,
    ),
}
# Repaired with the time of the repair, or with a number that is not what it was.
NOT_AS_BEFORE = {
    "watermark_above_head",
    "watermark_behind",
    "status_behind",
    "status_missing",
    "push_missing",
    "media_link_missing",
    "media_link_stale",
    "media_link_parked",
}
TOLD_ONLY = {"gap", "time_order"}


def test_every_check_is_broken_somewhere():
    assert {check.name for check in (*CHECKS, KEY_ORPHAN)} == set(BREAKS) | TOLD_ONLY


def test_it_is_found_told_and_repaired():
    """All of them in one test: to empty the database for each takes longer than the rest."""
    for check, break_it in BREAKS.items():
        world = World()
        before = dump()
        break_it(world)
        broken = dump()
        told = run()
        assert told.found.get(check) == 1, (check, told)
        assert told.repaired == {}
        assert dump() == broken, check  # only told
        done = run(repair=True)
        assert done.repaired.get(check) == 1, (check, done)
        assert [one["check"] for one in done.examples].count(check) == 1
        again = run(repair=True)
        assert (again.found, again.repaired) == ({}, {}), check
        if check not in NOT_AS_BEFORE:
            assert dump() == before, check


def test_a_gap_is_told_and_nothing_is_invented(world: World):
    sql("DELETE FROM delivery_statuses WHERE message_id = %s", world.media)
    sql("DELETE FROM media_links WHERE message_id = %s", world.media)
    sql("DELETE FROM messages WHERE id = %s", world.media)
    count = Message.objects.filter(conversation=world.group).count()
    outcome = run(repair=True)
    assert outcome.found == {"gap": 1, "key_orphan": 1}
    assert outcome.repaired == {"key_orphan": 1}
    assert outcome.examples[0]["subject"] == "3"
    assert Message.objects.filter(conversation=world.group).count() == count
    assert run(repair=True).found == {"gap": 1}


def test_a_lost_end_is_a_gap_and_the_head_is_never_lowered(world: World):
    sql("UPDATE conversations SET last_seq = last_seq + 2 WHERE id = %s", world.group)
    head = world.head(world.group)
    outcome = run(repair=True)
    assert outcome.found == {"gap": 2}
    assert world.head(world.group) == head


def test_a_time_that_goes_back_is_told(world: World):
    sql("UPDATE messages SET sent_at = sent_at - interval '1 hour' WHERE id = %s", world.media)
    sql("UPDATE send_keys SET sent_at = sent_at - interval '1 hour' WHERE message_id = %s", world.media)
    assert run(repair=True).found == {"time_order": 1}


def test_a_key_that_was_made_again_knows_its_resend(world: World):
    fingerprint = bytes(SendKey.objects.get(message_id=world.media).fingerprint)
    sql("DELETE FROM send_keys WHERE message_id = %s", world.media)
    assert run(repair=True).repaired == {"key_missing": 1}
    assert bytes(SendKey.objects.get(message_id=world.media).fingerprint) == fingerprint


def test_a_key_that_nobody_can_make_again_is_told(world: World):
    sql("UPDATE messages SET expires_at = now() + interval '1 day' WHERE id = %s", world.first)
    sql("DELETE FROM send_keys WHERE message_id = %s", world.first)
    outcome = run(repair=True)
    assert (outcome.found, outcome.repaired) == ({"key_missing": 1}, {})


def test_keys_past_their_retention_are_not_missed(world: World):
    old = datetime.now(UTC) - timedelta(seconds=LIMITS.dedup_retention)
    Message.objects.update(sent_at=old)
    SendKey.objects.all().delete()
    assert "key_missing" not in run().found


def test_what_a_block_keeps_behind_is_no_fault(world: World):
    block_set(world.bob, world.ann, 10)
    withheld = world.send(world.direct, world.ann)
    world.ack(world.bob, world.direct, world.seq(withheld), read=True)
    assert DeliveryStatus.objects.get(message_id=withheld).delivered_at is None
    assert run(repair=True).found == {}


def test_a_dead_letter_of_a_link_is_left_to_staff(world: World):
    link = MediaLink.objects.get(message_id=world.media)
    BREAKS["media_link_parked"](world)
    DeadLetter.objects.create(kind="media_link", key=str(link.id), code="x")
    assert run(repair=True).found == {}


def test_large_logs_are_looked_at_in_windows(world: World, monkeypatch):
    monkeypatch.setattr(store, "BATCH_WEIGHT", 5)
    monkeypatch.setattr(store, "BATCH_CONVERSATIONS", 1)
    monkeypatch.setattr(store, "KEYS_BATCH", 2)
    whole = run()
    assert (whole.found, whole.conversations) == ({}, 2)
    assert whole.entries == world.head(world.group) + world.head(world.direct)
    for check in ("status_missing", "key_orphan", "media_link_missing", "head_time"):
        BREAKS[check](world)
    assert run(repair=True).repaired == dict.fromkeys(
        ("status_missing", "key_orphan", "media_link_missing", "head_time"), 1
    )
    assert run().found == {}


def test_one_conversation_alone(world: World):
    BREAKS["member_count"](world)
    assert run(conversation=world.direct).found == {}
    outcome = run(conversation=world.group)
    assert (outcome.found, outcome.conversations) == ({"member_count": 1}, 1)


def test_the_command_tells_and_its_exit_code_says_whether_something_is_left(world: World):
    out = StringIO()
    call_command("reconcile", stdout=out)
    assert "Nothing is wrong." in out.getvalue()
    BREAKS["member_count"](world)
    out = StringIO()
    with pytest.raises(CommandError, match="1 left"):
        call_command("reconcile", stdout=out)
    assert "member_count" in out.getvalue()
    assert str(world.group) in out.getvalue()
    out = StringIO()
    call_command("reconcile", repair=True, json=True, stdout=out)
    told = json.loads(out.getvalue())
    assert (told["found"], told["repaired"]) == ({"member_count": 1}, {"member_count": 1})


# --- on a schedule


def scheduled() -> int:
    return async_to_sync(service.reconcile_scheduled)()


def test_the_scheduled_pass_runs_once_an_interval_and_repairs(world: World):
    BREAKS["member_count"](world)
    assert scheduled() == world.head(world.group) + world.head(world.direct)
    (done,) = ReconcileRun.objects.all()
    assert (done.is_scheduled, done.found, done.repaired) == (True, {"member_count": 1}, {"member_count": 1})
    assert done.ended_at is not None
    assert scheduled() == 0
    long_ago = datetime.now(UTC) - timedelta(seconds=LIMITS.reconcile_interval_seconds + 60)
    ReconcileRun.objects.update(started_at=long_ago)
    assert scheduled() > 0
    assert ReconcileRun.objects.count() == 2


def test_a_pass_goes_on_where_the_last_run_stopped(world: World, monkeypatch):
    monkeypatch.setattr(service, "WORK_SECONDS", 0.0)
    monkeypatch.setattr(store, "BATCH_WEIGHT", 5)
    seen, runs = 0, 0
    while not ReconcileRun.objects.filter(ended_at__isnull=False).exists():
        seen += scheduled()
        runs += 1
        assert runs < 50
    assert runs > 3
    assert seen == world.head(world.group) + world.head(world.direct)
    assert ReconcileRun.objects.get().conversations == 2


def test_two_workers_do_not_do_one_pass_twice(world: World):
    first = store_claim()
    assert first is not None
    assert store_claim() is None
    assert ReconcileRun.objects.count() == 1
    # Its holder died: after its lease another goes on.
    ReconcileRun.objects.update(claimed_until=datetime.now(UTC) - timedelta(seconds=1))
    again = store_claim()
    assert again is not None
    assert again.id == first.id


def store_claim() -> Any:
    from delivery.store.reconcile_runs import run_claim

    return run_claim(LIMITS.reconcile_interval_seconds, 60.0, True)


def test_a_conversation_that_is_held_is_left_to_the_next_pass(world: World, monkeypatch):
    from whispr.kernel.errors import TemporaryUnavailable

    BREAKS["member_count"](world)
    monkeypatch.setattr(store, "findings_repair", lambda *_: (_ for _ in ()).throw(TemporaryUnavailable()))
    assert run(repair=True).repaired == {}
    monkeypatch.undo()
    assert run(repair=True).repaired == {"member_count": 1}
