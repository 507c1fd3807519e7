"""The tasks, by a real worker over a real broker; and the schedules that call them."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync
from celery.contrib.testing.worker import start_worker
from channels.layers import get_channel_layer
from django.apps import apps
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from messaging import tasks
from messaging.events import Actor
from messaging.fanout.bus import GROUP
from messaging.models import Conversation, Device, Message, ScheduledMessage, SendKey
from messaging.personal import ScheduleMessage
from messaging.services.scheduled import scheduled_create
from messaging.store.conversations import conversation_create
from whispr.celery import app
from whispr.kernel import task_loop
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)
schedules = import_module("messaging.migrations.0006_beat_schedules")


@pytest.fixture(autouse=True)
def _unsigned(settings) -> None:
    settings.WHISPR_SIGNATURES = "off"


@pytest.fixture
def worker() -> Iterator[Any]:
    """A worker of the very application that deployments run, taking what is on its own queue."""
    queue = f"test-{uuid4()}"
    with start_worker(app, pool="solo", perform_ping_check=False, queues=[queue], shutdown_timeout=20):
        yield queue
    task_loop.close()
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(queue)  # type: ignore[attr-defined]


def wait_until(holds: Callable[[], bool], seconds: float = 15) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.05)


def scheduled_by(user: UUID, device: UUID) -> UUID:
    conversation = conversation_create(user, "group", [user], b"{}", None).view.id
    Device.objects.create(id=device, user_id=user)
    request = ScheduleMessage(
        conversation_id=conversation,
        type="text",
        content="AAAA",
        client_random=1,
        scheduled_for=datetime.now(UTC) + timedelta(hours=1),
    )
    view, _ = async_to_sync(scheduled_create)(Actor(user, device), request)
    ScheduledMessage.objects.filter(id=view.id).update(scheduled_for=datetime.now(UTC))
    return conversation


def test_a_worker_sends_what_is_due_once_however_often_it_is_called(worker):
    user = uuid4()
    conversation = scheduled_by(user, uuid4())
    heard: list[Any] = []

    async def hear() -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(GROUP, channel)
        for _ in range(3):
            tasks.send_due_scheduled.apply_async(queue=worker)
        while sum(len(message["news"]) for message in heard) < 2:
            heard.append(await layer.receive(channel))
        await layer.flush()

    async_to_sync(hear)()
    assert {news[0] for message in heard for news in message["news"]} == {"e", "u"}
    wait_until(lambda: ScheduledMessage.objects.get().state == "sent")
    tasks.send_due_scheduled.apply_async(queue=worker)
    time.sleep(0.5)
    assert Message.objects.filter(conversation=conversation, message_type="text").count() == 1


def test_a_worker_purges_keys_past_their_retention(worker):
    def key(age: timedelta) -> SendKey:
        sent_at = datetime.now(UTC) - age
        id_ = UUID(int=(int(sent_at.timestamp() * 1000) << 80) | 0x7 << 76 | uuid4().int >> 64)
        return SendKey(
            message_id=id_,
            sender_id=uuid4(),
            client_random=1,
            fingerprint=b"",
            conversation_id=uuid4(),
            seq=1,
            sent_at=sent_at,
        )

    retention = timedelta(seconds=LIMITS.dedup_retention)
    kept = [key(timedelta()), key(retention - timedelta(minutes=1))]
    SendKey.objects.bulk_create([*kept, key(retention + timedelta(minutes=1)), key(2 * retention)])
    tasks.purge_send_keys.apply_async(queue=worker)
    wait_until(lambda: SendKey.objects.count() == 2)
    assert set(SendKey.objects.values_list("message_id", flat=True)) == {one.message_id for one in kept}


def test_a_worker_erases_what_expired_once_however_often_it_is_called(worker):
    user = uuid4()
    conversation = conversation_create(user, "group", [user], b"{}", None).view.id
    past = datetime.now(UTC) - timedelta(seconds=1)
    Message.objects.create(
        conversation_id=conversation,
        seq=2,
        sender_id=user,
        message_type="text",
        content=b"canary",
        sent_at=past - timedelta(minutes=1),
        expires_at=past,
    )
    Conversation.objects.filter(id=conversation).update(last_seq=2, last_sent_at=past)
    for _ in range(3):
        tasks.expire_messages.apply_async(queue=worker)
    wait_until(lambda: Conversation.objects.get(id=conversation).last_seq == 3)
    tasks.expire_messages.apply_async(queue=worker)
    time.sleep(0.5)
    log = Message.objects.filter(conversation=conversation).order_by("seq")
    assert [(bytes(one.content), one.metadata.get("event")) for one in log] == [
        (b"", "conversation_created"),
        (b"", None),
        (b"", "message_expired"),
    ]


def test_a_retention_under_a_day_is_a_day():
    sent_at = datetime.now(UTC) - timedelta(hours=23)
    SendKey.objects.create(
        message_id=UUID(int=int(sent_at.timestamp() * 1000) << 80),
        sender_id=uuid4(),
        client_random=1,
        fingerprint=b"",
        conversation_id=uuid4(),
        seq=1,
        sent_at=sent_at,
    )
    from messaging.store.send_keys import send_keys_purge

    assert send_keys_purge(0, 10) == 0


def test_rows_that_ended_long_ago_are_purged():
    scheduled_by(uuid4(), uuid4())
    assert tasks.send_due_scheduled() == 1
    assert tasks.purge_scheduled() == 0
    long_ago = datetime.now(UTC) - timedelta(seconds=LIMITS.dedup_retention + 60)
    ScheduledMessage.objects.update(fired_at=long_ago)
    assert tasks.purge_scheduled() == 1
    task_loop.close()


def test_the_schedules_are_rows_that_staff_may_change():
    PeriodicTask.objects.all().delete()
    IntervalSchedule.objects.all().delete()
    schedules.schedules_create(apps, None)
    found = {task.name: (task.task, str(task.interval)) for task in PeriodicTask.objects.select_related("interval")}
    assert found["messaging-send-due-scheduled"] == ("messaging.tasks.send_due_scheduled", "every 2 seconds")
    assert set(found) == set(schedules.SCHEDULES)
    PeriodicTask.objects.filter(name="messaging-send-due-scheduled").update(enabled=False)
    schedules.schedules_create(apps, None)
    assert PeriodicTask.objects.count() == len(schedules.SCHEDULES)
    assert not PeriodicTask.objects.get(name="messaging-send-due-scheduled").enabled
    schedules.schedules_delete(apps, None)
    assert PeriodicTask.objects.count() == 0


def test_every_scheduled_task_exists():
    app.loader.import_default_modules()
    assert {task for task, *_ in schedules.SCHEDULES.values()} <= set(app.tasks)
