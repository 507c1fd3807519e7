"""What became of each message: a row a recipient, a cursor a device (specification §10.1, docs/architecture.md
"Tables").

Written by `delivery/store/` and, for the first row of a recipient, by the send's own transaction.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now

from messaging.models import Conversation, Device, Message


class DeliveryStatus(models.Model):
    """One recipient's status of one message: sent, delivered (first device), read (if the reader tells)."""

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="statuses", db_index=False)
    user_id = models.UUIDField()
    delivered_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "delivery_statuses"
        verbose_name_plural = "delivery statuses"
        constraints = [
            models.UniqueConstraint(name="delivery_statuses_once", fields=["message", "user_id"]),
            models.CheckConstraint(
                name="delivery_statuses_read_implies_delivered",
                condition=Q(read_at__isnull=True) | Q(delivered_at__isnull=False, delivered_at__lte=F("read_at")),
            ),
        ]


class MessageErasure(models.Model):
    """The devices that a message had reached when it was deleted or erased as expired; written with its tombstone.

    Which of them erased it is in `device_cursors`: those that acknowledged the entry that tells of it.
    """

    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="erasure", primary_key=True)
    device_ids = ArrayField(models.UUIDField())

    class Meta:
        db_table = "message_erasures"


class TraceEvent(models.Model):
    """A step of a message's way, without content, for `GET messages/{id}/trace`."""

    id = models.BigAutoField(primary_key=True)
    message_id = models.UUIDField()
    step = models.CharField(max_length=24)
    at = models.DateTimeField()
    process = models.CharField(max_length=64)
    device_id = models.UUIDField(null=True, blank=True)

    class Meta:
        db_table = "trace_events"
        indexes = [models.Index(fields=["message_id"], name="trace_events_of_message")]


class DeviceCursor(models.Model):
    """How far a device has acknowledged a conversation: what it lacks is read from the log after this seq."""

    id = models.BigAutoField(primary_key=True)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="cursors", db_index=False)
    # No constraint in the database: its check would wait for whoever holds the conversation's row, with the receipts of
    # everybody in the batch. A conversation's row is never deleted while the system runs.
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="cursors", db_index=False, db_constraint=False
    )
    acked_seq = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "device_cursors"
        constraints = [
            models.UniqueConstraint(name="device_cursors_once", fields=["device", "conversation"]),
            models.CheckConstraint(name="device_cursors_acked_seq", condition=Q(acked_seq__gte=0)),
        ]
        indexes = [models.Index(fields=["conversation"], name="device_cursors_of_conversation")]


class DeadLetter(models.Model):
    """Something that failed too often to be tried again by itself; staff requeue or discard it."""

    class State(models.TextChoices):
        WAITING = "waiting"
        REQUEUED = "requeued"
        DISCARDED = "discarded"
        GONE = "gone"  # requeued, but what it names was not there any more

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=32)  # whose row: media_link, scheduled, push, recovery …
    key = models.CharField(max_length=128)  # which row
    code = models.CharField(max_length=64)
    detail = models.CharField(max_length=200, blank=True, default="", db_default="")  # never anything of a message
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING, db_default=State.WAITING)
    failures = models.IntegerField(default=1, db_default=1)  # how often it became a dead letter
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=150, blank=True, default="", db_default="")

    class Meta:
        db_table = "dead_letters"
        constraints = [models.UniqueConstraint(name="dead_letters_once", fields=["kind", "key"])]
        indexes = [
            models.Index(fields=["kind", "id"], name="dead_letters_waiting", condition=Q(state="waiting")),
            models.Index(fields=["settled_at"], name="dead_letters_settled", condition=Q(settled_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class ReconcileRun(models.Model):
    """One pass of the reconciliation over all conversations, or one of them: what it found and repaired."""

    id = models.BigAutoField(primary_key=True)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)
    is_scheduled = models.BooleanField(default=False, db_default=False)  # beat's, or that of `manage.py reconcile`
    repairs = models.BooleanField(default=False, db_default=False)
    conversation_id = models.UUIDField(null=True, blank=True)  # the only one
    # How far it is: everything before this place was looked at. A pass goes on over many runs of its task.
    position = models.UUIDField(null=True, blank=True)
    position_seq = models.BigIntegerField(default=0, db_default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)
    conversations = models.BigIntegerField(default=0, db_default=0)
    entries = models.BigIntegerField(default=0, db_default=0)
    found = models.JSONField(default=dict, db_default=Value({}, models.JSONField()), blank=True)  # by check
    repaired = models.JSONField(default=dict, db_default=Value({}, models.JSONField()), blank=True)
    examples = models.JSONField(default=list, db_default=Value([], models.JSONField()), blank=True)

    class Meta:
        db_table = "reconcile_runs"
        constraints = [
            # One scheduled pass at a time, however many beats there are.
            models.UniqueConstraint(
                name="reconcile_runs_one_scheduled",
                fields=["is_scheduled"],
                condition=Q(is_scheduled=True, ended_at__isnull=True),
            ),
        ]


class PushOutbox(models.Model):
    """The messages of one batch of sends, by conversation, for which nobody has decided about pushes yet.

    Written in the send's own transaction, one row for its whole batch; deleted by who decides.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    conversation_ids = ArrayField(models.UUIDField())
    from_seqs = ArrayField(models.BigIntegerField())  # of each conversation: the first new message

    class Meta:
        db_table = "push_outbox"
        verbose_name_plural = "push outbox"


class PushState(models.Model):
    """What is to be told, and was told, to an offline user of a conversation. Only who lags has a row."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.UUIDField()
    conversation_id = models.UUIDField()
    # When to look at it next; null: nothing is to be told.
    due_at = models.DateTimeField(null=True, blank=True)
    armed_at = models.DateTimeField(null=True, blank=True)  # since when something is to be told
    claimed_until = models.DateTimeField(null=True, blank=True)
    # Up to here the push reached whose outcome is not known: tried again without newer messages, it has the same key.
    key_seq = models.BigIntegerField(null=True, blank=True)
    pushed_seq = models.BigIntegerField(default=0, db_default=0)  # up to here everything was told
    pushed_at = models.DateTimeField(null=True, blank=True)
    pushed_devices = ArrayField(models.UUIDField(), default=list)
    is_shown = models.BooleanField(default=False, db_default=False)  # and nobody took it away again
    read_device_id = models.UUIDField(null=True, blank=True)  # where it was read: needs no clearing
    attempts = models.IntegerField(default=0, db_default=0)  # refusals, one after the other
    reason = models.CharField(max_length=64, blank=True, default="", db_default="")  # of the last refusal

    class Meta:
        db_table = "push_states"
        constraints = [models.UniqueConstraint(name="push_states_once", fields=["user_id", "conversation_id"])]
        indexes = [models.Index(fields=["due_at"], name="push_states_due", condition=Q(due_at__isnull=False))]


class PushStatistic(models.Model):
    """How many pushes of an hour, by kind and platform, had which outcome."""

    id = models.BigAutoField(primary_key=True)
    hour = models.DateTimeField()
    kind = models.CharField(max_length=8)
    platform = models.CharField(max_length=32)  # of a device; empty: the push as a whole
    outcome = models.CharField(max_length=16)
    count = models.BigIntegerField()

    class Meta:
        db_table = "push_statistics"
        constraints = [
            models.UniqueConstraint(name="push_statistics_once", fields=["hour", "kind", "platform", "outcome"])
        ]


class PushLog(models.Model):
    """What the built-in notification service was asked to push: never a token, and there is no content to keep."""

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=64)
    kind = models.CharField(max_length=8)
    user_id = models.UUIDField()
    conversation_id = models.UUIDField()
    count = models.IntegerField()
    badge = models.IntegerField()
    platforms = models.CharField(max_length=200, blank=True)
    devices = models.IntegerField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "push_log"
        verbose_name_plural = "push log"
        constraints = [models.UniqueConstraint(name="push_log_once", fields=["key"])]


class PushPreference(models.Model):
    """A user's choice about pushes: of all conversations (no conversation), or of one (standalone mode)."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.UUIDField()
    conversation_id = models.UUIDField(null=True, blank=True)
    enabled = models.BooleanField(default=True, db_default=True)
    muted_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "push_preferences"
        constraints = [
            models.UniqueConstraint(
                name="push_preferences_once", fields=["user_id", "conversation_id"], nulls_distinct=False
            )
        ]
