"""Conversations, their members and their log (docs/protocol.md §7 `conversations`)."""

from http import HTTPStatus
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, actor_of, answer, body_of, call, id_of, limit_of, seq_of
from messaging.api.openapi import id_parameter, limit_parameter, operation, seq_parameter
from messaging.api.shapes import (
    AddMembers,
    ConversationList,
    MemberList,
    ReceiptList,
    UpdateConversation,
    UpdateMember,
)
from messaging.devices import ConversationDevices
from messaging.events import ConversationView, MemberView
from messaging.requests import CreateConversation, History
from messaging.services import conversations as conversations_service
from messaging.services import members as members_service
from messaging.services.devices import conversation_devices
from messaging.services.history import HistoryPage, get_history

TAG = "conversations"


class Conversations(ApiView):
    """`conversations`."""

    @operation(
        "conversationList",
        "The caller's conversations",
        {200: ConversationList},
        query=[limit_parameter(), id_parameter("cursor", "`next` of the page before.")],
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        """By id, the newest conversation first; those that the caller left are not among them.

        `unread` counts the messages of others past the read watermark, among at most 1,000 entries.
        """
        page = call(
            conversations_service.list_conversations, actor_of(request), limit_of(request), id_of(request, "cursor")
        )
        return answer(ConversationList(page.conversations, page.next))

    @operation(
        "conversationCreate",
        "Create a conversation",
        {201: ConversationView, 200: ConversationView},
        body=CreateConversation,
        errors=(404,),
        tag=TAG,
    )
    def post(self, request: Request) -> Response:
        """The caller is a member whether listed or not, and the owner of a group.

        200 with the conversation that exists: for a direct conversation of the same pair, and for a group with the same
        `id`, creator and members. An `id` of another conversation is refused.
        """
        view, created = call(
            conversations_service.conversation_create, actor_of(request), body_of(request, CreateConversation)
        )
        return answer(view, HTTPStatus.CREATED if created else HTTPStatus.OK)


class Conversation(ApiView):
    """`conversations/{id}`."""

    @operation("conversationGet", "One conversation", {200: ConversationView}, errors=(404,), tag=TAG)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """The conversation as the caller sees it."""
        return answer(call(conversations_service.get_conversation, actor_of(request), conversation_id))

    @operation(
        "conversationUpdate",
        "Change the settings",
        {200: ConversationView},
        body=UpdateConversation,
        errors=(404,),
        tag=TAG,
    )
    def patch(self, request: Request, conversation_id: UUID) -> Response:
        """Owner and admins of a group, either member of a direct conversation; a null removes a key."""
        change = body_of(request, UpdateConversation)
        return answer(
            call(conversations_service.conversation_update, actor_of(request), conversation_id, change.settings)
        )

    @operation("conversationDelete", "Delete a group", {204: None}, errors=(404,), tag=TAG)
    def delete(self, request: Request, conversation_id: UUID) -> Response:
        """The owner removes everybody, in one `member_removed` entry."""
        call(conversations_service.conversation_delete, actor_of(request), conversation_id)
        return answer(None, HTTPStatus.NO_CONTENT)


class ConversationMessages(ApiView):
    """`conversations/{id}/messages`."""

    @operation(
        "conversationMessages",
        "A page of the log",
        {200: HistoryPage},
        errors=(404,),
        query=[
            limit_parameter(),
            seq_parameter("before", 1, "The newest entries before this seq."),
            seq_parameter("after", 0, "The oldest entries after this seq; not together with `before`."),
        ],
        tag=TAG,
    )
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """Entries in ascending seq: the newest ones, or those before or after a seq."""
        query = History(
            conversation_id=conversation_id,
            before=seq_of(request, "before", 1),
            after=seq_of(request, "after", 0),
            limit=limit_of(request),
        )
        return answer(call(get_history, actor_of(request), query))


class Members(ApiView):
    """`conversations/{id}/members`."""

    @operation("memberList", "The members", {200: MemberList}, errors=(404,), tag=TAG)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """All current members, those who joined first in front."""
        return answer(MemberList(call(members_service.list_members, actor_of(request), conversation_id)))

    @operation(
        "memberAdd",
        "Add members",
        {201: MemberList, 200: MemberList},
        body=AddMembers,
        errors=(404,),
        tag=TAG,
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Owner and admins of a group; 200 where all of them were members already."""
        wanted = body_of(request, AddMembers).user_ids
        members, added = call(members_service.members_add, actor_of(request), conversation_id, wanted)
        return answer(MemberList(members), HTTPStatus.CREATED if added else HTTPStatus.OK)


class Member(ApiView):
    """`conversations/{id}/members/{userId}`."""

    @operation("memberUpdate", "Change a role", {200: MemberView}, body=UpdateMember, errors=(404,), tag=TAG)
    def patch(self, request: Request, conversation_id: UUID, user_id: UUID) -> Response:
        """The owner of a group; making another member the owner makes the caller an admin."""
        role = body_of(request, UpdateMember).role
        return answer(call(members_service.member_update, actor_of(request), conversation_id, user_id, role))

    @operation("memberRemove", "Remove a member, or leave", {204: None}, errors=(404,), tag=TAG)
    def delete(self, request: Request, conversation_id: UUID, user_id: UUID) -> Response:
        """The owner removes anybody, an admin plain members, everybody may leave; an owner who leaves hands over."""
        call(members_service.member_remove, actor_of(request), conversation_id, user_id)
        return answer(None, HTTPStatus.NO_CONTENT)


class Receipts(ApiView):
    """`conversations/{id}/receipts`."""

    @operation("conversationReceipts", "How far the members are", {200: ReceiptList}, errors=(404,), tag=TAG)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """Of others, `readSeq` is what they let others know."""
        return answer(ReceiptList(call(members_service.list_receipts, actor_of(request), conversation_id)))


class ConversationDeviceList(ApiView):
    """`conversations/{id}/devices`."""

    @operation("conversationDevices", "Whom to encrypt for", {200: ConversationDevices}, errors=(404,), tag=TAG)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """The members' live devices with their public keys, as of `membersVersion`."""
        return answer(call(conversation_devices, actor_of(request), conversation_id))
