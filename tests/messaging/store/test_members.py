"""What `messaging/store/members.py` promises, on a real PostgreSQL."""

from uuid import UUID, uuid4

import msgspec
import pytest

from messaging.events import Entry, MemberReceipt
from messaging.models import Conversation, Member, MemberSpan, Message
from messaging.store import members as store
from messaging.store.conversations import conversation_create, get_conversation
from whispr.kernel.errors import BadRequest, Forbidden, NotFound
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db


def metadata_of(entry: Entry) -> dict:
    return msgspec.json.decode(entry.metadata)


def group_of(creator: UUID, *others: UUID) -> UUID:
    return conversation_create(creator, "group", [creator, *others], b"{}", None).view.id


def roles_of(conversation_id: UUID) -> dict[UUID, str]:
    return dict(Member.objects.filter(conversation=conversation_id, left_seq=None).values_list("user_id", "role"))


def span_of(conversation_id: UUID, user: UUID) -> tuple[int, int | None]:
    return Member.objects.values_list("joined_seq", "left_seq").get(conversation=conversation_id, user_id=user)


def counts_of(conversation_id: UUID) -> tuple[int, int, int]:
    return Conversation.objects.values_list("last_seq", "members_version", "member_count").get(id=conversation_id)


def test_members_are_added_at_the_seq_of_their_entry():
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = group_of(ann)
    (entry,), members = store.members_add(ann, conversation_id, [bob, ann, cid, bob])
    assert (entry.seq, entry.type, entry.sender_id) == (2, "system", ann)
    assert metadata_of(entry) == {"event": "member_added", "userIds": [str(bob), str(cid)], "by": str(ann)}
    assert [(m.user_id, m.role, m.joined_seq) for m in members] == [
        (ann, "owner", 1),
        *((user, "member", 2) for user in sorted([bob, cid])),
    ]
    assert members == store.list_members(bob, conversation_id)
    assert counts_of(conversation_id) == (2, 2, 3)


def test_adding_members_again_changes_nothing():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    entries, members = store.members_add(ann, conversation_id, [bob])
    assert (entries, len(members)) == ((), 2)
    assert counts_of(conversation_id) == (1, 1, 2)


def test_who_may_add():
    ann, bob, cid, dan = uuid4(), uuid4(), uuid4(), uuid4()
    conversation_id = group_of(ann, bob, cid)
    store.member_update(ann, conversation_id, bob, "admin")
    with pytest.raises(Forbidden):
        store.members_add(cid, conversation_id, [dan])
    with pytest.raises(NotFound):
        store.members_add(dan, conversation_id, [dan])
    with pytest.raises(NotFound):
        store.members_add(ann, uuid4(), [dan])
    assert len(store.members_add(bob, conversation_id, [dan])[0]) == 1


def test_a_conversation_is_bounded():
    ann = uuid4()
    conversation_id = group_of(ann)
    Conversation.objects.update(member_count=LIMITS.members_per_conversation)
    with pytest.raises(BadRequest):
        store.members_add(ann, conversation_id, [uuid4()])
    assert Member.objects.count() == Message.objects.count() == 1


def test_a_removed_member_sees_the_entry_and_nothing_after():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    before = Member.objects.get(user_id=bob).changed_at
    (entry,) = store.member_remove(ann, conversation_id, bob)
    assert metadata_of(entry) == {"event": "member_removed", "userIds": [str(bob)], "by": str(ann)}
    assert span_of(conversation_id, bob) == (1, entry.seq) == (1, 2)
    assert counts_of(conversation_id) == (2, 2, 1)
    assert Member.objects.get(user_id=bob).changed_at > before
    for call in (store.list_members, store.list_receipts):
        with pytest.raises(NotFound):
            call(bob, conversation_id)


def test_who_may_remove():
    owner, admin, other_admin, bob, cid = (uuid4() for _ in range(5))
    conversation_id = group_of(owner, admin, other_admin, bob, cid)
    for user in (admin, other_admin):
        store.member_update(owner, conversation_id, user, "admin")
    for by, target in ((bob, cid), (bob, owner), (admin, owner), (admin, other_admin)):
        with pytest.raises(Forbidden):
            store.member_remove(by, conversation_id, target)
    with pytest.raises(NotFound):
        store.member_remove(owner, conversation_id, uuid4())
    with pytest.raises(NotFound):
        store.member_remove(uuid4(), conversation_id, bob)
    for by, target in ((admin, bob), (owner, admin), (cid, cid)):
        assert len(store.member_remove(by, conversation_id, target)) == 1
    assert roles_of(conversation_id) == {owner: "owner", other_admin: "admin"}


def test_an_owner_who_leaves_hands_over_first():
    owner, bob, cid, dan = (uuid4() for _ in range(4))
    conversation_id = group_of(owner, bob)
    store.members_add(owner, conversation_id, [cid])
    store.members_add(owner, conversation_id, [dan])
    store.member_update(owner, conversation_id, dan, "admin")
    handed, removed = store.member_remove(owner, conversation_id, owner)
    assert metadata_of(handed) == {"event": "conversation_updated", "by": str(owner), "roles": {str(dan): "owner"}}
    assert metadata_of(removed) == {"event": "member_removed", "userIds": [str(owner)], "by": str(owner)}
    assert (handed.seq, removed.seq) == (5, 6)
    assert roles_of(conversation_id) == {dan: "owner", bob: "member", cid: "member"}
    store.member_remove(dan, conversation_id, dan)  # without an admin, the oldest member
    assert roles_of(conversation_id) == {bob: "owner", cid: "member"}
    store.member_remove(cid, conversation_id, cid)
    (last,) = store.member_remove(bob, conversation_id, bob)
    assert roles_of(conversation_id) == {}
    assert counts_of(conversation_id) == (last.seq, 7, 0)


def test_a_returning_member_has_a_new_span_and_the_old_watermarks():
    ann, bob = uuid4(), uuid4()
    conversation_id = group_of(ann, bob)
    Member.objects.filter(user_id=bob).update(delivered_seq=1, read_seq=1, public_read_seq=1)
    store.member_update(ann, conversation_id, bob, "admin")
    store.member_remove(ann, conversation_id, bob)  # seq 3
    Message.objects.create(
        conversation_id=conversation_id, seq=4, sender_id=ann, message_type="text", sent_at="2026-01-01T00:00:00Z"
    )
    Conversation.objects.update(last_seq=4)
    (entry,), _ = store.members_add(ann, conversation_id, [bob])
    member = Member.objects.get(user_id=bob)
    assert (member.joined_seq, member.left_seq, member.role) == (entry.seq, None, "member") == (5, None, "member")
    assert (member.delivered_seq, member.read_seq, member.public_read_seq) == (1, 1, 1)
    assert list(MemberSpan.objects.values_list("user_id", "from_seq", "to_seq")) == [(bob, 1, 3)]
    assert get_conversation(bob, conversation_id).unread == 0  # seq 4 was never his to see
    store.member_remove(bob, conversation_id, bob)
    store.members_add(ann, conversation_id, [bob])
    assert list(MemberSpan.objects.order_by("from_seq").values_list("from_seq", "to_seq")) == [(1, 3), (5, 6)]


def test_roles_are_the_owners_to_give():
    ann, bob, cid = uuid4(), uuid4(), uuid4()
    conversation_id = group_of(ann, bob, cid)
    (entry,), member = store.member_update(ann, conversation_id, bob, "admin")
    assert metadata_of(entry) == {"event": "conversation_updated", "by": str(ann), "roles": {str(bob): "admin"}}
    assert (member.user_id, member.role) == (bob, "admin")
    assert store.member_update(ann, conversation_id, bob, "admin")[0] == ()
    refused: list[tuple[UUID, UUID, store.Role]] = [(bob, cid, "admin"), (bob, bob, "owner"), (ann, ann, "member")]
    for by, target, role in refused:
        with pytest.raises(Forbidden):
            store.member_update(by, conversation_id, target, role)
    with pytest.raises(NotFound):
        store.member_update(ann, conversation_id, uuid4(), "admin")
    (entry,), _ = store.member_update(ann, conversation_id, cid, "owner")
    assert metadata_of(entry)["roles"] == {str(cid): "owner", str(ann): "admin"}
    assert roles_of(conversation_id) == {ann: "admin", bob: "admin", cid: "owner"}
    assert counts_of(conversation_id) == (3, 1, 3)


def test_a_direct_conversation_keeps_its_two_members():
    ann, bob = uuid4(), uuid4()
    conversation_id = conversation_create(ann, "direct", [ann, bob], b"{}", None).view.id
    with pytest.raises(Forbidden):
        store.members_add(ann, conversation_id, [uuid4()])
    with pytest.raises(Forbidden):
        store.member_remove(ann, conversation_id, ann)
    with pytest.raises(Forbidden):
        store.member_update(ann, conversation_id, bob, "admin")
    with pytest.raises(NotFound):
        store.member_remove(uuid4(), conversation_id, ann)
    assert counts_of(conversation_id) == (1, 1, 2)


def test_receipts_of_others_are_what_they_let_know():
    ann, bob = sorted([uuid4(), uuid4()])
    conversation_id = group_of(ann, bob)
    Member.objects.update(delivered_seq=7, read_seq=5, public_read_seq=2)
    assert store.list_receipts(ann, conversation_id) == [MemberReceipt(ann, 7, 5), MemberReceipt(bob, 7, 2)]
    assert store.list_receipts(bob, conversation_id) == [MemberReceipt(ann, 7, 2), MemberReceipt(bob, 7, 5)]
    with pytest.raises(NotFound):
        store.list_receipts(uuid4(), conversation_id)
