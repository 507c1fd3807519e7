"""The admin's view of pushes: what waits to be decided, what was told to whom, how it went. Never a token or a word."""

from django.contrib import admin
from django.db.models import Q

from delivery.models import PushLog, PushOutbox, PushPreference, PushState, PushStatistic
from messaging.models import Conversation, Device, Member
from whispr.record_admin import RecentFilter, RecordAdmin, column, moment, record_link, search_link, visible

user_of = column("user", lambda record: search_link(Member, record.user_id))
conversation_of = column("conversation", lambda record: record_link(Conversation, record.conversation_id) or "all")
platforms = column("platforms", lambda row: visible(row.platforms))


@admin.register(PushOutbox)
class PushOutboxAdmin(RecordAdmin):
    """Batches of sends about whose pushes nobody has decided yet: rows older than some seconds need a worker."""

    list_display = ("id", moment("at", "sent"), column("conversations", lambda row: len(row.conversation_ids)))
    ordering = ("id",)
    search_fields = ()
    readonly_fields = fields = (
        moment("at", "sent"),
        column(
            "conversations",
            lambda row: ", ".join(
                f"{one} from {seq}" for one, seq in zip(row.conversation_ids, row.from_seqs, strict=True)
            ),
        ),
    )


class PushDueFilter(RecentFilter):
    """What is to be done about it."""

    title = "state"
    parameter_name = "state"
    choices_by_value = {
        "due": ("To be told", Q(due_at__isnull=False)),
        "shown": ("Shown, not read", Q(is_shown=True)),
        "refused": ("Refused", Q(attempts__gt=0)),
    }


@admin.register(PushState)
class PushStateAdmin(RecordAdmin):
    """What is to be told, and was told, to users who lag behind a conversation."""

    list_display = (
        "id",
        user_of,
        conversation_of,
        moment("due_at", "due"),
        moment("pushed_at", "told"),
        "pushed_seq",
        "is_shown",
        "attempts",
        column("reason", lambda state: visible(state.reason)),
    )
    ordering = ("-id",)
    list_filter = (PushDueFilter,)
    search_by = {"user_id": ("conversation_id",)}
    search_help_text = "The id of a user"
    readonly_fields = fields = (
        user_of,
        conversation_of,
        moment("armed_at", "since"),
        moment("due_at", "due"),
        moment("claimed_until"),
        "key_seq",
        "pushed_seq",
        moment("pushed_at", "told"),
        column("devices", lambda state: ", ".join(str(one) for one in state.pushed_devices) or "none known here"),
        "is_shown",
        column("read on", lambda state: record_link(Device, state.read_device_id)),
        "attempts",
        column("reason", lambda state: visible(state.reason)),
    )


@admin.register(PushLog)
class PushLogAdmin(RecordAdmin):
    """What the built-in notification service was asked to push. Empty where a service of its own does it."""

    list_display = ("id", moment("at"), "kind", user_of, conversation_of, "count", "badge", "devices", platforms)
    ordering = ("-id",)
    search_fields = ()
    readonly_fields = fields = (
        "key",
        moment("at"),
        "kind",
        user_of,
        conversation_of,
        "count",
        "badge",
        "devices",
        platforms,
    )


@admin.register(PushStatistic)
class PushStatisticAdmin(RecordAdmin):
    """How pushes went, by hour; without a platform the pushes themselves, with one each of their devices."""

    list_display = (
        "id",
        moment("hour"),
        "kind",
        column("platform", lambda row: visible(row.platform)),
        "outcome",
        "count",
    )
    ordering = ("-id",)
    search_fields = ()
    readonly_fields = fields = (
        moment("hour"),
        "kind",
        column("platform", lambda row: visible(row.platform)),
        "outcome",
        "count",
    )


@admin.register(PushPreference)
class PushPreferenceAdmin(RecordAdmin):
    """Who wants no pushes; in force where no user service is asked."""

    list_display = ("id", user_of, conversation_of, "enabled", moment("muted_until"))
    ordering = ("-id",)
    search_by = {"user_id": ("conversation_id",)}
    search_help_text = "The id of a user"
    readonly_fields = fields = (user_of, conversation_of, "enabled", moment("muted_until"))
