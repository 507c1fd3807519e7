"""The admin's view of delivery: what became of each message at each recipient, and how far each device is."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone

from delivery import push_admin  # noqa: F401 - registers the pages of pushes
from delivery.models import DeadLetter, DeliveryStatus, DeviceCursor, MessageErasure, ReconcileRun, TraceEvent
from delivery.services import push  # noqa: F401 - as below
from delivery.services.dead_letters import dead_letters_discard, dead_letters_requeue
from messaging.models import Conversation, Device, Member, Message

# Loaded for their kinds of dead letters: the process that serves the admin requeues what the workers gave up.
from messaging.services import expiry, media, recovery_drain, scheduled  # noqa: F401
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS
from whispr.record_admin import (
    RECENT_ROWS,
    RecentFilter,
    RecordAdmin,
    RecordInline,
    column,
    moment,
    record_link,
    search_link,
    visible,
)

# One choice of an admin page: a page of its list.
DECIDED_AT_ONCE = 100
message_of = column("message", lambda record: record_link(Message, record.message_id))
device_of = column("device", lambda record: record_link(Device, record.device_id))
user_of = column("recipient", lambda status: search_link(Member, status.user_id))


def _state(status: DeliveryStatus) -> str:
    """As `messages/{id}/delivery` has it (docs/protocol.md "What each status means")."""
    if status.read_at:
        return "read"
    if status.delivered_at:
        return "delivered"
    message, now = status.message, timezone.now()
    gone = message.is_deleted or (message.expires_at is not None and message.expires_at <= now)
    return "expired" if gone or message.sent_at <= _timed_out_before(now) else "pending"


def _timed_out_before(now: datetime) -> datetime:
    return now - timedelta(seconds=LIMITS.delivery_timeout_seconds)


def _with_messages(rows: QuerySet[DeliveryStatus]) -> QuerySet[DeliveryStatus]:
    """The statuses with what their states need of the messages, and nothing else of these."""
    own = [field.attname for field in DeliveryStatus._meta.concrete_fields]
    return rows.select_related("message").only(*own, "message__is_deleted", "message__expires_at", "message__sent_at")


state_of = column("status", _state)


class DeliveryStatusInline(RecordInline):
    """The statuses on their message's page: a row a recipient, 50 a page.

    None for a message to more than `WHISPR_STATUS_ROWS_MAX` recipients: there the members' watermarks answer.
    """

    model = DeliveryStatus
    ordering = ("user_id",)
    readonly_fields = fields = (user_of, state_of, moment("delivered_at"), moment("read_at"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeliveryStatus]:
        """With what the states need."""
        return _with_messages(super().get_queryset(request))


# The message is gone, or the statement's time is past it.
_GONE = Q(message__is_deleted=True) | Q(message__expires_at__lte=Now())


class DeliveryStateFilter(RecentFilter):
    """How far a message came, over the newest rows; `timed out` over the newest of those that are old enough for it.

    No index serves the state itself: one on `delivered_at` would make every receipt write to it, and its update of the
    row a new entry in every other index as well (docs/decisions/0021-no-index-on-pending.md).
    """

    title = "status"
    parameter_name = "status"
    choices_by_value = {
        "pending": ("Pending", Q(delivered_at__isnull=True) & ~_GONE),
        "delivered": ("Delivered, not read", Q(delivered_at__isnull=False, read_at__isnull=True)),
        "read": ("Read", Q(read_at__isnull=False)),
        "expired": ("Expired before it was delivered", Q(delivered_at__isnull=True) & _GONE),
        "timed_out": ("Not delivered in time", Q(delivered_at__isnull=True)),
    }

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeliveryStatus]) -> QuerySet[DeliveryStatus]:
        """The matches among the newest rows, or among the newest that are old enough."""
        if self.value() != "timed_out":
            return super().queryset(request, queryset)
        # A message's id begins with the time of its send, and an index begins with the message's id.
        bound = UUID(int=int(_timed_out_before(timezone.now()).timestamp() * 1000) << 80)
        old = DeliveryStatus.objects.filter(message_id__lt=bound).order_by("-message_id")[:RECENT_ROWS]
        return queryset.filter(pk__in=old.values("pk"), delivered_at__isnull=True)


@admin.register(DeliveryStatus)
class DeliveryStatusAdmin(RecordAdmin):
    """Each recipient's status of each message."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeliveryStatus]:
        """With what the states need."""
        return _with_messages(super().get_queryset(request))

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
    """The devices on which a message was when it was deleted or erased as expired."""

    list_display = (message_of, column("devices", lambda erasure: len(erasure.device_ids)))
    ordering = ("-message_id",)
    search_by = {"message_id": ("message_id",)}
    search_help_text = "The id of a message"
    readonly_fields = fields = (
        message_of,
        column("devices", lambda erasure: ", ".join(str(device_id) for device_id in erasure.device_ids) or "none"),
    )


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


class DeadLetterFilter(SimpleListFilter):
    """What waits for a decision, by an index; without a choice everything, what was settled too."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """What can be chosen."""
        return [(state.value, state.label) for state in DeadLetter.State]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """The letters in the chosen state."""
        return queryset.filter(state=self.value()) if self.value() else queryset


@admin.register(DeadLetter)
class DeadLetterAdmin(RecordAdmin):
    """What failed too often to be tried again by itself. Requeue it once its cause is gone, or discard it."""

    list_display = ("id", "kind", "key", "code", "detail", "state", "failures", moment("last_at", "last failed"))
    ordering = ("-id",)
    list_filter = (DeadLetterFilter,)
    readonly_fields = fields = (
        "kind",
        "key",
        "code",
        "detail",
        "state",
        "failures",
        moment("first_at"),
        moment("last_at"),
        moment("settled_at"),
        "settled_by",
    )
    search_fields = ()
    actions = ("requeue", "discard")  # type: ignore[assignment]  # the pages of other tables have none

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """For whom may look at dead letters: nothing else can be done here, least of all deleting rows."""
        found: dict[str, Any] = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    @admin.action(description="Requeue: let the selected be tried again", permissions=["decide"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Give them their tries back."""
        self._decide(request, queryset, dead_letters_requeue, "come back")

    @admin.action(description="Discard: give the selected up", permissions=["decide"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Give them up."""
        self._decide(request, queryset, dead_letters_discard, "were given up")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Staff with the right to change dead letters."""
        return request.user.has_perm("delivery.change_deadletter")

    def _decide(
        self,
        request: HttpRequest,
        queryset: QuerySet[DeadLetter],
        decide: Callable[[Sequence[int], str], Awaitable[int]],
        done: str,
    ) -> None:
        ids = list(queryset.values_list("id", flat=True)[:DECIDED_AT_ONCE])
        try:
            count = async_to_sync(decide)(ids, request.user.get_username())
        except WhisprError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, f"{count} of {len(ids)} {done}.")


@admin.register(ReconcileRun)
class ReconcileRunAdmin(RecordAdmin):
    """What the passes of the reconciliation found (`manage.py reconcile`)."""

    list_display = (
        "id",
        moment("started_at", "began"),
        moment("ended_at", "ended"),
        "is_scheduled",
        "repairs",
        "conversations",
        "entries",
        column("found", lambda run: sum(run.found.values())),
        column("repaired", lambda run: sum(run.repaired.values())),
    )
    ordering = ("-id",)
    search_fields = ()
    readonly_fields = fields = (
        moment("started_at"),
        moment("ended_at"),
        "is_scheduled",
        "repairs",
        "conversation_id",
        "position",
        "conversations",
        "entries",
        "found",
        "repaired",
        "examples",
    )
