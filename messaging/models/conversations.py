"""Conversations and who is in them (docs/architecture.md "Tables")."""

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now

from whispr.kernel.ids import new_id


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
    # A direct conversation's settings as a user chose them whom the other one blocks: nobody else ever sees them.
    withheld_settings = models.JSONField(null=True, blank=True)
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
