"""What `/metrics` says of what waits in the database."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from delivery.models import DeadLetter, ReconcileRun
from delivery.services.backlog import list_backlog
from messaging.models import Conversation, MediaLink, Message, ScheduledMessage
from whispr import metrics
from whispr.kernel import telemetry

pytestmark = pytest.mark.django_db


def test_what_is_due_is_counted_with_its_age():
    now = datetime.now(UTC)
    conversation = Conversation.objects.create(type="group", created_by=uuid4())
    for seq, expires_at in ((1, now - timedelta(seconds=90)), (2, now - timedelta(seconds=30)), (3, None)):
        Message.objects.create(
            conversation=conversation,
            seq=seq,
            sender_id=uuid4(),
            message_type="text",
            sent_at=now,
            expires_at=expires_at,
        )
    for number, at in enumerate((now - timedelta(seconds=300), now + timedelta(hours=1))):
        ScheduledMessage.objects.create(
            user_id=uuid4(),
            device_id=uuid4(),
            conversation=conversation,
            scheduled_for=at,
            request=b"",
            client_random=number,
            members_version=1,
        )
    for at in (now - timedelta(seconds=20), now + timedelta(days=36_500)):  # the second is a dead letter's
        MediaLink.objects.create(
            media_id="x", message_id=uuid4(), conversation_id=conversation.id, attempts=1, next_try_at=at
        )
    waiting = list_backlog().waiting
    assert {work: rows for work, (rows, _) in waiting.items() if rows} == {"expiry": 2, "scheduled": 1, "media_link": 1}
    assert waiting["expiry"][1] >= 90
    assert waiting["scheduled"][1] >= 300
    assert 20 <= waiting["media_link"][1] < 36_000


def test_a_scrape_measures_and_forgets_what_is_over(monkeypatch):
    monkeypatch.setattr(telemetry, "before_scrape", [metrics.measure])
    DeadLetter.objects.create(kind="push", key="1", code="x")
    DeadLetter.objects.create(kind="push", key="2", code="x", state="discarded")
    ReconcileRun.objects.create(ended_at=datetime.now(UTC), found={"gap": 3}, started_at=datetime.now(UTC))

    def scraped(name: str, **labels: str) -> float | None:
        monkeypatch.setattr(metrics, "_measured_at", float("-inf"))
        for _ in REGISTRY.collect():
            pass
        return REGISTRY.get_sample_value(name, labels)

    assert scraped("whispr_dead_letters", kind="push") == 1
    assert scraped("whispr_reconcile_found", check="gap") == 3
    assert 0 <= (scraped("whispr_reconcile_age_seconds") or -1) < 3600
    DeadLetter.objects.all().delete()
    assert scraped("whispr_dead_letters", kind="push") is None
