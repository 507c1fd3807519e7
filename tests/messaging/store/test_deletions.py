"""Deletions against everything that happens at the same moment: what is deleted has no content, whoever came first."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection

from delivery.store.receipts import NewReceipt, receipts_write
from messaging.events import WithheldEntry
from messaging.models import Conversation, Message, Reaction
from messaging.store.deletions import message_delete
from messaging.store.entries import Position, get_log_page
from messaging.store.expiry import messages_expire
from messaging.store.log import Appended, entries_append
from tests.messaging.store.test_log import append, entry_of, group_of
from tests.messaging.store.test_targets import edit_of, reaction_of, said, withhold
from whispr.kernel import database
from whispr.kernel.errors import EditConflict, InvalidTarget

ROUNDS = 30


@pytest.mark.django_db(transaction=True)
def test_an_edit_a_reaction_and_a_deletion_at_once_leave_nothing():
    ann, bob = uuid4(), uuid4()
    conversation = group_of(ann, bob)
    with ThreadPoolExecutor(3) as threads:
        for number in range(ROUNDS):
            target = said(conversation, ann, content=b"canary %d" % number)
            items = [edit_of(conversation, ann, target, b"canary e%d" % number)]
            items.append(reaction_of(conversation, bob, target, "x"))
            work = [threads.submit(database.call, entries_append, [item]) for item in items]
            work.insert(number % 3, threads.submit(database.call, message_delete, ann, target))
            for done in work:
                result = done.result()
                if isinstance(result, list):
                    assert isinstance(result[0], Appended | EditConflict | InvalidTarget), result
    assert Message.objects.exclude(message_type="system").exclude(content=b"").count() == 0
    assert Reaction.objects.count() == 0
    seqs = list(Message.objects.filter(conversation=conversation).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, Conversation.objects.get(id=conversation).last_seq + 1))
    assert Message.objects.filter(message_type="system").count() == ROUNDS + 1


@pytest.mark.django_db(transaction=True)
def test_deletions_and_the_worker_at_once_tell_once():
    ann = uuid4()
    conversation = group_of(ann)
    with ThreadPoolExecutor(4) as threads:
        for _ in range(ROUNDS):
            target = said(conversation, ann, ttl=60)
            Message.objects.filter(id=target).update(expires_at=Message.objects.get(id=target).sent_at)
            work = [threads.submit(database.call, message_delete, ann, target) for _ in range(2)]
            work += [threads.submit(database.call, messages_expire, conversation, [target], True) for _ in range(2)]
            assert sum(len(done.result() or ()) for done in work) == 1
    assert Conversation.objects.get(id=conversation).last_seq == 1 + 2 * ROUNDS


@pytest.mark.django_db(transaction=True)
def test_what_is_appended_while_the_time_starts_expires_with_its_message():
    ann, bob = uuid4(), uuid4()
    conversation = group_of(ann, bob)
    with ThreadPoolExecutor(3) as threads:
        for _ in range(ROUNDS):
            (one,) = append(entry_of(conversation, ann, ttl=60, from_reading=True))
            target, seq = one.outcome.message_id, one.outcome.seq
            assert seq is not None
            read = NewReceipt(bob, uuid4(), conversation, seq, True)
            changes = [edit_of(conversation, ann, target), reaction_of(conversation, bob, target, "x")]
            work = [threads.submit(database.call, entries_append, [item]) for item in changes]
            threads.submit(database.call, _read, bob, read).result()
            assert all(isinstance(done.result()[0], Appended) for done in work)
            moments = set(Message.objects.filter(target_id=target).values_list("expires_at", flat=True)) | {
                Message.objects.get(id=target).expires_at
            }
            assert len(moments) == 1
            (moment,) = moments
            assert moment is not None
            assert moment - Message.objects.get(id=target).sent_at < timedelta(hours=1)


def _read(user_id: UUID, receipt: NewReceipt) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO devices (id, user_id, name, platform, push_token) VALUES (%s, %s, '', '', '')",
            [receipt.device_id, user_id],
        )
    receipts_write([receipt])


@pytest.mark.django_db
def test_the_deletion_of_what_was_withheld_is_withheld():
    ann, bob = uuid4(), uuid4()
    conversation = group_of(ann, bob)
    target = said(conversation, ann)
    withhold(target)
    (entry,) = message_delete(ann, target)
    assert isinstance(entry, WithheldEntry)
    blank = get_log_page(bob, [Position(conversation, 2)], 10, 2**30).entries[0]
    assert str(target).encode() not in bytes(blank.metadata)
    assert str(target).encode() in bytes(get_log_page(ann, [Position(conversation, 2)], 10, 2**30).entries[0].metadata)
