"""Beats and workers as real processes: two of each do nothing twice, one that dies loses nothing."""

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from messaging.events import Actor
from messaging.models import Device, Message, ScheduledMessage
from messaging.personal import ScheduleMessage
from messaging.services.scheduled import scheduled_create
from messaging.store.conversations import conversation_create
from tests.own_redis import OwnRedis
from tests.whispr.celery_processes import CeleryProcess, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.e2e]
SEND_DUE = "messaging-send-due-scheduled"


@pytest.fixture
def redis() -> Iterator[OwnRedis]:
    own = OwnRedis()
    own.start()
    yield own
    own.close()


@pytest.fixture
def run(redis: OwnRedis, settings: Any) -> Iterator[Any]:
    """`run("worker")`, `run("beat")`: ended with the test. The only schedule is that of scheduled messages."""
    settings.WHISPR_SIGNATURES = "off"
    PeriodicTask.objects.all().delete()
    import_module("messaging.migrations.0006_beat_schedules").schedules_create(apps, None)
    PeriodicTask.objects.exclude(name=SEND_DUE).delete()
    started: list[CeleryProcess] = []

    def run(role: str, **environment: str) -> CeleryProcess:
        started.append(CeleryProcess(role, redis.url, **environment))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


class People:
    """One user's scheduled messages in one group."""

    def __init__(self) -> None:
        self.user = uuid4()
        self.device = Device.objects.create(user_id=self.user)
        self.conversation: UUID = conversation_create(self.user, "group", [self.user], b"{}", None).view.id
        self.count = 0

    def schedule(self, count: int) -> None:
        for _ in range(count):
            self.count += 1
            request = ScheduleMessage(
                conversation_id=self.conversation,
                type="text",
                content="AAAA",
                client_random=self.count,
                scheduled_for=datetime.now(UTC) + timedelta(hours=1),
            )
            async_to_sync(scheduled_create)(Actor(self.user, self.device.id), request)
        ScheduledMessage.objects.filter(state="scheduled").update(scheduled_for=datetime.now(UTC))

    def sent(self) -> int:
        return Message.objects.filter(conversation=self.conversation, message_type="text").count()

    def all_once(self) -> bool:
        seqs = Message.objects.filter(conversation=self.conversation).order_by("seq").values_list("seq", flat=True)
        return self.sent() == self.count and list(seqs) == list(range(1, self.count + 2))


def test_two_beats_and_two_workers_do_nothing_twice(run: Any) -> None:
    people = People()
    workers = [run("worker") for _ in range(2)]
    beats = [run("beat") for _ in range(2)]
    for worker in workers:
        worker.until_logged("ready.")
    for beat in beats:
        beat.until_logged("Sending due task")
    people.schedule(40)
    until(lambda: people.sent() >= 40, 30, workers[0].log)
    time.sleep(5)  # two more rounds of both beats
    assert people.all_once()
    for one in (*workers, *beats):
        assert one.end() == 0
        assert "Traceback" not in one.log()


def test_a_beat_that_was_dead_for_long_has_the_late_work_done_once(run: Any) -> None:
    people = People()
    people.schedule(5)
    long_ago = datetime.now(UTC) - timedelta(days=2)
    PeriodicTask.objects.filter(name=SEND_DUE).update(last_run_at=long_ago)
    PeriodicTasks.update_changed()
    worker, beat = run("worker"), run("beat")
    until(lambda: people.sent() >= 5, 40, worker.log)
    time.sleep(3)
    assert people.all_once()
    # One run for all the missed ones, and then its interval again: not 86,400.
    runs = beat.log().count("Sending due task")
    assert runs <= 10
    assert beat.end() == 0


def test_what_a_killed_worker_held_is_done_by_another_within_its_lease(run: Any) -> None:
    people = People()
    first = run("worker", WHISPR_FAILPOINTS="scheduled.after_claim:kill", WHISPR_ALLOW_FAILPOINTS="1")
    beat = run("beat")
    people.schedule(3)
    until(lambda: first.process.poll() == -signal.SIGKILL, 40, first.log)
    assert people.sent() == 0
    claimed = ScheduledMessage.objects.filter(claimed_until__isnull=False)
    assert claimed.count() == 3
    # The lease that nobody waits for after its holder's death: 20 s. The test lets it run out.
    left = max(row.claimed_until for row in claimed) - datetime.now(UTC)
    assert left <= timedelta(seconds=20)
    run("worker")
    claimed.update(claimed_until=datetime.now(UTC))
    until(lambda: people.sent() == 3, 40, beat.log)
    assert people.all_once()


def test_a_worker_that_is_told_to_end_finishes_its_task(run: Any) -> None:
    people = People()
    worker = run("worker", WHISPR_FAILPOINTS="scheduled.after_claim:sleep:2", WHISPR_ALLOW_FAILPOINTS="1")
    beat = run("beat")
    people.schedule(3)
    held = ScheduledMessage.objects.filter(claimed_until__isnull=False)
    until(lambda: held.count() == 3, 40, worker.log)
    assert worker.end(signal.SIGTERM) == 0
    assert people.all_once()
    assert beat.end() == 0


def test_beat_and_worker_go_on_after_redis_and_the_database_connections_broke(run: Any, redis: OwnRedis) -> None:
    from django.db import connection

    people = People()
    worker, beat = run("worker"), run("beat")
    people.schedule(1)
    until(lambda: people.sent() == 1, 40, worker.log)
    redis.kill()
    people.schedule(2)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test-celery'")
        assert cursor.fetchall()
    time.sleep(3)
    redis.start()

    def through() -> bool:
        # Celery's worker ends when it loses Redis in the middle of a task; whoever keeps processes starts it again.
        nonlocal worker
        if worker.process.poll() is not None:
            worker = run("worker")
        return people.sent() == 3

    until(through, 45, worker.log)
    assert people.all_once()
    assert beat.process.poll() is None
