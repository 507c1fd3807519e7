"""`/livez` and `/readyz`, with what they ask there and away."""

import pytest
from django.test import Client

from tests.own_redis import OwnRedis
from whispr import health
from whispr.kernel.breaker import DEPENDENCIES, breaker

pytestmark = pytest.mark.django_db


def test_the_process_lives_whatever_else_is_away(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = Client().get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_with_the_database_and_its_migrations():
    answer = Client().get("/readyz")
    circuits = dict.fromkeys(DEPENDENCIES, "closed")
    body = {"status": "ok", "database": "ok", "redis": "ok", "circuits": circuits, "lost": []}
    assert (answer.status_code, answer.json()) == (200, body)
    assert answer.headers["Cache-Control"] == "no-store"


def test_redis_away_is_reported_and_no_reason_to_be_taken_out(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["redis"]) == (200, "unavailable")


def test_a_migration_that_is_missing_is_a_reason(monkeypatch):
    from django.db.migrations.recorder import MigrationRecorder

    monkeypatch.setattr(health, "_migrated", False)
    MigrationRecorder.Migration.objects.filter(app="delivery").delete()
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["database"]) == (503, "migrations_missing")


def test_the_health_pages_take_no_other_method():
    assert Client().post("/readyz").status_code == 405


def test_a_circuit_that_is_not_closed_is_shown_and_no_reason_to_be_taken_out():
    breaker("notification_service").hold("open")
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["circuits"]["notification_service"] == "open"


@pytest.mark.parametrize(("durable", "status"), [(True, 200), (False, 503)])
def test_without_the_database_it_is_ready_where_sends_can_wait(settings, durable, status):
    redis = OwnRedis(durable)
    redis.start()
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": redis.url}}
    settings.REDIS_URL = redis.url
    breaker("database").hold("open")
    try:
        answer = Client().get("/readyz")
    finally:
        redis.close()
    assert answer.status_code == status
    assert answer.json()["database"] == "temporary_unavailable"
    assert answer.json()["recoveryQueue"] == ("ok" if durable else "it has no append-only file (appendonly yes)")
