"""What the tests of pushes share: people who send and acknowledge, and a notification service that does as told."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from asgiref.sync import async_to_sync
from django.db import connection
from django.db.models import F

from delivery.events import Push, PushOutcome
from delivery.models import PushOutbox, PushState
from delivery.services.push import pushes_send
from delivery.store.receipts import NewReceipt, receipts_write
from messaging.events import Entry
from messaging.models import Device
from messaging.store.conversations import conversation_create
from messaging.store.log import Appended, NewEntry, entries_append
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS

randoms = itertools.count(1)
LIMITS_NOW = dataclasses.replace(LIMITS, push_grace_seconds=0, push_window_seconds=15)


def direct(first: UUID, second: UUID) -> UUID:
    return conversation_create(first, "direct", [first, second], b"{}", None).view.id


def group(*users: UUID) -> UUID:
    return conversation_create(users[0], "group", list(users), b"{}", None).view.id


def phone(user: UUID, token: str | None = None) -> Device:
    token = f"token-{uuid4()}" if token is None else token
    return Device.objects.create(id=uuid4(), user_id=user, platform="android", push_token=token)


def send(conversation_id: UUID, sender: UUID, **fields: Any) -> Entry:
    values = {
        "message_id": new_id(),
        "conversation_id": conversation_id,
        "sender_id": sender,
        "sender_device_id": uuid4(),
        "type": "text",
        "content": b"a secret word",
        "metadata": b"{}",
        "client_random": next(randoms),
        "fingerprint": uuid4().bytes,
    }
    (outcome,) = entries_append([NewEntry(**(values | fields))])
    assert isinstance(outcome, Appended), outcome
    assert outcome.entry is not None
    return outcome.entry


def acknowledge(user: UUID, conversation_id: UUID, up_to: int, *, read: bool = False, device: UUID | None = None):
    if device is None:
        device = Device.objects.create(id=uuid4(), user_id=user).id
    (recorded,) = receipts_write([NewReceipt(user, device, conversation_id, up_to, read)])
    assert not isinstance(recorded, Exception), recorded


def later(seconds: float) -> None:
    """Let time pass for all that waits for its time."""
    past = timedelta(seconds=seconds)
    PushOutbox.objects.update(at=F("at") - past)
    PushState.objects.update(
        due_at=F("due_at") - past,
        claimed_until=F("claimed_until") - past,
        pushed_at=F("pushed_at") - past,
        armed_at=F("armed_at") - past,
    )


class Service:
    """A notification service in this process: it notes what it is asked, and answers or raises as told."""

    def __init__(self) -> None:
        self.calls: list[list[Push]] = []
        self.shown: dict[str, Push] = {}  # by key, as a service that heeds keys would show them
        self.answer: Callable[[Push], PushOutcome] = lambda push: PushOutcome(key=push.key, accepted=True)
        self.error: Exception | None = None
        self.takes_first = False  # before it raises

    @property
    def pushes(self) -> list[Push]:
        """All pushes of all calls, in order."""
        return [push for call in self.calls for push in call]

    async def send_push_notifications(self, pushes: Sequence[Push], *, seconds: float = 5.0) -> list[PushOutcome]:
        assert not connection.in_atomic_block
        self.calls.append(list(pushes))
        if self.error is None or self.takes_first:
            for push in pushes:
                self.shown.setdefault(push.key, push)
        if self.error is not None:
            raise self.error
        return [self.answer(push) for push in pushes]


def dispatch() -> int:
    """A round of the task."""
    return async_to_sync(pushes_send)()
