"""Conversations, their members and their log (specification §10.1, docs/architecture.md "Tables").

Rows here are written by `messaging/store/` only; Django's models carry the schema, the admin and the tests.
"""

import uuid

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now

from whispr.kernel.ids import new_id

CLIENT_RANDOM_MAX = 2**53 - 1


class LogEpoch(models.Model):
    """The generation of the whole log: one row. It changes when a backup is restored or a replica is promoted."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    epoch = models.CharField(max_length=36, default=new_id)
    since = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "log_epoch"
        constraints = [models.CheckConstraint(name="log_epoch_single", condition=Q(id=1))]


class Conversation(models.Model):
    """One append-only log. `last_seq` is only ever changed under the row's lock, so that seq has no gap."""

    class Type(models.TextChoices):
        DIRECT = "direct"
        GROUP = "group"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    type = models.CharField(max_length=8, choices=Type.choices)
    # The two members of a direct conversation, sorted: one conversation a pair.
    direct_key = models.CharField(max_length=73, null=True, blank=True, unique=True)
    last_seq = models.BigIntegerField(default=0, db_default=0)
    last_sent_at = models.DateTimeField(null=True, blank=True)
    head_hash = models.BinaryField(null=True, blank=True)
    members_version = models.BigIntegerField(default=1, db_default=1)
    member_count = models.IntegerField(default=0, db_default=0)
    settings = models.JSONField(default=dict, db_default=Value({}, models.JSONField()), blank=True)
    created_by = models.UUIDField()
    created_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "conversations"
        constraints = [
            models.CheckConstraint(name="conversations_type", condition=Q(type__in=["direct", "group"])),
            models.CheckConstraint(name="conversations_last_seq", condition=Q(last_seq__gte=0)),
            models.CheckConstraint(
                name="conversations_direct_key",
                condition=Q(type="direct", direct_key__isnull=False) | Q(type="group", direct_key__isnull=True),
            ),
        ]
        indexes = [models.Index(fields=["-created_at"], name="conversations_created")]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Member(models.Model):
    """A user's current (or last) span in a conversation, with the user's watermarks.

    The user may see seq in [joined_seq, left_seq]; earlier spans are in `member_spans`.
    """

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        MEMBER = "member"

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="members", db_index=False)
    user_id = models.UUIDField()
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.MEMBER, db_default=Role.MEMBER)
    joined_seq = models.BigIntegerField()
    left_seq = models.BigIntegerField(null=True, blank=True)
    # All entries up to here reached a device of the user / were read / were read and may be told to others.
    delivered_seq = models.BigIntegerField(default=0, db_default=0)
    read_seq = models.BigIntegerField(default=0, db_default=0)
    public_read_seq = models.BigIntegerField(default=0, db_default=0)
    joined_at = models.DateTimeField(db_default=Now())
    # When the membership itself last changed: processes find changes here that the doorbell lost.
    changed_at = models.DateTimeField(db_default=Now())
    # The conversation's members_version since which the user is in, or out: what a stale sender is told.
    changed_version = models.BigIntegerField(default=0, db_default=0)
    # Beside these, `untold` (int8multirange): the seqs that were read while it was not to be told.

    class Meta:
        db_table = "members"
        constraints = [
            models.UniqueConstraint(name="members_one_a_user", fields=["conversation", "user_id"]),
            models.CheckConstraint(name="members_role", condition=Q(role__in=["owner", "admin", "member"])),
            models.CheckConstraint(
                name="members_span", condition=Q(left_seq__isnull=True) | Q(left_seq__gte=F("joined_seq"))
            ),
            models.CheckConstraint(
                name="members_read_implies_delivered", condition=Q(read_seq__lte=F("delivered_seq"))
            ),
            models.CheckConstraint(name="members_public_read", condition=Q(public_read_seq__lte=F("read_seq"))),
        ]
        indexes = [
            models.Index(fields=["user_id", "conversation"], name="members_of_user"),
            models.Index(fields=["changed_at"], name="members_changed"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.conversation_id}"


class MemberSpan(models.Model):
    """A closed span of a user who left and came back: what they may still see of that time.

    A `shared` one is what the conversation let the user see of before they joined: nothing was sent to them then.
    """

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="spans", db_index=False)
    user_id = models.UUIDField()
    from_seq = models.BigIntegerField()
    to_seq = models.BigIntegerField()
    shared = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "member_spans"
        constraints = [
            models.UniqueConstraint(name="member_spans_once", fields=["conversation", "user_id", "from_seq"]),
            models.CheckConstraint(name="member_spans_order", condition=Q(to_seq__gte=F("from_seq"))),
        ]


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


class Block(models.Model):
    """A user who wants nothing from another (standalone mode; the user service owns blocks otherwise)."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.UUIDField()
    blocked_id = models.UUIDField()
    blocked_at = models.DateTimeField(db_default=Now())
    # How far each of the two had received their direct conversation when the block began: what the other is shown
    # while it lasts.
    delivered_seq = models.BigIntegerField(default=0, db_default=0)
    blocked_delivered_seq = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "blocks"
        constraints = [
            models.UniqueConstraint(name="blocks_once", fields=["user_id", "blocked_id"]),
            models.CheckConstraint(name="blocks_other", condition=~Q(user_id=F("blocked_id"))),
        ]
        indexes = [models.Index(fields=["blocked_id"], name="blocks_of_blocked")]


class Media(models.Model):
    """An encrypted blob of the built-in media store (standalone mode); removed when no message links to it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner_id = models.UUIDField()
    size = models.BigIntegerField()
    sha256 = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())
    # When a send last asked for it, and when a message first carried it: until then it may wait for its message.
    checked_at = models.DateTimeField(db_default=Now())
    linked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "media"
        verbose_name_plural = "media"
        indexes = [
            models.Index(fields=["owner_id"], name="media_of_owner"),
            models.Index(fields=["created_at"], name="media_never_sent", condition=Q(linked_at__isnull=True)),
        ]


class MediaLink(models.Model):
    """A message that carries a medium, made known to the media service through this outbox row: pending until it said
    yes."""

    id = models.BigAutoField(primary_key=True)
    media_id = models.CharField(max_length=128)
    message_id = models.UUIDField(unique=True)
    conversation_id = models.UUIDField()
    linked_at = models.DateTimeField(null=True, blank=True)
    # The message's content was taken away: the row goes when the media service knows that too.
    removed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.IntegerField(default=0, db_default=0)
    next_try_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "media_links"
        indexes = [
            models.Index(fields=["media_id"], name="media_links_of_media"),
            models.Index(
                fields=["next_try_at"],
                name="media_links_due",
                condition=Q(linked_at__isnull=True) | Q(removed_at__isnull=False),
            ),
        ]


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


class Device(models.Model):
    """A device of a user: registered by its first token; its keys come with POST devices."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user_id = models.UUIDField()
    name = models.CharField(max_length=128, blank=True, default="", db_default="")
    platform = models.CharField(max_length=32, blank=True, default="", db_default="")
    public_key = models.BinaryField(null=True, blank=True)
    encryption_key = models.BinaryField(null=True, blank=True)
    push_token = models.CharField(max_length=512, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True, blank=True)
    # When the device was found to have been away for too long; null again once it was told to begin anew.
    expired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "devices"
        indexes = [models.Index(fields=["user_id"], name="devices_of_user")]

    def __str__(self) -> str:
        return f"{self.name or self.platform or 'device'} {self.id}"


class UserSettings(models.Model):
    """What a user chose for all devices. A user without a row has the defaults."""

    user_id = models.UUIDField(primary_key=True)
    read_receipts = models.BooleanField(default=True, db_default=True)
    share_last_seen = models.BooleanField(default=True, db_default=True)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "user_settings"
        verbose_name_plural = "user settings"


class DevPerson(models.Model):
    """A name that signed in through `dev/tokens`; only where WHISPR_DEV_LOGIN is set."""

    user_id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=64)
    signed_in_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "dev_people"
        verbose_name_plural = "dev people"
