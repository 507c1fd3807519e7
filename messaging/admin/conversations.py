"""Conversations and what belongs to them: members, spans, drafts."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest

from delivery.models import DeviceCursor
from messaging.admin.columns import conversation_of, user_of
from messaging.models import Conversation, Device, Draft, Member, MemberSpan, Message, UserSettings
from whispr.record_admin import (
    OctetLength,
    RecentFilter,
    RecordAdmin,
    RecordInline,
    column,
    moment,
    record_link,
    search_link,
)

position_of = column("delivered / read", lambda member: f"{member.delivered_seq} / {member.read_seq}")
span_of = column("may see", lambda member: f"{member.joined_seq} – {member.left_seq or 'now'}")


class MemberInline(RecordInline):
    """The members on their conversation's page: at most `WHISPR_MEMBERS_PER_CONVERSATION`, 50 a page."""

    model = Member
    ordering = ("user_id",)
    readonly_fields = fields = (
        user_of,
        "role",
        span_of,
        "delivered_seq",
        "read_seq",
        "public_read_seq",
        moment("joined_at"),
    )


class ConversationTypeFilter(RecentFilter):
    """Direct or group, and those that were deleted."""

    title = "kind"
    parameter_name = "kind"
    newest = "created_at"
    choices_by_value = {
        "direct": ("Direct", Q(type="direct")),
        "group": ("Group", Q(type="group")),
        "deleted": ("Deleted", Q(deleted_at__isnull=False)),
    }


@admin.register(Conversation)
class ConversationAdmin(RecordAdmin):
    """Conversations: their head and their members."""

    list_display = (
        "id",
        "type",
        "last_seq",
        "member_count",
        moment("last_sent_at", "last entry"),
        moment("created_at", "created"),
        column("deleted", lambda conversation: "yes" if conversation.deleted_at else "–"),
    )
    ordering = ("-created_at", "-id")
    list_filter = (ConversationTypeFilter,)
    search_by = {"id": ("id",)}
    search_help_text = "The id of a conversation"
    private = ("settings",)
    inlines = (MemberInline,)
    readonly_fields = fields = (
        "id",
        "type",
        column("entries", lambda conversation: search_link(Message, conversation.pk, f"1 – {conversation.last_seq}")),
        moment("last_sent_at", "last entry"),
        "member_count",
        "members_version",
        column("earlier spans", lambda conversation: search_link(MemberSpan, conversation.pk, "of members who left")),
        column("device cursors", lambda conversation: search_link(DeviceCursor, conversation.pk, "of its devices")),
        column("settings", lambda conversation: f"{conversation.settings_bytes} bytes"),
        column("created by", lambda conversation: search_link(Member, conversation.created_by)),
        moment("created_at"),
        moment("deleted_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the size of the settings: members write what they like into them."""
        size = OctetLength(Cast("settings", TextField()))
        rows: QuerySet[Any] = super().get_queryset(request).annotate(settings_bytes=size)
        return rows


class MemberRoleFilter(RecentFilter):
    """The role of a member, and who left."""

    title = "role"
    parameter_name = "role"
    choices_by_value = {
        **{role.value: (role.label, Q(role=role.value, left_seq__isnull=True)) for role in Member.Role},
        "left": ("Left", Q(left_seq__isnull=False)),
    }


@admin.register(Member)
class MemberAdmin(RecordAdmin):
    """Members: what they may see, and how far they are."""

    list_display = ("id", conversation_of, user_of, "role", span_of, position_of, moment("changed_at", "changed"))
    ordering = ("-id",)
    list_filter = (MemberRoleFilter,)
    search_by = {"conversation_id": ("user_id",), "user_id": ("conversation_id",)}
    search_help_text = "The id of a conversation or of a user"
    readonly_fields = fields = (
        conversation_of,
        user_of,
        column("devices", lambda member: search_link(Device, member.user_id, "of this user")),
        column("settings", lambda member: search_link(UserSettings, member.user_id, "of this user")),
        "role",
        "joined_seq",
        "left_seq",
        "delivered_seq",
        "read_seq",
        "public_read_seq",
        moment("joined_at"),
        moment("changed_at"),
    )


@admin.register(MemberSpan)
class MemberSpanAdmin(RecordAdmin):
    """The closed spans of users who left and came back."""

    list_display = ("id", conversation_of, user_of, "from_seq", "to_seq")
    ordering = ("-id",)
    search_by = {"conversation_id": ("user_id", "from_seq")}
    search_help_text = "The id of a conversation"
    readonly_fields = fields = (conversation_of, user_of, "from_seq", "to_seq")


@admin.register(Draft)
class DraftAdmin(RecordAdmin):
    """That a user has begun to write, and how much."""

    list_display = ("id", user_of, conversation_of, "revision", moment("changed_at", "changed"))
    ordering = ("-id",)
    search_by = {"user_id": ("conversation_id",), "conversation_id": ("id",)}
    search_help_text = "The id of a user or of a conversation"
    private = ("content",)
    readonly_fields = fields = (
        user_of,
        conversation_of,
        column("content", lambda draft: f"{draft.content_bytes} bytes"),
        "revision",
        column("changed by", lambda draft: record_link(Device, draft.changed_by)),
        moment("changed_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the size of the draft."""
        rows: QuerySet[Any] = super().get_queryset(request).annotate(content_bytes=OctetLength("content"))
        return rows
