"""What the tests of pushes share in this process: a notification service that does as told, and no waiting."""

import pytest

from delivery.services import push as service
from delivery.services import push_hand_over
from tests.delivery.pushing import LIMITS_NOW, Service


@pytest.fixture
def at_once(monkeypatch) -> None:
    monkeypatch.setattr(service, "LIMITS", LIMITS_NOW)


@pytest.fixture
def notifications(monkeypatch, at_once: None) -> Service:
    fake = Service()
    monkeypatch.setattr(push_hand_over, "notification_service", lambda: fake)
    return fake
