"""What `messaging/store/conversations.py` promises, on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from messaging.events import Entry
from messaging.models import Conversation, Member, Message
from messaging.store import conversations as store
from messaging.store.deletions import message_hide
from whispr.kernel.errors import BadRequest, Forbidden, NotFound, TooLarge
from whispr.kernel.ids import new_id

pytestmark = pytest.mark.django_db


def metadata_of(entry: Entry) -> dict:
    return msgspec.json.decode(entry.metadata)


def group_of(creator: UUID, *others: UUID, conversation_id: UUID | None = None, settings: bytes = b"{}"):
    return store.conversation_create(creator, "group", [creator, *others], settings, conversation_id)


def direct_of(one: UUID, other: UUID, conversation_id: UUID | None = None):
    return store.conversation_create(one, "direct", [one, other], b"{}", conversation_id)


def message_of(conversation_id: UUID, sender: UUID, kind: str = "text", **fields) -> Message:
    """One entry at the end of the log, as the append writes it."""
    conversation = Conversation.objects.get(id=conversation_id)
    conversation.last_seq += 1
    conversation.save()
    return Message.objects.create(
        conversation=conversation,
        seq=conversation.last_seq,
        sender_id=sender,
        message_type=kind,
        content=b"x",
        sent_at=datetime.now(UTC),
        **fields,
    )


def test_a_group_begins_with_its_first_entry():
    ann, bob = uuid4(), uuid4()
    view, entries = group_of(ann, bob, settings=b'{"color":"red"}')
    assert (view.type, view.last_seq, view.unread, view.members_version, view.member_count) == ("group", 1, 0, 1, 2)
    assert (view.role, view.joined_seq, view.created_by, view.peer_id) == ("owner", 1, ann, None)
    assert view.settings == {"color": "red"}
    (entry,) = entries
    assert (entry.seq, entry.type, entry.sender_id, entry.content) == (1, "system", ann, b"")
    assert metadata_of(entry) == {"event": "conversation_created", "by": str(ann), "userIds": [str(ann), str(bob)]}
    assert list(
        Member.objects.filter(conversation=view.id)
        .order_by("id")
        .values_list("user_id", "role", "joined_seq", "left_seq")
    ) == [(ann, "owner", 1, None), (bob, "member", 1, None)]
    assert list(Message.objects.filter(conversation=view.id).values_list("seq", "id")) == [(1, entry.message_id)]


def test_a_pair_has_one_direct_conversation_for_both():
    ann, bob = uuid4(), uuid4()
    first = direct_of(ann, bob)
    again, other_side = direct_of(ann, bob), direct_of(bob, ann, new_id())
    assert len(first.entries) == 1
    assert again.entries == other_side.entries == ()
    assert first.view.id == again.view.id == other_side.view.id
    assert (first.view.peer_id, other_side.view.peer_id) == (bob, ann)
    assert (first.view.role, other_side.view.role) == ("member", "member")
    assert Conversation.objects.count() == 1
    assert Message.objects.count() == 1


def test_a_group_with_the_same_id_and_members_is_the_same_group():
    ann, bob, chosen = uuid4(), uuid4(), new_id()
    first, again = group_of(ann, bob, conversation_id=chosen), group_of(ann, bob, conversation_id=chosen)
    assert first.view == again.view
    assert first.view.id == chosen
    assert again.entries == ()


def test_a_taken_id_is_refused():
    ann, bob, chosen = uuid4(), uuid4(), new_id()
    group_of(ann, bob, conversation_id=chosen)
    with pytest.raises(Forbidden):  # other members
        group_of(ann, conversation_id=chosen)
    with pytest.raises(Forbidden):  # another creator, who is a member
        group_of(bob, ann, conversation_id=chosen)
    with pytest.raises(Forbidden):  # another type
        direct_of(ann, bob, chosen)
    with pytest.raises(NotFound):  # a stranger learns nothing of it
        group_of(uuid4(), conversation_id=chosen)
    assert Conversation.objects.count() == 1
    assert Message.objects.count() == 1


def test_only_members_see_it():
    ann = uuid4()
    view = group_of(ann).view
    assert store.get_conversation(ann, view.id) == view
    with pytest.raises(NotFound):
        store.get_conversation(uuid4(), view.id)
    with pytest.raises(NotFound):
        store.get_conversation(ann, uuid4())


def test_the_list_is_paged_by_id_and_complete():
    ann, bob = uuid4(), uuid4()
    ids = [group_of(ann).view.id for _ in range(5)]
    group_of(bob)
    page = store.list_conversations(ann, 2)
    rest = store.list_conversations(ann, 10, page[-1].id)
    assert [view.id for view in page + rest] == sorted(ids, reverse=True)
    store.conversation_delete(ann, ids[0])
    assert [view.id for view in store.list_conversations(ann, 10)] == sorted(ids[1:], reverse=True)


def test_unread_counts_what_others_sent_and_is_readable():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob).view.id
    now = datetime.now(UTC)
    read = message_of(conversation_id, ann)
    message_of(conversation_id, ann)
    message_of(conversation_id, ann, "media")
    message_of(conversation_id, ann, "ephemeral", expires_at=now + timedelta(hours=1))
    message_of(conversation_id, ann, "ephemeral", expires_at=now - timedelta(seconds=1))
    message_of(conversation_id, ann, is_deleted=True)
    message_of(conversation_id, ann, "edit", target_id=read.id)
    message_of(conversation_id, ann, "reaction", target_id=read.id)
    message_of(conversation_id, bob)
    Member.objects.filter(user_id=bob).update(delivered_seq=read.seq, read_seq=read.seq)
    assert store.get_conversation(bob, conversation_id).unread == 3
    assert store.get_conversation(ann, conversation_id).unread == 1
    assert [view.unread for view in store.list_conversations(bob, 10)] == [3]


def test_unread_leaves_out_what_the_user_deleted_for_themselves():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob).view.id
    ids = [message_of(conversation_id, ann).id for _ in range(4)]
    message_hide(bob, ids[1])
    assert store.get_conversation(bob, conversation_id).unread == 3
    message_hide(bob, ids[2])
    assert [view.unread for view in store.list_conversations(bob, 10)] == [2]
    # What another user hides is that user's matter, and what was read before it was hidden changes nothing.
    message_hide(ann, ids[3])
    Member.objects.filter(user_id=bob).update(delivered_seq=3, read_seq=3)
    assert store.get_conversation(bob, conversation_id).unread == 1


def test_unread_stops_counting_at_its_bound():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob).view.id
    Message.objects.bulk_create(
        Message(conversation_id=conversation_id, seq=seq, sender_id=ann, message_type="text", sent_at=datetime.now(UTC))
        for seq in range(2, store.UNREAD_SCAN + 12)
    )
    assert store.get_conversation(bob, conversation_id).unread == store.UNREAD_SCAN


def test_settings_change_key_by_key():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob, settings=b'{"a":1,"b":2}').view.id
    view, (entry,) = store.conversation_update(ann, conversation_id, {"b": None, "c": {"d": [True]}})
    assert view.settings == {"a": 1, "c": {"d": [True]}}
    assert (entry.seq, view.last_seq, view.members_version) == (2, 2, 1)
    assert metadata_of(entry) == {"event": "conversation_updated", "by": str(ann), "settings": view.settings}
    same, entries = store.conversation_update(ann, conversation_id, {"a": 1, "zzz": None})
    assert (same, entries) == (view, ())


def test_settings_are_bounded_and_the_managers():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob).view.id
    with pytest.raises(Forbidden):
        store.conversation_update(bob, conversation_id, {"a": 1})
    with pytest.raises(NotFound):
        store.conversation_update(uuid4(), conversation_id, {"a": 1})
    with pytest.raises(BadRequest):
        store.conversation_update(ann, conversation_id, {"a": "\x00"})
    store.conversation_update(ann, conversation_id, {"a": "x" * 3_000})
    with pytest.raises(TooLarge):  # together
        store.conversation_update(ann, conversation_id, {"b": "x" * 3_000})
    assert store.get_conversation(ann, conversation_id).last_seq == 2
    direct = direct_of(ann, bob).view.id
    assert store.conversation_update(bob, direct, {"a": 1})[0].settings == {"a": 1}


def test_deleting_a_group_removes_everybody_in_one_entry():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob).view.id
    with pytest.raises(Forbidden):
        store.conversation_delete(bob, conversation_id)
    (entry,) = store.conversation_delete(ann, conversation_id)
    assert metadata_of(entry) == {"event": "member_removed", "userIds": sorted([str(ann), str(bob)]), "by": str(ann)}
    assert set(Member.objects.values_list("user_id", "left_seq")) == {(ann, 2), (bob, 2)}
    conversation = Conversation.objects.get()
    assert (conversation.last_seq, conversation.members_version, conversation.member_count) == (2, 2, 0)
    assert conversation.deleted_at is not None
    for call in (store.conversation_delete, store.get_conversation):
        with pytest.raises(NotFound):
            call(ann, conversation_id)


def test_a_direct_conversation_stays():
    ann, bob = uuid4(), uuid4()
    conversation_id = direct_of(ann, bob).view.id
    with pytest.raises(Forbidden):
        store.conversation_delete(ann, conversation_id)
    with pytest.raises(NotFound):
        store.conversation_delete(uuid4(), conversation_id)
