"""The admin's view of delivery: what became of each message at each recipient, and how far each device is."""

from django.contrib import admin
from django.db.models import Q

from delivery.models import DeliveryStatus, DeviceCursor, MessageErasure, TraceEvent
from messaging.models import Conversation, Device, Member, Message
from whispr.record_admin import (
    RecentFilter,
    RecordAdmin,
    RecordInline,
    column,
    moment,
    record_link,
    search_link,
    visible,
)

message_of = column("message", lambda record: record_link(Message, record.message_id))
device_of = column("device", lambda record: record_link(Device, record.device_id))
user_of = column("recipient", lambda status: search_link(Member, status.user_id))
state_of = column("status", lambda status: "read" if status.read_at else "delivered" if status.delivered_at else "sent")


class DeliveryStatusInline(RecordInline):
    """The statuses on their message's page: a row a recipient, 50 a page.

    None for a message to more than `WHISPR_STATUS_ROWS_MAX` recipients: there the members' watermarks answer.
    """

    model = DeliveryStatus
    ordering = ("user_id",)
    readonly_fields = fields = (user_of, state_of, moment("delivered_at"), moment("read_at"))


class DeliveryStateFilter(RecentFilter):
    """How far a message came."""

    title = "status"
    parameter_name = "status"
    choices_by_value = {
        "sent": ("Not delivered", Q(delivered_at__isnull=True)),
        "delivered": ("Delivered, not read", Q(delivered_at__isnull=False, read_at__isnull=True)),
        "read": ("Read", Q(read_at__isnull=False)),
    }


@admin.register(DeliveryStatus)
class DeliveryStatusAdmin(RecordAdmin):
    """Each recipient's status of each message."""

    list_display = (
        "id",
        message_of,
        user_of,
        state_of,
        moment("delivered_at", "delivered"),
        moment("read_at", "read"),
    )
    ordering = ("-id",)
    list_filter = (DeliveryStateFilter,)
    search_by = {"message_id": ("user_id",)}
    search_help_text = "The id of a message"
    readonly_fields = fields = (
        message_of,
        user_of,
        state_of,
        moment("delivered_at"),
        moment("read_at"),
    )


@admin.register(DeviceCursor)
class DeviceCursorAdmin(RecordAdmin):
    """How far each device has acknowledged each conversation."""

    list_display = (
        "id",
        device_of,
        column("conversation", lambda cursor: record_link(Conversation, cursor.conversation_id)),
        "acked_seq",
    )
    ordering = ("-id",)
    search_by = {"device_id": ("conversation_id",), "conversation_id": ("id",)}
    search_help_text = "The id of a device or of a conversation"
    readonly_fields = fields = (
        device_of,
        column("conversation", lambda cursor: record_link(Conversation, cursor.conversation_id)),
        "acked_seq",
    )


@admin.register(MessageErasure)
class MessageErasureAdmin(RecordAdmin):
    """Which devices erased a message that was deleted or expired."""

    list_display = ("id", message_of, device_of, moment("erased_at", "erased"))
    ordering = ("-id",)
    search_by = {"message_id": ("device_id",)}
    search_help_text = "The id of a message"
    readonly_fields = fields = (message_of, device_of, moment("erased_at"))


@admin.register(TraceEvent)
class TraceEventAdmin(RecordAdmin):
    """The steps of messages' ways."""

    list_display = ("id", message_of, "step", moment("at"), "process", device_of)
    ordering = ("-id",)
    search_by = {"message_id": ("id",)}
    search_help_text = "The id of a message"
    readonly_fields = fields = (
        message_of,
        "step",
        moment("at"),
        column("process", lambda event: visible(event.process)),
        device_of,
    )
