"""What belongs to users: devices, settings, blocks, the development sign-in."""

from typing import Any

from django.contrib import admin
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import HttpRequest

from delivery.models import DeviceCursor
from messaging.admin.columns import name_of, user_of
from messaging.models import Block, Device, DevPerson, Member, UserSettings
from whispr.record_admin import RecordAdmin, column, fingerprint, moment, search_link, visible

key_of = column("signing key", lambda device: fingerprint(device.public_key))


@admin.register(Device)
class DeviceAdmin(RecordAdmin):
    """Devices, with fingerprints of their keys."""

    list_display = (
        "id",
        user_of,
        name_of,
        column("platform", lambda device: visible(device.platform) or "–"),
        key_of,
        moment("last_seen_at", "last seen"),
        moment("revoked_at", "revoked"),
    )
    ordering = ("-id",)
    search_by = {"id": ("id",), "user_id": ("-last_seen_at",)}
    search_help_text = "The id of a device or of a user"
    private = ("push_token",)
    clients_text = ("name", "platform")
    readonly_fields = fields = (
        "id",
        user_of,
        name_of,
        column("platform", lambda device: visible(device.platform) or "–"),
        key_of,
        column("encryption key", lambda device: fingerprint(device.encryption_key)),
        column("push token", lambda device: "yes" if device.has_push_token else "–"),
        column("cursors", lambda device: search_link(DeviceCursor, device.pk, "of this device")),
        moment("created_at"),
        moment("last_seen_at"),
        moment("revoked_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With whether there is a push token, which is not read."""
        has_push_token = ExpressionWrapper(~Q(push_token=""), BooleanField())
        rows: QuerySet[Any] = super().get_queryset(request).annotate(has_push_token=has_push_token)
        return rows


@admin.register(UserSettings)
class UserSettingsAdmin(RecordAdmin):
    """What users chose."""

    list_display = ("user_id", "read_receipts", moment("changed_at", "changed"))
    ordering = ("-user_id",)
    search_by = {"user_id": ("user_id",)}
    search_help_text = "The id of a user"
    readonly_fields = fields = (user_of, "read_receipts", moment("changed_at"))


@admin.register(Block)
class BlockAdmin(RecordAdmin):
    """Who wants nothing from whom."""

    list_display = (
        "id",
        user_of,
        column("blocked", lambda block: search_link(Member, block.blocked_id)),
        moment("blocked_at", "since"),
    )
    ordering = ("-id",)
    search_by = {"user_id": ("blocked_id",), "blocked_id": ("id",)}
    search_help_text = "The id of a user, on either side"
    readonly_fields = fields = (
        user_of,
        column("blocked", lambda block: search_link(Member, block.blocked_id)),
        moment("blocked_at"),
    )


@admin.register(DevPerson)
class DevPersonAdmin(RecordAdmin):
    """Who used the development sign-in."""

    list_display = ("user_id", name_of, moment("signed_in_at", "signed in"))
    ordering = ("-user_id",)
    search_by = {"user_id": ("user_id",)}
    search_help_text = "The id of a user"
    clients_text = ("name",)
    readonly_fields = fields = (
        user_of,
        name_of,
        column("devices", lambda person: search_link(Device, person.user_id, "of this user")),
        moment("signed_in_at"),
    )
