"""The pages of delivery (delivery/admin.py); what all pages have in common is in tests/messaging/test_admin.py."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from delivery.models import DeliveryStatus, DeviceCursor
from messaging.models import Conversation, Device, Message
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db

AT = datetime.now(UTC).replace(microsecond=0)
STATUSES = reverse("admin:delivery_deliverystatus_changelist")
STATES = {"pending": (None, None), "delivered": (AT, None), "read": (AT, AT)}


@pytest.fixture(autouse=True)
def _secret(settings) -> None:
    settings.SECRET_KEY = "a key for the sessions of tests, of more than fifty characters"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def message() -> Message:
    conversation = Conversation.objects.create(type="group", created_by=uuid4())
    return Message.objects.create(
        conversation=conversation, seq=1, sender_id=uuid4(), message_type="text", content=b"x", sent_at=AT
    )


@pytest.mark.parametrize("state", STATES)
def test_a_status_is_named_and_can_be_filtered(staff: Client, message: Message, state: str):
    rows = {
        name: DeliveryStatus.objects.create(message=message, user_id=uuid4(), delivered_at=delivered, read_at=read)
        for name, (delivered, read) in STATES.items()
    }
    response = staff.get(STATUSES, {"status": state})
    assert [row.pk for row in response.context["cl"].result_list] == [rows[state].pk]
    page = reverse("admin:delivery_deliverystatus_change", args=[rows[state].pk])
    shown = re.sub(r"<[^>]*>|\s+", " ", staff.get(page).content.decode())
    assert re.search(rf"Status\s+{state}\s", shown)


@pytest.mark.parametrize("change", [{"is_deleted": True}, {"expires_at": AT}])
def test_what_was_gone_before_it_came_is_expired(staff: Client, message: Message, change: dict):
    kept = Message.objects.create(
        conversation_id=message.conversation_id, seq=2, sender_id=uuid4(), message_type="text", sent_at=AT
    )
    Message.objects.filter(id=message.id).update(**change)
    pending, expired = (DeliveryStatus.objects.create(message=one, user_id=uuid4()) for one in (kept, message))
    DeliveryStatus.objects.create(message=message, user_id=uuid4(), delivered_at=AT)
    for state, row in (("pending", pending), ("expired", expired)):
        response = staff.get(STATUSES, {"status": state})
        assert [one.pk for one in response.context["cl"].result_list] == [row.pk]
        shown = re.sub(r"<[^>]*>|\s+", " ", response.content.decode())
        assert state in shown


def test_what_was_not_delivered_in_time_is_found_by_the_time_in_its_id(staff: Client, message: Message):
    old = datetime.now(UTC) - timedelta(seconds=LIMITS.delivery_timeout_seconds + 3600)
    late = Message.objects.create(
        id=UUID(int=(int(old.timestamp() * 1000) << 80) | 0x7 << 76 | uuid4().int >> 64),
        conversation_id=message.conversation_id,
        seq=2,
        sender_id=uuid4(),
        message_type="text",
        sent_at=old,
    )
    DeliveryStatus.objects.create(message=message, user_id=uuid4())
    timed_out = DeliveryStatus.objects.create(message=late, user_id=uuid4())
    DeliveryStatus.objects.create(message=late, user_id=uuid4(), delivered_at=old)
    response = staff.get(STATUSES, {"status": "timed_out"})
    assert [one.pk for one in response.context["cl"].result_list] == [timed_out.pk]
    page = reverse("admin:delivery_deliverystatus_change", args=[timed_out.pk])
    assert "expired" in re.sub(r"<[^>]*>|\s+", " ", staff.get(page).content.decode())


def test_a_message_lists_its_recipients_fifty_a_page(staff: Client, message: Message, django_assert_max_num_queries):
    users = sorted(uuid4() for _ in range(60))
    DeliveryStatus.objects.bulk_create(DeliveryStatus(message=message, user_id=user) for user in users)
    page = reverse("admin:messaging_message_change", args=[message.pk])
    with django_assert_max_num_queries(9):
        html = staff.get(page).content.decode()
    assert [str(user) in html for user in users] == [True] * 50 + [False] * 10
    assert f"{STATUSES}?q={message.pk}" in html


def test_a_cursor_links_its_device_and_conversation(staff: Client, message: Message):
    device = Device.objects.create(user_id=uuid4(), name="phone")
    cursor = DeviceCursor.objects.create(device=device, conversation_id=message.conversation_id, acked_seq=17)
    html = staff.get(reverse("admin:delivery_devicecursor_change", args=[cursor.pk])).content.decode()
    assert reverse("admin:messaging_device_change", args=[device.pk]) in html
    assert reverse("admin:messaging_conversation_change", args=[message.conversation_id]) in html
    assert "17" in html
