"""Dead letters: what fails too often leaves the others alone, and comes back when staff say so."""

import os
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from delivery.models import DeadLetter
from delivery.services import dead_letters as service
from integrations.local.media import LocalMedia
from messaging.events import Actor
from messaging.models import Conversation, Device, MediaLink, Message, ScheduledMessage
from messaging.personal import ScheduleMessage
from messaging.services import expiry, media, scheduled
from messaging.store import expiry as expiry_store
from messaging.store.conversations import conversation_create
from messaging.store.media import AWAY_SECONDS
from whispr.kernel.errors import BadRequest, InvalidMedia, TemporaryUnavailable
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[3]
LETTERS = reverse("admin:delivery_deadletter_changelist")


@pytest.fixture(autouse=True)
def _settings(settings, tmp_path) -> None:
    settings.WHISPR_SIGNATURES = "off"
    settings.WHISPR_MEDIA_DIR = tmp_path
    settings.SECRET_KEY = "a key for the sessions of tests, of more than fifty characters"


@pytest.fixture
def kind() -> Any:
    """A kind whose rows are the keys of `there`; `asked` is what came back."""

    class Kind:
        there: set[str] = set()
        asked: list[list[str]] = []
        given_up: list[list[str]] = []

        async def requeue(self, keys: Sequence[str]) -> Collection[str]:
            self.asked.append(list(keys))
            return self.there & set(keys)

        async def discard(self, keys: Sequence[str]) -> Collection[str]:
            self.given_up.append(list(keys))
            return keys

    found = Kind()
    found.there, found.asked, found.given_up = set(), [], []
    service.dead_letter_kind("test", requeue=found.requeue, discard=found.discard)
    yield found
    service._kinds.pop("test")


def add(key: str = "1", code: str = "internal_error", detail: str = "ValueError") -> DeadLetter:
    async_to_sync(service.dead_letter_add)("test", key, code, detail)
    return DeadLetter.objects.get(kind="test", key=key)


def test_a_row_is_one_letter_however_often_it_fails(kind):
    first = add()
    assert (first.state, first.failures, first.detail) == ("waiting", 1, "ValueError")
    again = add(code="not_found", detail="")
    assert (again.id, again.failures, again.code) == (first.id, 2, "not_found")
    assert again.first_at == first.first_at < again.last_at


def test_requeued_it_is_settled_and_failing_again_it_waits_again(kind):
    kind.there = {"1"}
    one, two = add("1"), add("2")
    assert async_to_sync(service.dead_letters_requeue)([one.id, two.id, 10**9], "ann") == 1
    assert kind.asked == [["1", "2"]]
    assert dict(DeadLetter.objects.values_list("key", "state")) == {"1": "requeued", "2": "gone"}
    assert DeadLetter.objects.get(key="1").settled_by == "ann"
    assert async_to_sync(service.dead_letters_requeue)([one.id], "ann") == 0
    assert len(kind.asked) == 1
    again = add("1")
    assert (again.id, again.state, again.failures, again.settled_by) == (one.id, "waiting", 2, "")


def test_what_a_process_does_not_know_is_refused_and_stays(kind):
    DeadLetter.objects.create(kind="unheard-of", key="1", code="x")
    one = DeadLetter.objects.get()
    with pytest.raises(BadRequest):
        async_to_sync(service.dead_letters_requeue)([one.id])
    assert DeadLetter.objects.get().state == "waiting"


def test_a_requeue_that_fails_leaves_the_letter(kind):
    async def broken(keys: Sequence[str]) -> Collection[str]:
        raise TemporaryUnavailable

    one = add()
    service.dead_letter_kind("test", requeue=broken)
    with pytest.raises(TemporaryUnavailable):
        async_to_sync(service.dead_letters_requeue)([one.id])
    assert DeadLetter.objects.get().state == "waiting"


def test_only_what_was_settled_long_ago_is_purged(kind):
    old = datetime.now(UTC) - timedelta(seconds=LIMITS.dead_letter_retention + 60)
    one, two, three = add("1"), add("2"), add("3")
    DeadLetter.objects.filter(id=one.id).update(first_at=old, last_at=old)
    DeadLetter.objects.filter(id=two.id).update(state="discarded", settled_at=old)
    DeadLetter.objects.filter(id=three.id).update(state="discarded", settled_at=datetime.now(UTC))
    assert async_to_sync(service.dead_letters_purge)() == 1
    assert set(DeadLetter.objects.values_list("id", flat=True)) == {one.id, three.id}


# --- the admin


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


@pytest.mark.parametrize("process", ["whispr.asgi", "whispr.celery"])
def test_every_process_that_serves_the_admin_or_gives_up_knows_every_kind(process) -> None:
    """In a process of its own: this one has loaded whatever the tests before it needed."""
    named = set()
    for place in ("messaging/services", "delivery/services"):
        for path in (ROOT / place).rglob("*.py"):
            named |= set(re.findall(r"^dead_letter_kind\((.+?),", path.read_text(), re.MULTILINE))
    program = (
        f"import {process} as process; app = getattr(process, 'app', None)\n"
        "if app is not None: app.loader.import_default_modules()\n"
        "from delivery.services import dead_letters; print(len(dead_letters._kinds))"
    )
    needed = {"WHISPR_SECRET_KEY": "k" * 50, "WHISPR_JWT_SECRET": "s" * 50}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **needed}, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(named) >= 5


def test_staff_requeue_and_discard(staff: Client, kind):
    kind.there = {"1", "2"}
    one, two, three = add("1"), add("2"), add("3")
    answer = staff.post(LETTERS, {"action": "requeue", "_selected_action": [one.id, two.id]}, follow=True)
    assert "2 of 2 come back" in answer.content.decode()
    staff.post(LETTERS, {"action": "discard", "_selected_action": [three.id]})
    assert kind.asked == [["1", "2"]]
    assert kind.given_up == [["3"]]
    assert dict(DeadLetter.objects.values_list("key", "settled_by")) == {"1": "root", "2": "root", "3": "root"}
    listed = staff.get(LETTERS, {"state": "discarded"})
    assert [row.key for row in listed.context["cl"].result_list] == ["3"]


def test_who_may_only_look_decides_nothing(client: Client, kind):
    user = User.objects.create(username="looks", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    client.force_login(user)
    one = add()
    assert client.get(LETTERS).status_code == 200
    client.post(LETTERS, {"action": "requeue", "_selected_action": [one.id]})
    client.post(LETTERS, {"action": "delete_selected", "_selected_action": [one.id], "post": "yes"})
    assert DeadLetter.objects.get().state == "waiting"
    assert kind.asked == []


def test_the_page_of_a_letter_changes_nothing(staff: Client, kind):
    one = add()
    page = reverse("admin:delivery_deadletter_change", args=[one.id])
    shown = re.sub(r"<[^>]*>|\s+", " ", staff.get(page).content.decode())
    assert "internal_error" in shown
    assert staff.post(page, {"state": "discarded"}).status_code == 403


# --- who gives up


def link_of(conversation: Any, seq: int) -> MediaLink:
    message = Message.objects.create(
        conversation_id=conversation,
        seq=seq,
        sender_id=uuid4(),
        message_type="media",
        media_id=str(uuid4()),
        sent_at=datetime.now(UTC),
    )
    return MediaLink.objects.create(media_id=message.media_id, message_id=message.id, conversation_id=conversation)


@pytest.fixture
def conversation() -> Any:
    user = uuid4()
    return conversation_create(user, "group", [user], b"{}", None).view.id


def due() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE media_links SET next_try_at = now() WHERE next_try_at < now() + interval '1 year'")


@pytest.mark.parametrize("fault", [InvalidMedia(), ValueError("the secret of a client")])
def test_a_poisoned_link_is_given_up_and_costs_the_others_nothing(conversation, monkeypatch, fault):
    poisoned, fine = link_of(conversation, 2), link_of(conversation, 3)
    tried: list[str] = []

    async def link(self: Any, media_id: str, *_: object, **__: object) -> None:
        tried.append(media_id)
        if media_id == poisoned.media_id:
            raise fault

    monkeypatch.setattr(LocalMedia, "link_media_to_message", link)
    for _ in range(LIMITS.tries_max + 3):
        async_to_sync(media.media_links_settle)()
        due()
    assert tried.count(poisoned.media_id) == LIMITS.tries_max
    assert tried.count(fine.media_id) == 1
    letter = DeadLetter.objects.get()
    assert (letter.kind, letter.key) == ("media_link", str(poisoned.id))
    assert "secret" not in letter.detail + letter.code
    # Its cause is gone.
    monkeypatch.undo()
    monkeypatch.setattr(LocalMedia, "link_media_to_message", lambda *_, **__: _nothing())
    assert async_to_sync(service.dead_letters_requeue)([letter.id]) == 1
    assert async_to_sync(media.media_links_settle)() == 1
    assert MediaLink.objects.get(id=poisoned.id).linked_at is not None


async def _nothing() -> None:
    return None


def test_a_service_that_is_away_costs_no_try_and_is_asked_again_soon(conversation, monkeypatch):
    link_of(conversation, 2)

    async def away(*_: object, **__: object) -> None:
        raise TemporaryUnavailable

    monkeypatch.setattr(LocalMedia, "link_media_to_message", away)
    for _ in range(2 * LIMITS.tries_max):
        async_to_sync(media.media_links_settle)()
        waits = MediaLink.objects.get().next_try_at - datetime.now(UTC)
        assert timedelta() < waits <= timedelta(seconds=AWAY_SECONDS)
        due()
    assert not DeadLetter.objects.exists()
    monkeypatch.setattr(LocalMedia, "link_media_to_message", lambda *_, **__: _nothing())
    assert async_to_sync(media.media_links_settle)() == 1


def scheduled_by(conversation: Any, user: Any, number: int) -> ScheduledMessage:
    device, _ = Device.objects.get_or_create(user_id=user)
    request = ScheduleMessage(
        conversation_id=conversation,
        type="text",
        content="AAAA",
        client_random=number,
        scheduled_for=datetime.now(UTC) + timedelta(hours=1),
    )
    view, _ = async_to_sync(scheduled.scheduled_create)(Actor(user, device.id), request)
    ScheduledMessage.objects.filter(id=view.id).update(scheduled_for=datetime.now(UTC))
    return ScheduledMessage.objects.get(id=view.id)


def test_an_unreadable_scheduled_message_is_a_dead_letter_and_the_others_are_sent():
    user = uuid4()
    conversation = conversation_create(user, "group", [user], b"{}", None).view.id
    rows = [scheduled_by(conversation, user, number) for number in range(3)]
    whole = bytes(rows[0].request)
    ScheduledMessage.objects.filter(id=rows[0].id).update(request=b'{"half')
    assert async_to_sync(scheduled.scheduled_send_due)() == 3
    states = dict(ScheduledMessage.objects.values_list("id", "state"))
    assert states == {rows[0].id: "failed", rows[1].id: "sent", rows[2].id: "sent"}
    letter = DeadLetter.objects.get()
    assert (letter.kind, letter.key, letter.code) == ("scheduled", str(rows[0].id), "internal_error")
    # What made it unreadable is mended.
    ScheduledMessage.objects.filter(id=rows[0].id).update(request=whole)
    assert async_to_sync(service.dead_letters_requeue)([letter.id]) == 1
    assert async_to_sync(scheduled.scheduled_send_due)() == 1
    assert ScheduledMessage.objects.get(id=rows[0].id).state == "sent"
    assert Message.objects.filter(conversation=conversation, message_type="text").count() == 3


def test_a_conversation_whose_expiry_fails_does_not_keep_the_others(monkeypatch):
    user, past = uuid4(), datetime.now(UTC) - timedelta(seconds=5)
    conversations = [conversation_create(user, "group", [user], b"{}", None).view.id for _ in range(2)]
    for conversation in conversations:
        for seq in (2, 3, 4):
            Message.objects.create(
                conversation_id=conversation,
                seq=seq,
                sender_id=user,
                message_type="text",
                content=b"canary",
                sent_at=past,
                expires_at=past + timedelta(milliseconds=seq),
            )
        Conversation.objects.filter(id=conversation).update(last_seq=4, last_sent_at=past)
    whole = expiry_store.messages_expire

    def broken(conversation_id: Any, *args: Any) -> Any:
        if conversation_id == conversations[0]:
            raise ValueError("x")
        return whole(conversation_id, *args)

    monkeypatch.setattr(expiry_store, "messages_expire", broken)
    monkeypatch.setattr(expiry, "BATCH", 3)  # the broken ones come first and fill it
    assert async_to_sync(expiry.messages_expire)() == 3
    left = Message.objects.filter(content=b"canary").values_list("conversation_id", flat=True)
    assert set(left) == {conversations[0]}
    letter = DeadLetter.objects.get()
    assert (letter.kind, letter.key, letter.detail) == ("expiry", str(conversations[0]), "ValueError")
    monkeypatch.undo()
    assert async_to_sync(expiry.messages_expire)() == 3
