"""What waits to be sent, of one user alone: drafts and scheduled messages (docs/protocol.md §7)."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.conversations import Conversation
from whispr.kernel.ids import new_id


class Draft(models.Model):
    """What a user has begun to write in a conversation: an opaque blob with a revision, on all their devices."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.UUIDField()
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="drafts")
    content = models.BinaryField()
    revision = models.BigIntegerField(default=1, db_default=1)
    changed_by = models.UUIDField()  # the device
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "drafts"
        constraints = [models.UniqueConstraint(name="drafts_once", fields=["user_id", "conversation"])]


class ScheduledMessage(models.Model):
    """A send that waits for its time. The row is the truth; the worker claims due rows, and sends as anyone sends."""

    class State(models.TextChoices):
        SCHEDULED = "scheduled"
        SENT = "sent"
        NEEDS_REENCRYPT = "needs_reencrypt"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user_id = models.UUIDField()
    device_id = models.UUIDField()
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="scheduled")
    scheduled_for = models.DateTimeField()
    request = models.BinaryField()  # the send, as the JSON that the client gave; erased once it is sent
    client_random = models.BigIntegerField()
    members_version = models.BigIntegerField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.SCHEDULED, db_default=State.SCHEDULED)
    reason = models.CharField(max_length=32, blank=True, default="", db_default="")  # the code of a failure
    message_id = models.UUIDField(null=True, blank=True)
    attempts = models.IntegerField(default=0, db_default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    # When its content was made: a device that came or went after that makes it one to encrypt again.
    encrypted_at = models.DateTimeField(db_default=Now())
    # Of the request, so that a repeated POST is known for one when the request itself is erased.
    fingerprint = models.BinaryField(default=b"", db_default=b"")
    fired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "scheduled_messages"
        constraints = [
            models.UniqueConstraint(name="scheduled_messages_key", fields=["user_id", "client_random"]),
            models.CheckConstraint(
                name="scheduled_messages_state",
                condition=Q(state__in=["scheduled", "sent", "needs_reencrypt", "failed"]),
            ),
        ]
        indexes = [
            models.Index(fields=["scheduled_for"], name="scheduled_messages_due", condition=Q(state="scheduled")),
            models.Index(fields=["user_id", "scheduled_for"], name="scheduled_messages_of_user"),
        ]
