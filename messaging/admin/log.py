"""The log's entries and what is kept beside them: keys, reactions, scheduled sends, media."""

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
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe

from delivery.admin import DeliveryStatusInline
from delivery.models import DeliveryStatus, MessageErasure, TraceEvent
from delivery.services.trace import get_trace_for_staff
from messaging.admin.columns import conversation_of, message_of, user_of
from messaging.models import (
    Device,
    HiddenMessage,
    LogEpoch,
    Media,
    MediaLink,
    Member,
    Message,
    Reaction,
    ScheduledMessage,
    SendKey,
)
from whispr.record_admin import (
    OctetLength,
    RecentFilter,
    RecordAdmin,
    column,
    fingerprint,
    moment,
    record_link,
    search_link,
    visible,
)

deleted_of = column(
    "deleted",
    lambda message: "–" if not message.is_deleted else "for everyone" if message.delete_for_everyone else "yes",
)


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


# Steps on a message's page; its trace has them all.
STEPS_SHOWN = 50


def way_of(message: Message) -> SafeString:
    """The message's way in the order of time, as its sender sees it (docs/protocol.md §7 `trace`)."""
    known: SafeString | None = message.__dict__.get("way")
    if known is not None:  # a page asks for each of its fields more than once
        return known
    steps = get_trace_for_staff(message.pk).steps
    rows = (
        (step.at.isoformat(" ", "milliseconds"), step.step, step.process or step.user_id or "")
        for step in steps[:STEPS_SHOWN]
    )
    way = message.__dict__["way"] = format_html_join(mark_safe("<br>"), "{} {} {}", rows)
    return way


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
    private = ("content", "metadata", "signature", "chain_hash")
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
        column("latest edit", lambda message: record_link(Message, message.edit_id)),
        column("seconds after reading", lambda message: message.ttl_after_read or "–"),
        column("hidden by", lambda message: search_link(HiddenMessage, message.pk, "users, for themselves")),
        column("erasures", lambda message: search_link(MessageErasure, message.pk, "by devices")),
        column("way", way_of),
        column("trace", lambda message: search_link(TraceEvent, message.pk, "of this message")),
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


@admin.register(Reaction)
class ReactionAdmin(RecordAdmin):
    """Who reacted to what; with what is theirs."""

    list_display = ("id", message_of, user_of, moment("reacted_at", "reacted"))
    ordering = ("-id",)
    search_by = {"message_id": ("user_id", "id")}
    search_help_text = "The id of a message"
    private = ("emoji",)
    readonly_fields = fields = (message_of, user_of, moment("reacted_at"))


@admin.register(HiddenMessage)
class HiddenMessageAdmin(RecordAdmin):
    """Messages that users deleted for themselves."""

    list_display = ("id", user_of, message_of, moment("hidden_at", "hidden"))
    ordering = ("-id",)
    search_by = {"user_id": ("message_id",), "message_id": ("id",)}
    search_help_text = "The id of a user or of a message"
    readonly_fields = fields = (user_of, message_of, moment("hidden_at"))


class ScheduledStateFilter(RecentFilter):
    """Whether it was sent."""

    title = "state"
    parameter_name = "state"
    choices_by_value = {state.value: (state.label, Q(state=state.value)) for state in ScheduledMessage.State}


@admin.register(ScheduledMessage)
class ScheduledMessageAdmin(RecordAdmin):
    """Sends that wait for their time, and what became of them."""

    list_display = (
        "id",
        user_of,
        conversation_of,
        moment("scheduled_for"),
        "state",
        "attempts",
        moment("fired_at", "fired"),
    )
    ordering = ("-id",)
    list_filter = (ScheduledStateFilter,)
    search_by = {"id": ("id",), "user_id": ("scheduled_for",), "conversation_id": ("id",)}
    search_help_text = "The id of a scheduled message, of a user or of a conversation"
    private = ("request",)
    readonly_fields = fields = (
        "id",
        user_of,
        column("device", lambda scheduled: record_link(Device, scheduled.device_id)),
        conversation_of,
        moment("scheduled_for"),
        column("request", lambda scheduled: f"{scheduled.request_bytes} bytes"),
        "client_random",
        "members_version",
        "state",
        column("reason", lambda scheduled: visible(scheduled.reason) or "–"),
        message_of,
        "attempts",
        moment("claimed_until"),
        moment("created_at"),
        moment("fired_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the size of what is to be sent."""
        rows: QuerySet[Any] = super().get_queryset(request).annotate(request_bytes=OctetLength("request"))
        return rows


@admin.register(Media)
class MediaAdmin(RecordAdmin):
    """The blobs of the built-in media store: how large, and whose."""

    list_display = (
        "id",
        column("owner", lambda media: search_link(Member, media.owner_id)),
        "size",
        moment("created_at", "created"),
    )
    ordering = ("-id",)
    search_by = {"id": ("id",)}
    search_help_text = "The id of a medium"
    readonly_fields = fields = (
        "id",
        column("owner", lambda media: search_link(Member, media.owner_id)),
        "size",
        column("hash", lambda media: fingerprint(media.sha256)),
        moment("created_at"),
    )


class MediaLinkFilter(RecentFilter):
    """Whether the media service knows."""

    title = "linked"
    parameter_name = "linked"
    choices_by_value = {
        "no": ("Pending", Q(linked_at__isnull=True)),
        "yes": ("Linked", Q(linked_at__isnull=False)),
    }


@admin.register(MediaLink)
class MediaLinkAdmin(RecordAdmin):
    """Which messages carry a medium, and whether the media service knows."""

    list_display = ("id", message_of, conversation_of, moment("linked_at", "linked"), "attempts")
    ordering = ("-id",)
    list_filter = (MediaLinkFilter,)
    search_by = {"message_id": ("id",)}
    search_help_text = "The id of a message"
    readonly_fields = fields = (
        message_of,
        conversation_of,
        column("media id", lambda link: visible(link.media_id)),
        moment("linked_at"),
        "attempts",
        moment("next_try_at"),
    )


@admin.register(LogEpoch)
class LogEpochAdmin(RecordAdmin):
    """The generation of the log: one row. `manage.py new_epoch` begins another."""

    list_display = ("id", "epoch", moment("since"))
    ordering = ("-id",)
    search_fields = ()
    readonly_fields = fields = ("epoch", moment("since"))
