"""The circuits' switch: held from the admin, followed by processes, shown by process."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from integrations import circuits
from integrations.circuits import CircuitReport, CircuitWatch, list_reports, own_reports, process_name, report
from integrations.models import CircuitSwitch
from whispr.kernel.breaker import DEPENDENCIES, breaker
from whispr.kernel.redis import redis_client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rows() -> None:
    """What the migration makes, and the emptying of the database between tests takes away."""
    CircuitSwitch.objects.bulk_create([CircuitSwitch(name=name) for name in DEPENDENCIES], ignore_conflicts=True)


@pytest.fixture(autouse=True)
def _secret(settings: Any) -> None:
    settings.SECRET_KEY = "a key for the sessions of tests, of more than fifty characters"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


async def test_a_switch_holds_a_circuit_until_it_is_let_go() -> None:
    watch = CircuitWatch()
    await watch.look()  # without rows every circuit is by itself
    assert breaker("media_service").held is None
    for mode, held in (("open", "open"), ("closed", "closed"), ("auto", None)):
        await CircuitSwitch.objects.aupdate_or_create(name="media_service", defaults={"mode": mode})
        await watch.look()
        assert breaker("media_service").held == held
    assert breaker("user_service").held is None


async def test_the_database_held_open_can_be_let_go() -> None:
    await CircuitSwitch.objects.acreate(name="database", mode="open")
    watch = CircuitWatch()
    await watch.look()
    assert breaker("database").state == "open"
    await CircuitSwitch.objects.aupdate(mode="auto")
    await watch.look()
    assert breaker("database").held is None


async def test_without_the_database_a_circuit_stays_as_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker("redis").hold("open")
    monkeypatch.setattr(circuits, "_read_switches", lambda: None)
    await CircuitWatch().look()
    assert breaker("redis").held == "open"


async def test_the_tasks_follow_a_switch_and_end() -> None:
    await CircuitSwitch.objects.acreate(name="notification_service", mode="open")
    watch = CircuitWatch()
    watch.start()
    watch.start()
    try:
        async with asyncio.timeout(20):
            while breaker("notification_service").held != "open":
                await asyncio.sleep(0.02)
    finally:
        await watch.stop()


async def test_a_process_reports_its_circuits() -> None:
    breaker("user_service").hold("open")
    await report()
    found = await asyncio.to_thread(list_reports)
    own = [one for one in found or () if one.process == process_name()]
    assert own == own_reports()
    states = {one.name: (one.state, one.held) for one in own}
    assert states == dict.fromkeys(DEPENDENCIES, ("closed", False)) | {"user_service": ("open", True)}
    ttl = await redis_client().ttl(f"whispr:circuits:{process_name()}")
    assert 0 < ttl <= circuits.REPORT_SECONDS


async def test_a_process_that_is_gone_is_not_shown() -> None:
    await report()
    await redis_client().delete(f"whispr:circuits:{process_name()}")
    found = await asyncio.to_thread(list_reports)
    assert process_name() not in {one.process for one in found or ()}
    assert await redis_client().zscore("whispr:circuits", process_name()) is None


def test_the_page_shows_each_circuit_in_each_process(
    staff: Client, rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = [CircuitReport("host:1", "database", "half_open", 12.5, False)]
    monkeypatch.setattr("integrations.admin._reports", lambda second: reports)
    html = staff.get(reverse("admin:integrations_circuitswitch_changelist")).content.decode()
    assert all(name in html for name in DEPENDENCIES)
    assert "host:1: half open, callers are told 12.5 s" in html
    assert "no process reported" in html
    monkeypatch.setattr("integrations.admin._reports", lambda second: None)
    assert "Redis does not answer" in staff.get(reverse("admin:integrations_circuitswitch_changelist")).content.decode()


def test_staff_hold_a_circuit_and_are_named(staff: Client, rows: None) -> None:
    page = reverse("admin:integrations_circuitswitch_change", args=["database"])
    before = CircuitSwitch.objects.get(name="database").at
    answer = staff.post(page, {"mode": "closed", "reason": "a migration", "by": "somebody else", "name": "redis"})
    assert answer.status_code == 302
    row = CircuitSwitch.objects.get(name="database")
    assert (row.mode, row.reason, row.by) == ("closed", "a migration", "root")
    assert row.at > before
    assert CircuitSwitch.objects.get(name="redis").mode == "auto"
    staff.post(page, {"mode": "ajar", "reason": ""})
    assert CircuitSwitch.objects.get(name="database").mode == "closed"


def test_circuits_are_neither_added_nor_deleted(staff: Client, rows: None) -> None:
    assert staff.get(reverse("admin:integrations_circuitswitch_add")).status_code == 403
    delete = reverse("admin:integrations_circuitswitch_delete", args=["database"])
    assert staff.post(delete, {"post": "yes"}).status_code == 403
    assert CircuitSwitch.objects.count() == len(DEPENDENCIES)


def test_who_is_no_staff_sees_nothing(client: Client) -> None:
    answer = client.get(reverse("admin:integrations_circuitswitch_changelist"))
    assert answer.status_code == 302
    assert "/login/" in answer["Location"]
