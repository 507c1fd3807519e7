"""Drafts of the caller, one a conversation (docs/protocol.md §7 `messages/drafts`)."""

from http import HTTPStatus
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, actor_of, answer, body_of, call, id_of, seq_of
from messaging.api.openapi import id_parameter, operation, seq_parameter
from messaging.personal import CreateDraft, DraftList, DraftView, SaveDraft
from messaging.services import drafts as service

TAG = "drafts"


class Drafts(ApiView):
    """`messages/drafts`."""

    @operation(
        "draftList",
        "The caller's drafts",
        {200: DraftList},
        query=[id_parameter("cursor", "`next` of the page before.")],
        tag=TAG,
    )
    def get(self, request: Request) -> Response:
        """The latest changed first. With more than a page takes in bytes, `next` is where the next page goes on."""
        return answer(call(service.list_drafts, actor_of(request), id_of(request, "cursor")))

    @operation(
        "draftCreate",
        "Save a draft",
        {201: DraftView, 200: DraftView},
        body=CreateDraft,
        errors=(404, 409),
        tag=TAG,
    )
    def post(self, request: Request) -> Response:
        """As PUT, with the conversation in the body; 201 where there was none."""
        draft = body_of(request, CreateDraft)
        view, created = call(service.draft_save, actor_of(request), draft.conversation_id, draft)
        return answer(view, HTTPStatus.CREATED if created else HTTPStatus.OK)


class Draft(ApiView):
    """`messages/drafts/{conversationId}`."""

    @operation("draftGet", "The draft of a conversation", {200: DraftView}, errors=(404,), tag=TAG)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """404 where there is none."""
        return answer(call(service.get_draft, actor_of(request), conversation_id))

    @operation(
        "draftSave",
        "Save the draft of a conversation",
        {200: DraftView, 201: DraftView},
        body=SaveDraft,
        errors=(404, 409),
        tag=TAG,
    )
    def put(self, request: Request, conversation_id: UUID) -> Response:
        """With `revision`, only where that is the current one (0: where there is no draft).

        Otherwise 409 `edit_conflict`, with the current one in `details.revision`. Without it, whatever is there is
        replaced. Revisions grow, and are not met again after a deletion.
        """
        view, created = call(service.draft_save, actor_of(request), conversation_id, body_of(request, SaveDraft))
        return answer(view, HTTPStatus.CREATED if created else HTTPStatus.OK)

    @operation(
        "draftDelete",
        "Delete the draft of a conversation",
        {204: None},
        errors=(404, 409),
        query=[seq_parameter("revision", 0, "Only where this is the current revision.")],
        tag=TAG,
    )
    def delete(self, request: Request, conversation_id: UUID) -> Response:
        """404 where there is none."""
        call(service.draft_delete, actor_of(request), conversation_id, seq_of(request, "revision", 0))
        return answer(None, HTTPStatus.NO_CONTENT)
