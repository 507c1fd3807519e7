"""The rows of media and the outbox of their links, on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from messaging.models import Media, MediaLink
from messaging.store.conversations import conversation_create
from messaging.store.deletions import message_delete
from messaging.store.log import Appended, NewEntry, entries_append
from messaging.store.media import (
    MEDIA_LEASE_SECONDS,
    get_media,
    is_media_leased,
    media_check,
    media_insert,
    media_link,
    media_link_retry,
    media_link_settle,
    media_links_claim,
    media_links_remove,
    media_remove_unused,
    parse_media_id,
)
from messaging.store.members import member_remove, members_add
from whispr.kernel.errors import InvalidMedia, NotFound, RateLimited
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db
GRACE = 24 * 3600.0


def medium_of(owner: UUID, size: int = 10) -> UUID:
    media_id = new_id()
    media_insert(media_id, owner, size, b"h" * 32)
    return media_id


def entry_of(conversation_id: UUID, sender: UUID, media_id: UUID, *, validated: bool = True, **fields) -> NewEntry:
    values = {
        "message_id": new_id(),
        "conversation_id": conversation_id,
        "sender_id": sender,
        "sender_device_id": uuid4(),
        "type": "media",
        "content": b"key",
        "metadata": b"{}",
        "client_random": 1,
        "fingerprint": b"f",
        "media_id": str(media_id),
        "media": media_check(sender, media_id) if validated else None,
    }
    return NewEntry(**(values | fields))


def sent(conversation_id: UUID, sender: UUID, media_id: UUID, **fields) -> Appended:
    (outcome,) = entries_append([entry_of(conversation_id, sender, media_id, **fields)])
    assert isinstance(outcome, Appended), outcome
    return outcome


def group_of(*users: UUID) -> UUID:
    return conversation_create(users[0], "group", list(users), b"{}", None).view.id


def age(media_id: UUID, seconds: float) -> None:
    moved = {"created_at": F("created_at") - timedelta(seconds=seconds)}
    Media.objects.filter(id=media_id).update(**moved, checked_at=F("checked_at") - timedelta(seconds=seconds))


def due() -> list[tuple[str, bool]]:
    return [(link.media_id, link.removed) for link in media_links_claim(10)]


@pytest.mark.parametrize("text", ["", "x", "a" * 36, "../../etc/passwd", str(uuid4()).upper(), uuid4().hex])
def test_an_id_is_what_was_given_out(text):
    assert parse_media_id(text) is None


def test_a_link_is_written_with_its_message_and_the_reply_carries_the_metadata():
    ann, bob = uuid4(), uuid4()
    conversation_id, media_id = group_of(ann, bob), medium_of(ann)
    outcome = sent(conversation_id, ann, media_id).outcome
    assert (outcome.media_metadata.media_id, outcome.media_metadata.size) == (str(media_id), 10)
    link = MediaLink.objects.get()
    assert (link.media_id, link.message_id, link.conversation_id) == (
        str(media_id),
        outcome.message_id,
        conversation_id,
    )
    assert link.linked_at is None
    again = sent(conversation_id, ann, media_id).outcome
    assert (again.status, again.message_id) == ("duplicate", outcome.message_id)
    assert MediaLink.objects.count() == 1


def test_a_medium_that_was_refused_is_refused_under_the_lock_but_not_to_a_resend():
    ann = uuid4()
    conversation_id, media_id = group_of(ann), medium_of(ann)
    (refused,) = entries_append([entry_of(conversation_id, ann, media_id, validated=False)])
    assert isinstance(refused, InvalidMedia)
    assert MediaLink.objects.count() == 0
    first = sent(conversation_id, ann, media_id).outcome
    assert sent(conversation_id, ann, media_id, validated=False).outcome.message_id == first.message_id
    (stranger,) = entries_append([entry_of(conversation_id, uuid4(), media_id, validated=False)])
    assert isinstance(stranger, NotFound)


def test_only_the_owner_may_send_it():
    ann, media_id = uuid4(), medium_of(owner := uuid4())
    assert media_check(ann, media_id) is None
    assert media_check(owner, uuid4()) is None
    assert media_check(owner, media_id).sha256 == b"h" * 32


def test_who_may_fetch_it():
    ann, bob, cid, eve = (uuid4() for _ in range(4))
    conversation_id, media_id = group_of(ann, bob, cid), medium_of(ann)
    assert get_media(ann, media_id) is not None
    assert get_media(bob, media_id) is None
    outcome = sent(conversation_id, ann, media_id).outcome
    members_add(ann, conversation_id, [eve])
    member_remove(ann, conversation_id, cid)
    # Who came later may not see the message, who was removed gets nothing any more.
    allowed = {
        name for name, user in {"ann": ann, "bob": bob, "cid": cid, "eve": eve}.items() if get_media(user, media_id)
    }
    assert allowed == {"ann", "bob"}
    message_delete(ann, outcome.message_id)
    assert [get_media(user, media_id) for user in (ann, bob)] == [None, None]


def test_an_expired_message_gives_its_medium_to_nobody():
    ann, bob = uuid4(), uuid4()
    conversation_id, media_id = group_of(ann, bob), medium_of(ann)
    outcome = sent(conversation_id, ann, media_id, ttl=60).outcome
    assert get_media(bob, media_id) is not None
    with connection.cursor() as cursor:
        cursor.execute("UPDATE messages SET expires_at = now() WHERE id = %s", [outcome.message_id])
    assert [get_media(user, media_id) for user in (ann, bob)] == [None, None]


def test_a_withheld_message_gives_its_medium_to_its_sender_alone():
    ann, bob = uuid4(), uuid4()
    conversation_id = conversation_create(ann, "direct", [ann, bob], b"{}", None).view.id
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO blocks (user_id, blocked_id, blocked_at) VALUES (%s, %s, now())", [ann, bob])
    media_id = medium_of(bob)
    assert sent(conversation_id, bob, media_id).outcome.media_metadata.size == 10
    assert get_media(bob, media_id) is not None
    assert get_media(ann, media_id) is None


def test_what_was_never_sent_goes_after_the_grace():
    removed: list[UUID] = []
    ann = uuid4()
    old, fresh, leased = (medium_of(ann) for _ in range(3))
    for one in (old, leased):
        age(one, GRACE + 60)
    media_check(ann, leased)
    assert media_remove_unused(removed.append, 10, GRACE) == 1
    assert removed == [old]
    assert set(Media.objects.values_list("id", flat=True)) == {fresh, leased}


def test_what_a_message_carries_stays_and_what_waits_for_its_time_too():
    ann = uuid4()
    conversation_id, carried, waiting = group_of(ann), medium_of(ann), medium_of(ann)
    sent(conversation_id, ann, carried)
    for one in (carried, waiting):
        age(one, GRACE + 60)
    media_check(ann, waiting, datetime.now(UTC) + timedelta(days=1))
    assert media_remove_unused(lambda _: None, 10, GRACE) == 0


def test_bytes_that_cannot_be_removed_keep_their_row():
    media_id = medium_of(uuid4())
    age(media_id, GRACE + 60)

    def fail(_: UUID) -> None:
        raise OSError("the disk is away")

    with pytest.raises(OSError):
        media_remove_unused(fail, 10, GRACE)
    assert Media.objects.filter(id=media_id).exists()


def test_the_last_link_takes_the_medium_with_it():
    ann = uuid4()
    removed: list[UUID] = []
    conversation_id, media_id = group_of(ann), medium_of(ann)
    messages = [sent(conversation_id, ann, media_id, client_random=n).outcome.message_id for n in (1, 2)]
    age(media_id, MEDIA_LEASE_SECONDS + 1)
    for message_id, expected in zip(messages, (0, 1), strict=True):
        message_delete(ann, message_id)
        assert media_remove_unused(removed.append, 1, 0.0, media_id) == expected
    assert removed == [media_id]


def test_a_medium_that_a_send_just_asked_for_is_not_taken_from_under_it():
    media_id = medium_of(ann := uuid4())
    age(media_id, GRACE + 60)
    media_check(ann, media_id)
    assert media_remove_unused(lambda _: None, 1, 0.0, media_id) == 0
    assert is_media_leased(media_id) is True
    assert is_media_leased(uuid4()) is False


def test_links_are_claimed_once_settled_retried_and_removed():
    ann = uuid4()
    conversation_id, media_id = group_of(ann), medium_of(ann)
    message_id = sent(conversation_id, ann, media_id).outcome.message_id
    (link,) = media_links_claim(10)
    assert (link.media_id, link.message_id, link.removed, link.attempts) == (str(media_id), message_id, False, 1)
    assert media_links_claim(10) == []
    assert media_link_retry(link) == 1.0
    MediaLink.objects.update(next_try_at=Now())
    (link,) = media_links_claim(10)
    assert (link.attempts, media_link_retry(link)) == (2, 2.0)
    MediaLink.objects.update(next_try_at=Now())
    (link,) = media_links_claim(10)
    assert media_link(media_id) is True
    media_link_settle(link)
    assert due() == []
    assert MediaLink.objects.get().linked_at is not None
    with connection.cursor() as cursor:
        media_links_remove(cursor, [message_id])
    (link,) = media_links_claim(10)
    assert link.removed is True
    media_link_settle(link)
    assert MediaLink.objects.count() == 0


def test_a_link_that_is_removed_while_it_is_told_is_told_again():
    ann = uuid4()
    conversation_id, media_id = group_of(ann), medium_of(ann)
    message_id = sent(conversation_id, ann, media_id).outcome.message_id
    (link,) = media_links_claim(10)
    message_delete(ann, message_id)
    media_link_settle(link)
    assert due() == [(str(media_id), True)]


def test_a_claim_that_nobody_settles_is_taken_over():
    ann = uuid4()
    sent(group_of(ann), ann, medium_of(ann))
    (link,) = media_links_claim(10)
    MediaLink.objects.update(next_try_at=Now())
    (again,) = media_links_claim(10)
    assert (again.id, again.attempts) == (link.id, 2)
    assert media_link_retry(link) == 1.0  # the first claim is over and changes nothing
    MediaLink.objects.filter(attempts=2, next_try_at__gt=Now() + timedelta(seconds=15)).get()


def test_a_user_stores_a_bounded_amount():
    ann = uuid4()
    medium_of(ann, LIMITS.media_waiting_bytes)
    with pytest.raises(RateLimited):
        medium_of(ann, 1)
    medium_of(uuid4(), 1)
    Media.objects.update(linked_at=Now())
    medium_of(ann, 1)
    Media.objects.filter(owner_id=ann).update(size=LIMITS.media_user_bytes)
    with pytest.raises(RateLimited):
        medium_of(ann, 1)
