"""The log: its entries, what they change beside it, and the keys of sends (docs/architecture.md "Tables")."""

from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now

from messaging.models.conversations import Conversation
from whispr.kernel.ids import new_id

CLIENT_RANDOM_MAX = 2**53 - 1


class Message(models.Model):
    """One entry of a conversation's log: a message, an edit, a reaction or a system entry."""

    class Type(models.TextChoices):
        TEXT = "text"
        MEDIA = "media"
        SYSTEM = "system"
        EPHEMERAL = "ephemeral"
        EDIT = "edit"
        REACTION = "reaction"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages", db_index=False)
    seq = models.BigIntegerField()
    # For a system entry: who did it (the zero UUID where nobody did), and no device.
    sender_id = models.UUIDField()
    sender_device_id = models.UUIDField(null=True, blank=True)
    message_type = models.CharField(max_length=20, choices=Type.choices)
    content = models.BinaryField(default=b"", db_default=b"")
    metadata = models.JSONField(default=dict, db_default=Value({}, models.JSONField()), blank=True)
    client_random = models.BigIntegerField(null=True, blank=True)
    reply_to_id = models.UUIDField(null=True, blank=True)
    target_id = models.UUIDField(null=True, blank=True)
    media_id = models.CharField(max_length=128, null=True, blank=True)
    signature = models.BinaryField(null=True, blank=True)
    sent_at = models.DateTimeField()
    edited_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    # An ephemeral whose time runs from its first reading: seconds; expires_at is then the ceiling until it is read.
    ttl_after_read = models.IntegerField(null=True, blank=True)
    # The latest edit of this message: the entry that holds its current content. Older versions are older edit entries.
    # Of what was deleted for everyone or expired: the system entry that says so.
    edit_id = models.UUIDField(null=True, blank=True)
    # SHA-256 over the entry before and this one (docs/protocol.md "Hash chain"); null where the chain is off.
    chain_hash = models.BinaryField(null=True, blank=True)
    # Sent in a direct conversation to a user who blocked the sender: nobody but its sender ever sees it.
    withheld = models.BooleanField(default=False, db_default=False)
    is_deleted = models.BooleanField(default=False, db_default=False)
    delete_for_everyone = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "messages"
        constraints = [
            models.UniqueConstraint(name="messages_seq", fields=["conversation", "seq"]),
            models.CheckConstraint(name="messages_seq_positive", condition=Q(seq__gte=1)),
            models.CheckConstraint(
                name="messages_type",
                condition=Q(message_type__in=["text", "media", "system", "ephemeral", "edit", "reaction"]),
            ),
            models.CheckConstraint(
                name="messages_client_random",
                condition=Q(client_random__isnull=True) | Q(client_random__gte=0, client_random__lte=CLIENT_RANDOM_MAX),
            ),
        ]
        indexes = [
            # What is still to expire, and what will once it is read.
            models.Index(
                fields=["expires_at"],
                name="messages_expiring",
                condition=Q(expires_at__isnull=False, is_deleted=False),
            ),
            models.Index(
                fields=["conversation", "seq"],
                name="messages_from_reading",
                condition=Q(ttl_after_read__isnull=False),
            ),
            models.Index(fields=["target_id"], name="messages_of_target", condition=Q(target_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.message_type} {self.id}"


class SendKey(models.Model):
    """The deduplication key of a send: (sender, clientRandom) carried exactly this request (docs/protocol.md §8.2).

    It holds what a duplicate is answered with, and outlives the message's content; purged after the retention.
    """

    message_id = models.UUIDField(primary_key=True)
    sender_id = models.UUIDField()
    client_random = models.BigIntegerField()
    fingerprint = models.BinaryField()
    conversation_id = models.UUIDField()
    seq = models.BigIntegerField()
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "send_keys"
        constraints = [
            models.UniqueConstraint(name="send_keys_once", fields=["sender_id", "client_random"]),
        ]


class Reaction(models.Model):
    """What a user's reaction to a message is now; how it came about is in the log."""

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="reactions", db_index=False)
    user_id = models.UUIDField()
    emoji = models.CharField(max_length=64)
    reacted_at = models.DateTimeField()

    class Meta:
        db_table = "reactions"
        constraints = [models.UniqueConstraint(name="reactions_once", fields=["message", "user_id", "emoji"])]


class HiddenMessage(models.Model):
    """A message that a user deleted for themselves: on all their devices, for nobody else."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.UUIDField()
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="hidden_for")
    hidden_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "hidden_messages"
        constraints = [models.UniqueConstraint(name="hidden_messages_once", fields=["user_id", "message"])]
