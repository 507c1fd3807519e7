"""Edits and reactions inside one batch: each is decided by what the ones before it leave behind."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from delivery.models import DeliveryStatus
from messaging.events import MessageView
from messaging.models import Conversation, Message, Reaction, SendKey
from messaging.store.deletions import message_delete
from messaging.store.entries import get_entry, list_history
from messaging.store.log import Appended, NewEntry, entries_append
from tests.messaging.store.test_log import append, entry_of, group_of
from whispr.kernel.batch import Busy
from whispr.kernel.errors import EditConflict, Forbidden, InvalidTarget, NotFound

pytestmark = pytest.mark.django_db


def edit_of(conversation_id: UUID, sender: UUID, target: UUID, content: bytes = b"edit", **fields: Any) -> NewEntry:
    return entry_of(conversation_id, sender, content, type="edit", target=target, **fields)


def reaction_of(conversation_id: UUID, sender: UUID, target: UUID, emoji: str, *, remove: bool = False) -> NewEntry:
    key = f"{emoji}{remove}{target}{uuid4()}".encode()
    return entry_of(
        conversation_id, sender, b"", type="reaction", target=target, emoji=emoji, remove=remove, fingerprint=key
    )


def said(conversation_id: UUID, sender: UUID, **fields: Any) -> UUID:
    return append(entry_of(conversation_id, sender, **fields))[0].outcome.message_id


def kinds(outcomes: Sequence[Appended | Exception | Busy]) -> list[str | type]:
    return [one.outcome.status if isinstance(one, Appended) else type(one) for one in outcomes]


def view_of(user: UUID, message_id: UUID) -> MessageView:
    view = get_entry(user, message_id)
    assert view is not None
    return view


def test_edits_in_one_batch_see_each_other():
    ann = uuid4()
    conversation = group_of(ann)
    target = said(conversation, ann)
    first = edit_of(conversation, ann, target, b"one", base_id=target)
    second = edit_of(conversation, ann, target, b"two", base_id=target)
    third = edit_of(conversation, ann, target, b"three", base_id=first.message_id)
    assert kinds(entries_append([first, second, third])) == ["sent", EditConflict, "sent"]
    view = view_of(ann, target)
    assert (view.content, view.edit and view.edit.message_id) == (b"three", third.message_id)
    assert Conversation.objects.get(id=conversation).last_seq == 4


def test_a_message_and_what_changes_it_do_not_fit_one_batch_before_the_message_is_there():
    ann = uuid4()
    conversation = group_of(ann)
    message = entry_of(conversation, ann)
    assert kinds(entries_append([message, edit_of(conversation, ann, message.message_id)])) == ["sent", InvalidTarget]


def test_reactions_in_one_batch_see_each_other():
    ann, bob = uuid4(), uuid4()
    conversation = group_of(ann, bob)
    target = said(conversation, ann)
    items = [
        reaction_of(conversation, ann, target, "a"),
        reaction_of(conversation, ann, target, "a"),
        reaction_of(conversation, bob, target, "a"),
        reaction_of(conversation, ann, target, "a", remove=True),
        reaction_of(conversation, ann, target, "a", remove=True),
        reaction_of(conversation, ann, target, "b"),
        reaction_of(conversation, ann, target, "b", remove=True),
        reaction_of(conversation, ann, target, "b"),
    ]
    outcomes = entries_append(items)
    # What one user does with one emoji is what the last of it says: the others write nothing.
    expected = ["duplicate", "duplicate", "sent", "duplicate", "duplicate", "duplicate", "duplicate", "sent"]
    assert kinds(outcomes) == expected
    assert set(Reaction.objects.values_list("user_id", "emoji")) == {(bob, "a"), (ann, "b")}
    assert Conversation.objects.get(id=conversation).last_seq == 4
    # All of them again: the same answers, and nothing more in the log.
    again = entries_append(items)
    for one, other in zip(outcomes, again, strict=True):
        assert isinstance(one, Appended)
        assert isinstance(other, Appended)
        assert other.entry is None
        assert (one.outcome.message_id, one.outcome.seq) == (other.outcome.message_id, other.outcome.seq)
    assert Conversation.objects.get(id=conversation).last_seq == 4
    assert SendKey.objects.filter(seq=0).count() == 6


def test_a_refused_change_takes_no_seq_from_the_others():
    ann, bob = uuid4(), uuid4()
    conversation, other = group_of(ann, bob), group_of(ann, bob)
    target = said(conversation, ann)
    items = [
        entry_of(conversation, bob),
        edit_of(conversation, bob, target),
        edit_of(other, ann, target),
        edit_of(conversation, uuid4(), target),
        edit_of(conversation, ann, target),
        entry_of(conversation, bob),
    ]
    assert kinds(entries_append(items)) == ["sent", Forbidden, InvalidTarget, NotFound, "sent", "sent"]
    assert list(Message.objects.filter(conversation=conversation).values_list("seq", flat=True).order_by("seq")) == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_what_changes_a_message_has_no_statuses_of_its_own():
    ann, bob = uuid4(), uuid4()
    conversation = group_of(ann, bob)
    target = said(conversation, ann)
    append(edit_of(conversation, ann, target), reaction_of(conversation, ann, target, "a"))
    assert list(DeliveryStatus.objects.values_list("message_id", flat=True)) == [target]


def test_what_changes_a_message_expires_with_it():
    ann = uuid4()
    conversation = group_of(ann)
    target = said(conversation, ann, ttl=60)
    outcomes = append(edit_of(conversation, ann, target), reaction_of(conversation, ann, target, "a"))
    expires_at = Message.objects.get(id=target).expires_at
    assert expires_at is not None
    assert [one.outcome.expires_at for one in outcomes] == [expires_at] * 2
    assert set(Message.objects.filter(target_id=target).values_list("expires_at", flat=True)) == {expires_at}


def test_the_window_is_measured_by_the_databases_clock():
    ann = uuid4()
    conversation = group_of(ann)
    target = said(conversation, ann)
    Message.objects.filter(id=target).update(sent_at=Message.objects.get(id=target).sent_at - timedelta(hours=23))
    assert kinds(entries_append([edit_of(conversation, ann, target)])) == ["sent"]
    Message.objects.filter(id=target).update(sent_at=Message.objects.get(id=target).sent_at - timedelta(hours=1))
    assert kinds(entries_append([edit_of(conversation, ann, target)])) == [EditConflict]


def test_a_deleted_message_takes_no_change():
    ann = uuid4()
    conversation = group_of(ann)
    target = said(conversation, ann)
    assert len(message_delete(ann, target)) == 1
    assert message_delete(ann, target) == ()
    items = [edit_of(conversation, ann, target), reaction_of(conversation, ann, target, "a")]
    assert kinds(entries_append(items)) == [EditConflict, InvalidTarget]
    assert kinds(entries_append([entry_of(conversation, ann, reply_to=target)])) == [InvalidTarget]


def withhold(*message_ids: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE messages SET withheld = true WHERE id = ANY(%s)", [list(message_ids)])


def test_what_is_withheld_from_a_reader_does_not_show_in_the_state_either():
    ann, bob = uuid4(), uuid4()
    conversation = group_of(ann, bob)
    target = said(conversation, ann)
    seen = edit_of(conversation, ann, target, b"seen")
    kept = edit_of(conversation, ann, target, b"kept from bob")
    reaction = reaction_of(conversation, ann, target, "a")
    append(seen, kept, reaction)
    withhold(kept.message_id, reaction.message_id)
    assert (view_of(bob, target).content, view_of(bob, target).reactions) == (b"seen", ())
    mine = view_of(ann, target)
    assert (mine.content, [one.emoji for one in mine.reactions]) == (b"kept from bob", ["a"])
    history = list_history(bob, conversation, None, None, 50, 2**30)[0]
    assert history is not None
    assert [(one.seq, one.type, one.content) for one in history][1:] == [
        (2, "text", b"seen"),
        (3, "edit", b"seen"),
        (4, "system", b""),
        (5, "system", b""),
    ]
