"""The admin's pages show who, when and how large, and never what (messaging/admin/, whispr/record_admin.py)."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import AutoField, UUIDField
from django.test import Client
from django.urls import reverse

from delivery.models import (
    DeadLetter,
    DeliveryStatus,
    DeviceCursor,
    MessageErasure,
    PushLog,
    PushOutbox,
    PushPreference,
    PushState,
    PushStatistic,
    ReconcileRun,
    TraceEvent,
)
from messaging.models import (
    Block,
    Conversation,
    Device,
    DevPerson,
    Draft,
    HiddenMessage,
    LogEpoch,
    Media,
    MediaLink,
    Member,
    MemberSpan,
    Message,
    Reaction,
    ScheduledMessage,
    SendKey,
    UserSettings,
)
from whispr import record_admin
from whispr.kernel.ids import new_id

pytestmark = pytest.mark.django_db

CANARY = "canary-7f3a9c"
SENT_AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
XSS = "<script>alert(1)</script>\u202egnp.exe"
OURS = ("messaging", "delivery")
MODELS = [model for label in OURS for model in apps.get_app_config(label).get_models()]


@pytest.fixture(autouse=True)
def _secret(settings) -> None:
    settings.SECRET_KEY = "a key for the sessions of tests, of more than fifty characters"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(superuser())
    return client


def superuser() -> User:
    return User.objects.create(username="root", is_staff=True, is_superuser=True)  # no password: hashing takes its time


@pytest.fixture
def rows() -> dict[type, Any]:
    """One row of every model, a canary in everything that is nobody's to see."""
    canary = CANARY.encode()
    ann, bob = uuid4(), uuid4()
    conversation = Conversation.objects.create(
        type="group", last_seq=2, member_count=2, settings={"title": CANARY}, created_by=ann, last_sent_at=SENT_AT
    )
    device = Device.objects.create(
        user_id=ann,
        name=XSS,
        platform="android",
        public_key=canary.ljust(32, b"."),
        encryption_key=canary.ljust(32, b"-"),
        push_token=CANARY,
    )
    message = Message.objects.create(
        conversation=conversation,
        seq=1,
        sender_id=ann,
        sender_device_id=device.id,
        message_type="text",
        content=canary,
        metadata={"k": CANARY, "event": CANARY},
        client_random=7,
        signature=canary.ljust(64, b"+"),
        sent_at=SENT_AT,
    )
    return {
        Conversation: conversation,
        Device: device,
        Message: message,
        Member: Member.objects.create(conversation=conversation, user_id=bob, joined_seq=1, delivered_seq=1),
        MemberSpan: MemberSpan.objects.create(conversation=conversation, user_id=ann, from_seq=1, to_seq=1),
        SendKey: SendKey.objects.create(
            message_id=message.id,
            sender_id=ann,
            client_random=7,
            fingerprint=canary.ljust(32, b"*"),
            conversation_id=conversation.id,
            seq=1,
            sent_at=SENT_AT,
        ),
        UserSettings: UserSettings.objects.create(user_id=ann, read_receipts=False),
        LogEpoch: LogEpoch.objects.get_or_create(id=1)[0],
        DevPerson: DevPerson.objects.create(user_id=ann, name=XSS),
        DeliveryStatus: DeliveryStatus.objects.create(message=message, user_id=bob, delivered_at=SENT_AT),
        DeviceCursor: DeviceCursor.objects.create(device=device, conversation=conversation, acked_seq=1),
        Reaction: Reaction.objects.create(message=message, user_id=bob, emoji=CANARY, reacted_at=SENT_AT),
        HiddenMessage: HiddenMessage.objects.create(message=message, user_id=bob),
        Draft: Draft.objects.create(user_id=ann, conversation=conversation, content=canary, changed_by=device.id),
        ScheduledMessage: ScheduledMessage.objects.create(
            user_id=ann,
            device_id=device.id,
            conversation=conversation,
            scheduled_for=SENT_AT,
            request=canary,
            client_random=8,
            members_version=1,
            reason=XSS[:32],
        ),
        Block: Block.objects.create(user_id=ann, blocked_id=bob),
        Media: Media.objects.create(owner_id=ann, size=5, sha256=canary.ljust(32, b"_")),
        MediaLink: MediaLink.objects.create(media_id=XSS, message_id=message.id, conversation_id=conversation.id),
        MessageErasure: MessageErasure.objects.create(message=message, device_ids=[device.id]),
        TraceEvent: TraceEvent.objects.create(message_id=message.id, step="stored", at=SENT_AT, process="web-1"),
        DeadLetter: DeadLetter.objects.create(kind="push", key="7", code="internal_error"),
        ReconcileRun: ReconcileRun.objects.create(found={"gap": 1}),
        PushOutbox: PushOutbox.objects.create(conversation_ids=[conversation.id], from_seqs=[1]),
        PushState: PushState.objects.create(
            user_id=bob, conversation_id=conversation.id, due_at=SENT_AT, reason=XSS, pushed_devices=[device.id]
        ),
        PushStatistic: PushStatistic.objects.create(
            hour=SENT_AT, kind="message", platform=XSS[:32], outcome="accepted", count=1
        ),
        PushLog: PushLog.objects.create(
            key="k",
            kind="message",
            user_id=bob,
            conversation_id=conversation.id,
            count=1,
            badge=1,
            devices=1,
            platforms=XSS,
        ),
        PushPreference: PushPreference.objects.create(user_id=bob, enabled=False),
    }


def list_url(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_url(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def found(client: Client, model: Any, wanted: object) -> list[object]:
    response = client.get(list_url(model), {"q": str(wanted)})
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


def test_every_model_has_pages():
    assert {model for model in MODELS if admin.site.is_registered(model)} == set(MODELS)
    assert {Message, Conversation, DeliveryStatus} < set(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_list_and_a_page_for_staff_only(client: Client, rows: dict, model: Any):
    for url in (list_url(model), page_url(rows[model])):
        response = client.get(url)
        assert (response.status_code, response["Location"]) == (302, f"/admin/login/?next={url}")
    client.force_login(superuser())
    for url in (list_url(model), page_url(rows[model])):
        response = client.get(url)
        assert response.status_code == 200
        html = response.content.decode()
        assert CANARY not in html
        assert CANARY.encode().hex() not in html
        assert "<script>alert" not in html
        assert "\u202e" not in html


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_nothing_can_be_written(staff: Client, rows: dict, model: Any):
    row = rows[model]
    assert staff.post(page_url(row), {}).status_code == 403
    assert staff.get(list_url(model) + "add/").status_code == 403
    assert staff.post(page_url(row).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": str(row.pk), "post": "yes"}
    staff.post(list_url(model), action)
    assert model.objects.filter(pk=row.pk).exists()


def test_what_a_client_wrote_is_shown_as_text(staff: Client, rows: dict):
    for row in (rows[Device], rows[DevPerson]):
        for url in (list_url(type(row)), page_url(row)):
            assert r"&lt;script&gt;alert(1)&lt;/script&gt;\u202egnp.exe" in staff.get(url).content.decode()


def test_a_message_shows_sizes_its_place_and_its_delivery(staff: Client, rows: dict):
    message, status = rows[Message], rows[DeliveryStatus]
    html = staff.get(page_url(message)).content.decode()
    assert f"{len(CANARY)} bytes" in html
    assert "2026-01-02 03:04:05.678" in html
    assert page_url(rows[Conversation]) in html
    assert page_url(rows[Device]) in html
    assert str(status.user_id) in html
    assert "delivered" in html


def test_a_system_entry_says_its_event(staff: Client, rows: dict):
    entry = Message.objects.create(
        conversation=rows[Conversation],
        seq=2,
        sender_id=uuid4(),
        message_type="system",
        metadata={"event": "member_added", "userIds": [CANARY]},
        sent_at=SENT_AT,
    )
    for url in (page_url(entry), list_url(Message)):
        html = staff.get(url).content.decode()
        assert "member_added" in html
        assert CANARY not in html


def test_a_conversation_shows_its_head_and_its_members(staff: Client, rows: dict):
    html = staff.get(page_url(rows[Conversation])).content.decode()
    assert "1 – 2" in html
    assert f"{list_url(Message)}?q={rows[Conversation].pk}" in html
    assert str(rows[Member].user_id) in html


def test_a_key_is_shown_as_its_fingerprint(staff: Client, rows: dict):
    print_ = record_admin.fingerprint(rows[Device].public_key)
    assert len(print_) == 16
    assert print_ in staff.get(page_url(rows[Device])).content.decode()


def test_search_by_id(staff: Client, rows: dict):
    conversation, message, device = rows[Conversation], rows[Message], rows[Device]
    other = Message.objects.create(
        conversation=conversation, seq=2, sender_id=uuid4(), message_type="text", target_id=message.id, sent_at=SENT_AT
    )
    assert found(staff, Conversation, conversation.id) == [conversation.id]
    assert found(staff, Message, message.id) == [message.id]
    assert found(staff, Message, conversation.id) == [other.id, message.id]
    assert found(staff, Member, rows[Member].user_id) == [rows[Member].pk]
    assert found(staff, Member, conversation.id) == [rows[Member].pk]
    assert found(staff, Device, device.user_id) == [device.id]
    assert found(staff, SendKey, device.user_id) == [message.id]
    assert found(staff, DeliveryStatus, message.id) == [rows[DeliveryStatus].pk]
    assert found(staff, DeviceCursor, device.id) == [rows[DeviceCursor].pk]
    assert found(staff, DeviceCursor, conversation.id) == [rows[DeviceCursor].pk]
    assert found(staff, Message, uuid4()) == []


@pytest.mark.parametrize("term", ["text", "%", CANARY, "' OR 1=1 --", "\u202e", "0" * 400])
def test_a_search_for_anything_else_finds_nothing_and_says_why(staff: Client, rows: dict, term: str):
    response = staff.get(list_url(Message), {"q": term})
    assert list(response.context["cl"].result_list) == []
    assert "The search takes one whole id" in response.content.decode()


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (Message, "content__gte"),
        (Message, "metadata__k__startswith"),
        (Message, "sender_id"),
        (Message, "conversation__settings__title"),
        (Device, "push_token__startswith"),
        (Device, "public_key"),
        (DeliveryStatus, "message__content__gte"),
        (Draft, "content"),
        (Reaction, "emoji"),
    ],
)
def test_no_filter_tells_what_the_pages_do_not_show(staff: Client, rows: dict, model: Any, lookup: str):
    assert staff.get(list_url(model), {lookup: "c"}).status_code == 400


def test_columns_that_nobody_sees_are_not_read(staff: Client, rows: dict, django_assert_max_num_queries):
    for model, columns in (
        (Message, ('"content"', '"metadata"', '"signature"')),
        (Device, ('"push_token"',)),
        (Conversation, ('"settings"',)),
        (Draft, ('"content"',)),
        (ScheduledMessage, ('"request"',)),
        (Reaction, ('"emoji"',)),
    ):
        for url in (list_url(model), page_url(rows[model])):
            with django_assert_max_num_queries(12) as queries:
                staff.get(url)
            table = model._meta.db_table
            selected = [
                part.strip()
                for query in queries
                if f'FROM "{table}"' in query["sql"]
                for part in query["sql"].partition(" FROM ")[0].removeprefix("SELECT ").split(", ")
            ]
            assert f'"{table}"."id"' in selected
            assert not [f'"{table}".{name}' for name in columns if f'"{table}".{name}' in selected]


# LogEpoch has one row, always.
@pytest.mark.parametrize("model", sorted({*MODELS} - {LogEpoch}, key=str), ids=lambda model: model.__name__)
def test_a_list_runs_the_same_few_queries_however_many_rows(
    staff: Client, rows: dict, model: Any, django_assert_num_queries
):
    for _ in range(3):
        more_rows(model, rows)
    # The session, the user, the bounded count, and the page.
    with django_assert_num_queries(4) as queries:
        assert len(staff.get(list_url(model)).context["cl"].result_list) == 4
    for query in queries:
        assert "COUNT(*)" not in query["sql"] or "LIMIT 10000" in query["sql"]


def more_rows(model: Any, rows: dict) -> Any:
    """Another row of a model, beside the one that there is: the same with other ids."""
    row = model.objects.get(pk=rows[model].pk)
    for field in model._meta.concrete_fields:
        if isinstance(field, AutoField):
            setattr(row, field.attname, None)
        elif isinstance(field, UUIDField):
            setattr(row, field.attname, new_id())
    if model is Message:
        row.seq += model.objects.count()
    elif model is DeviceCursor:
        row.device = Device.objects.create(user_id=uuid4())
    elif model in (DeadLetter, PushLog):
        row.key = str(uuid4())
    elif model is PushStatistic:
        row.platform = uuid4().hex
    elif model is MessageErasure:
        row.message = more_rows(Message, rows)
    row._state.adding = True
    row.save(force_insert=True)
    return row


def test_a_list_ends_at_its_bound_and_says_so(staff: Client, rows: dict, monkeypatch):
    monkeypatch.setattr(record_admin, "LISTED_MAX", 2)
    for _ in range(3):
        more_rows(Device, rows)
    response = staff.get(list_url(Device))
    assert response.context["cl"].result_count == 2
    assert "This list ends after 2 rows" in response.content.decode()


def test_the_order_cannot_be_chosen(staff: Client, rows: dict):
    more_rows(Message, rows)
    pages = [staff.get(list_url(Message), query).context["cl"].result_list for query in ({}, {"o": "1"})]
    ids = [[row.pk for row in page] for page in pages]
    assert ids[0] == ids[1] == sorted(ids[0], reverse=True)


def test_filters_look_at_the_newest_rows_only(staff: Client, rows: dict, monkeypatch):
    for _ in range(2):
        more_rows(Message, rows)  # newer than the first one, and of type text as well
    everything = staff.get(list_url(Message), {"type": "text"}).context["cl"].result_list
    assert len(everything) == 3
    monkeypatch.setattr(record_admin, "RECENT_ROWS", 2)
    recent = staff.get(list_url(Message), {"type": "text"}).context["cl"].result_list
    assert rows[Message].pk not in [row.pk for row in recent]
    assert len(recent) == 2


def test_messages_of_the_last_while(staff: Client, rows: dict):
    old = Message.objects.create(
        id=UUID("01800000-0000-7000-8000-000000000001"),
        conversation=rows[Conversation],
        seq=9,
        sender_id=uuid4(),
        message_type="text",
        sent_at=SENT_AT,
    )
    shown = [row.pk for row in staff.get(list_url(Message), {"since": "1h"}).context["cl"].result_list]
    assert shown == [rows[Message].pk]
    assert old.pk in [row.pk for row in staff.get(list_url(Message)).context["cl"].result_list]


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (Conversation, {"kind": "group"}),
        (Conversation, {"kind": "nonsense"}),
        (Member, {"role": "left"}),
        (Message, {"type": "text", "state": "unsigned", "since": "7d"}),
        (DeliveryStatus, {"status": "delivered"}),
        (ScheduledMessage, {"state": "failed"}),
        (MediaLink, {"linked": "no"}),
        (Message, {"p": "99"}),
        (Message, {"p": "-1"}),
        (Message, {"all": ""}),
    ],
)
def test_every_filter_answers(staff: Client, rows: dict, model: Any, query: dict):
    assert staff.get(list_url(model), query, follow=True).status_code == 200


def test_the_index_and_the_pages_of_django_and_beat(staff: Client, rows: dict):
    for url in ("/admin/", *(list_url(model) for model in admin.site._registry)):
        assert staff.get(url).status_code == 200
    for model in admin.site._registry:
        if model._meta.app_label == "django_celery_beat":
            assert staff.get(list_url(model) + "add/").status_code == 200


def test_staff_without_rights_sees_nothing(client: Client, rows: dict):
    client.force_login(User.objects.create(username="guest", is_staff=True))
    assert client.get(list_url(Message)).status_code == 403
    assert client.get(page_url(rows[Message])).status_code == 403
