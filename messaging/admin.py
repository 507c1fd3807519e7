"""The admin's view of conversations, members, the log and devices: who, when and how large, never what.

A search takes an id. From a conversation one comes to its members and entries, from an entry to its delivery, from a
user to their conversations and devices.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import BooleanField, Case, CharField, ExpressionWrapper, Q, QuerySet, TextField, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils import timezone

from delivery.admin import DeliveryStatusInline
from delivery.models import DeliveryStatus, DeviceCursor
from messaging.models import (
    Conversation,
    Device,
    DevPerson,
    LogEpoch,
    Member,
    MemberSpan,
    Message,
    SendKey,
    UserSettings,
)
from whispr.record_admin import (
    OctetLength,
    RecentFilter,
    RecordAdmin,
    RecordInline,
    column,
    fingerprint,
    moment,
    record_link,
    search_link,
    visible,
)

conversation_of = column("conversation", lambda record: record_link(Conversation, record.conversation_id))
user_of = column("user", lambda record: search_link(Member, record.user_id))
position_of = column("delivered / read", lambda member: f"{member.delivered_seq} / {member.read_seq}")
span_of = column("may see", lambda member: f"{member.joined_seq} – {member.left_seq or 'now'}")
name_of = column("name", lambda record: visible(record.name) or "–")
deleted_of = column(
    "deleted",
    lambda message: "–" if not message.is_deleted else "for everyone" if message.delete_for_everyone else "yes",
)
key_of = column("signing key", lambda device: fingerprint(device.public_key))


class MemberInline(RecordInline):
    """The members on their conversation's page: at most `WHISPR_MEMBERS_PER_CONVERSATION`, 50 a page."""

    model = Member
    ordering = ("user_id",)
    readonly_fields = fields = (
        user_of,
        "role",
        span_of,
        "delivered_seq",
        "read_seq",
        "public_read_seq",
        moment("joined_at"),
    )


class ConversationTypeFilter(RecentFilter):
    """Direct or group, and those that were deleted."""

    title = "kind"
    parameter_name = "kind"
    newest = "created_at"
    choices_by_value = {
        "direct": ("Direct", Q(type="direct")),
        "group": ("Group", Q(type="group")),
        "deleted": ("Deleted", Q(deleted_at__isnull=False)),
    }


@admin.register(Conversation)
class ConversationAdmin(RecordAdmin):
    """Conversations: their head and their members."""

    list_display = (
        "id",
        "type",
        "last_seq",
        "member_count",
        moment("last_sent_at", "last entry"),
        moment("created_at", "created"),
        column("deleted", lambda conversation: "yes" if conversation.deleted_at else "–"),
    )
    ordering = ("-created_at", "-id")
    list_filter = (ConversationTypeFilter,)
    search_by = {"id": ("id",)}
    search_help_text = "The id of a conversation"
    private = ("settings",)
    inlines = (MemberInline,)
    readonly_fields = fields = (
        "id",
        "type",
        column("entries", lambda conversation: search_link(Message, conversation.pk, f"1 – {conversation.last_seq}")),
        moment("last_sent_at", "last entry"),
        "member_count",
        "members_version",
        column("earlier spans", lambda conversation: search_link(MemberSpan, conversation.pk, "of members who left")),
        column("device cursors", lambda conversation: search_link(DeviceCursor, conversation.pk, "of its devices")),
        column("settings", lambda conversation: f"{conversation.settings_bytes} bytes"),
        column("created by", lambda conversation: search_link(Member, conversation.created_by)),
        moment("created_at"),
        moment("deleted_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the size of the settings: members write what they like into them."""
        size = OctetLength(Cast("settings", TextField()))
        rows: QuerySet[Any] = super().get_queryset(request).annotate(settings_bytes=size)
        return rows


class MemberRoleFilter(RecentFilter):
    """The role of a member, and who left."""

    title = "role"
    parameter_name = "role"
    choices_by_value = {
        **{role.value: (role.label, Q(role=role.value, left_seq__isnull=True)) for role in Member.Role},
        "left": ("Left", Q(left_seq__isnull=False)),
    }


@admin.register(Member)
class MemberAdmin(RecordAdmin):
    """Members: what they may see, and how far they are."""

    list_display = ("id", conversation_of, user_of, "role", span_of, position_of, moment("changed_at", "changed"))
    ordering = ("-id",)
    list_filter = (MemberRoleFilter,)
    search_by = {"conversation_id": ("user_id",), "user_id": ("conversation_id",)}
    search_help_text = "The id of a conversation or of a user"
    readonly_fields = fields = (
        conversation_of,
        user_of,
        column("devices", lambda member: search_link(Device, member.user_id, "of this user")),
        column("settings", lambda member: search_link(UserSettings, member.user_id, "of this user")),
        "role",
        "joined_seq",
        "left_seq",
        "delivered_seq",
        "read_seq",
        "public_read_seq",
        moment("joined_at"),
        moment("changed_at"),
    )


@admin.register(MemberSpan)
class MemberSpanAdmin(RecordAdmin):
    """The closed spans of users who left and came back."""

    list_display = ("id", conversation_of, user_of, "from_seq", "to_seq")
    ordering = ("-id",)
    search_by = {"conversation_id": ("user_id", "from_seq")}
    search_help_text = "The id of a conversation"
    readonly_fields = fields = (conversation_of, user_of, "from_seq", "to_seq")


class SinceFilter(SimpleListFilter):
    """Messages of the last while: their ids grow with time, so that this is a range of the primary key."""

    title = "sent within"
    parameter_name = "since"
    spans = {"15m": timedelta(minutes=15), "1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The spans."""
        return [("15m", "15 minutes"), ("1h", "an hour"), ("1d", "a day"), ("7d", "a week")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Ids from the first UUIDv7 of that time on: its first 48 bits are unix milliseconds."""
        span = self.spans.get(self.value() or "")
        if span is None:
            return queryset
        first_ms = int((timezone.now() - span).timestamp() * 1000)
        return queryset.filter(id__gte=UUID(int=first_ms << 80))


class MessageTypeFilter(RecentFilter):
    """The type of an entry."""

    title = "type"
    parameter_name = "type"
    choices_by_value = {kind.value: (kind.label, Q(message_type=kind.value)) for kind in Message.Type}


class MessageStateFilter(RecentFilter):
    """What became of an entry."""

    title = "state"
    parameter_name = "state"
    choices_by_value = {
        "deleted": ("Deleted", Q(is_deleted=True)),
        "expiring": ("With a time to live", Q(expires_at__isnull=False)),
        "unsigned": ("Not signed", Q(signature__isnull=True) & ~Q(message_type="system")),
    }


@admin.register(Message)
class MessageAdmin(RecordAdmin):
    """The log's entries. What they say is for their conversation alone."""

    list_display = (
        "id",
        conversation_of,
        "seq",
        column("type", lambda message: message.event or message.message_type),
        column("sender", lambda message: search_link(Member, message.sender_id)),
        column("bytes", lambda message: message.content_bytes),
        moment("sent_at", "sent"),
        deleted_of,
    )
    ordering = ("-id",)
    list_filter = (SinceFilter, MessageTypeFilter, MessageStateFilter)
    search_by = {"id": ("id",), "conversation_id": ("-seq",), "target_id": ("-id",)}
    search_help_text = "The id of a message, of a conversation, or of the message that others change"
    private = ("content", "metadata", "signature")
    inlines = (DeliveryStatusInline,)
    readonly_fields = fields = (
        "id",
        conversation_of,
        "seq",
        "message_type",
        column("event", lambda message: message.event or "–"),
        column("sender", lambda message: search_link(Member, message.sender_id)),
        column("device", lambda message: record_link(Device, message.sender_device_id)),
        column("content", lambda message: f"{message.content_bytes} bytes"),
        column("metadata", lambda message: f"{message.metadata_bytes} bytes"),
        column("signature", lambda message: "yes" if message.is_signed else "–"),
        column("reply to", lambda message: record_link(Message, message.reply_to_id)),
        column("target", lambda message: record_link(Message, message.target_id)),
        column("media id", lambda message: visible(message.media_id or "") or "–"),
        column("deduplication key", lambda message: search_link(SendKey, message.pk, "of this send")),
        moment("sent_at"),
        moment("edited_at"),
        moment("expires_at"),
        deleted_of,
        column("all statuses", lambda message: search_link(DeliveryStatus, message.pk, "of this message")),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With sizes in the place of bytes, and the server's own word for its system entries."""
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                content_bytes=OctetLength("content"),
                metadata_bytes=OctetLength(Cast("metadata", TextField())),
                is_signed=ExpressionWrapper(Q(signature__isnull=False), BooleanField()),
                event=Case(
                    When(message_type="system", then=KeyTextTransform("event", "metadata")),
                    default=Value(""),
                    output_field=CharField(),
                ),
            )
        )
        return rows


@admin.register(SendKey)
class SendKeyAdmin(RecordAdmin):
    """The deduplication keys: which request a (sender, clientRandom) carried."""

    list_display = (
        "message_id",
        column("sender", lambda key: search_link(Member, key.sender_id)),
        "client_random",
        conversation_of,
        "seq",
        moment("sent_at", "sent"),
    )
    ordering = ("-message_id",)
    search_by = {"message_id": ("message_id",), "sender_id": ("client_random",)}
    search_help_text = "The id of a message or of a sender"
    readonly_fields = fields = (
        column("message", lambda key: record_link(Message, key.message_id)),
        column("sender", lambda key: search_link(Member, key.sender_id)),
        "client_random",
        column("request", lambda key: fingerprint(key.fingerprint)),
        conversation_of,
        "seq",
        moment("sent_at"),
        moment("expires_at"),
    )


@admin.register(Device)
class DeviceAdmin(RecordAdmin):
    """Devices, with fingerprints of their keys."""

    list_display = (
        "id",
        user_of,
        name_of,
        column("platform", lambda device: visible(device.platform) or "–"),
        key_of,
        moment("last_seen_at", "last seen"),
        moment("revoked_at", "revoked"),
    )
    ordering = ("-id",)
    search_by = {"id": ("id",), "user_id": ("-last_seen_at",)}
    search_help_text = "The id of a device or of a user"
    private = ("push_token",)
    clients_text = ("name", "platform")
    readonly_fields = fields = (
        "id",
        user_of,
        name_of,
        column("platform", lambda device: visible(device.platform) or "–"),
        key_of,
        column("encryption key", lambda device: fingerprint(device.encryption_key)),
        column("push token", lambda device: "yes" if device.has_push_token else "–"),
        column("cursors", lambda device: search_link(DeviceCursor, device.pk, "of this device")),
        moment("created_at"),
        moment("last_seen_at"),
        moment("revoked_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With whether there is a push token, which is not read."""
        has_push_token = ExpressionWrapper(~Q(push_token=""), BooleanField())
        rows: QuerySet[Any] = super().get_queryset(request).annotate(has_push_token=has_push_token)
        return rows


@admin.register(UserSettings)
class UserSettingsAdmin(RecordAdmin):
    """What users chose."""

    list_display = ("user_id", "read_receipts", moment("changed_at", "changed"))
    ordering = ("-user_id",)
    search_by = {"user_id": ("user_id",)}
    search_help_text = "The id of a user"
    readonly_fields = fields = (user_of, "read_receipts", moment("changed_at"))


@admin.register(DevPerson)
class DevPersonAdmin(RecordAdmin):
    """Who used the development sign-in."""

    list_display = ("user_id", name_of, moment("signed_in_at", "signed in"))
    ordering = ("-user_id",)
    search_by = {"user_id": ("user_id",)}
    search_help_text = "The id of a user"
    clients_text = ("name",)
    readonly_fields = fields = (
        user_of,
        name_of,
        column("devices", lambda person: search_link(Device, person.user_id, "of this user")),
        moment("signed_in_at"),
    )


@admin.register(LogEpoch)
class LogEpochAdmin(RecordAdmin):
    """The generation of the log: one row. `manage.py new_epoch` begins another."""

    list_display = ("id", "epoch", moment("since"))
    ordering = ("-id",)
    search_fields = ()
    readonly_fields = fields = ("epoch", moment("since"))
