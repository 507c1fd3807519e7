"""What became of each message: a row a recipient, a cursor a device (specification §10.1, docs/architecture.md
"Tables").

Written by `delivery/store/` and, for the first row of a recipient, by the send's own transaction.
"""

from django.db import models
from django.db.models import F, Q

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
    """A device that acknowledged the deletion or the expiry of a message which had reached it."""

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="erasures", db_index=False)
    device_id = models.UUIDField()
    erased_at = models.DateTimeField(null=True, blank=True)  # null: it has the message and did not answer yet

    class Meta:
        db_table = "message_erasures"
        constraints = [models.UniqueConstraint(name="message_erasures_once", fields=["message", "device_id"])]


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
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="cursors", db_index=False)
    acked_seq = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "device_cursors"
        constraints = [
            models.UniqueConstraint(name="device_cursors_once", fields=["device", "conversation"]),
            models.CheckConstraint(name="device_cursors_acked_seq", condition=Q(acked_seq__gte=0)),
        ]
        indexes = [models.Index(fields=["conversation"], name="device_cursors_of_conversation")]
