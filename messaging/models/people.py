"""Devices, choices and blocks of users (docs/architecture.md "Tables")."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


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
    # When a key of a registered device was set or changed: what was encrypted before may not be for it.
    keys_changed_at = models.DateTimeField(null=True, blank=True)
    # When the device was found to have been away for too long; null again once it was told to begin anew.
    expired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "devices"
        indexes = [
            models.Index(fields=["user_id"], name="devices_of_user"),
            models.Index(fields=["push_token"], name="devices_of_push_token", condition=~Q(push_token="")),
        ]

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


class DevPerson(models.Model):
    """A name that signed in through `dev/tokens`; only where WHISPR_DEV_LOGIN is set."""

    user_id = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=64)
    signed_in_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "dev_people"
        verbose_name_plural = "dev people"
