"""What both topics of docs/protocol.md §2 understand: events decoded to a typed request, carried out by one service
call."""

from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, TypeVar
from uuid import UUID

import msgspec

from delivery.services.receipts import list_ack_places, list_message_places, receipts_record, receipts_submit
from messaging.channels import Channel, Work
from messaging.phoenix import EMPTY, Event, Ref, split_envelope
from messaging.requests import (
    UNNAMED,
    Acks,
    DeleteMessage,
    EditMessage,
    History,
    Join,
    React,
    RenewToken,
    SendMessage,
    Typing,
    decode_request,
)
from messaging.services.deletions import hidden_payloads, message_delete
from messaging.services.edits import edit_submit
from messaging.services.history import get_history
from messaging.services.media import access_media
from messaging.services.permissions import access_permission, is_permitted
from messaging.services.reactions import reaction_submit
from messaging.services.send import access_quota, access_send, message_submit
from messaging.services.sessions import session_open
from messaging.services.standing import Standings, get_head
from messaging.services.typing import typing_renew, typing_set
from messaging.store.log import Appended, NewEntry
from trust.services.quota import quota_take
from whispr.kernel import telemetry
from whispr.kernel.errors import AckAboveHead, BadRequest, Forbidden, NotFound, WhisprError
from whispr.kernel.overload import access_load

CLOSE_BAD_FRAME = 4400
Named = TypeVar("Named", SendMessage, Acks, History, Typing)


class ConversationEvents(Channel):
    """What both topics understand (docs/protocol.md §4)."""

    __slots__ = ()

    conversation_id: UUID | None = None  # of a conversation topic

    def name(self, request: Named) -> Named:
        """The request with the topic's conversation where it names none. Raises BadRequest for another one."""
        mine = self.conversation_id
        given = request.conversation_id
        if given in (None, UNNAMED):
            return request if mine is None else msgspec.structs.replace(request, conversation_id=mine)
        if mine is not None and given != mine:
            raise BadRequest("This topic is another conversation's.")
        return request

    def on_send(self, event: Event) -> Work | None:
        """`send_message`: through the gate, into the log's queue; the answer comes when it is committed."""
        content: bytes | None = None
        payload: bytes | msgspec.Raw = event.payload
        if not isinstance(event.payload, msgspec.Raw):
            payload, content = split_envelope(event.payload)
        request = self.name(decode_request(payload, SendMessage))
        entry = access_send(self.socket.actor, request, content, self.socket)
        quota = access_quota(self.socket.actor, entry.type)
        if quota is not None or entry.media_id is not None or not is_permitted(entry):
            return self._send_after(quota, entry, event.ref)
        self.answer_when_done(event.ref, message_submit(entry), _encode_outcome)
        return None

    async def _send_after(self, quota: Awaitable[None] | None, entry: NewEntry, ref: Ref) -> None:
        if quota is not None:
            await quota
        self.answer_when_done(ref, message_submit(await access_media(await access_permission(entry))), _encode_outcome)

    def on_edit(self, event: Event) -> Work | None:
        """`edit_message`: the new content may come as a binary push, as a send's."""
        content: bytes | None = None
        payload: bytes | msgspec.Raw = event.payload
        if not isinstance(event.payload, msgspec.Raw):
            payload, content = split_envelope(event.payload)
        return self._edit(event.ref, decode_request(payload, EditMessage), content)

    async def _edit(self, ref: Ref, request: EditMessage, content: bytes | None) -> None:
        future = await edit_submit(self.socket.actor, request, content, self.socket)
        self.answer_when_done(ref, future, _encode_outcome)

    def on_react(self, event: Event) -> Work | None:
        """`react`."""
        return self._react(event.ref, decode_request(_json(event), React))

    async def _react(self, ref: Ref, request: React) -> None:
        future = await reaction_submit(self.socket.actor, request, self.socket)
        self.answer_when_done(ref, future, _encode_outcome)

    def on_delete(self, event: Event) -> Work | None:
        """`delete_message`: the entry that tells of it comes as `new_message`, to this socket too."""
        return self._delete(event.ref, decode_request(_json(event), DeleteMessage))

    async def _delete(self, ref: Ref, request: DeleteMessage) -> None:
        await message_delete(self.socket.actor, request, self.socket)
        self.socket.reply(self.join, ref, msgspec.json.encode({"messageId": request.message_id}))

    def on_received(self, event: Event) -> Work | None:
        """`message_received`."""
        return self._acknowledge(event, read=False)

    def on_read(self, event: Event) -> Work | None:
        """`message_read`."""
        return self._acknowledge(event, read=True)

    def _acknowledge(self, event: Event, *, read: bool) -> Work | None:
        quota_take(self.socket.actor.user_id, "ack")
        request = decode_request(_json(event), Acks)
        if request.acks is None and request.message_ids is None:
            request = self.name(request)
        places = list_ack_places(request)
        if places and all(self._was_shown(*place) for place in places):
            future = receipts_submit(self.socket.actor, places, read=read, origin=self.socket)
            # The topic goes on: the acknowledgements behind this one open the window too.
            self.answer_when_done(event.ref, future, _encode_nothing)
            for place in places:
                self.socket.acknowledge(*place)
            return None
        return self._acknowledge_all(event, request, places, read=read)

    async def _acknowledge_all(
        self, event: Event, request: Acks, places: list[tuple[UUID, int]] | None, *, read: bool
    ) -> None:
        """Any form, any number; what was never given to this socket is not taken as received (the reliability
        catalogue: "ack")."""
        try:
            if places is None:
                places = await list_message_places(self.socket.actor, request)
            given = [(one, await self._within_shown(one, up_to)) for one, up_to in places]
            request = msgspec.convert({"acks": [{"conversationId": one, "upTo": up_to} for one, up_to in given]}, Acks)
            for conversation_id, up_to in given:
                self.socket.acknowledge(conversation_id, up_to)
            await receipts_record(self.socket.actor, request, read=read, origin=self.socket)
        except AckAboveHead as error:
            self.on_refused(event.ref, error)
            return
        self.socket.reply(self.join, event.ref, EMPTY)

    def _was_shown(self, conversation_id: UUID, up_to: int) -> bool:
        shown = self.socket.shown_seq(conversation_id)
        return shown is not None and up_to <= shown

    async def _within_shown(self, conversation_id: UUID, up_to: int) -> int:
        shown = self.socket.shown_seq(conversation_id)
        if shown is None or up_to <= shown:
            return up_to
        if up_to > await get_head(conversation_id):
            raise AckAboveHead()
        telemetry.acks_ignored.labels("never_pushed").inc()
        return shown

    def on_refused(self, ref: Ref, error: WhisprError) -> None:
        """Answer an error; an acknowledgement of what was never written ends the socket."""
        self.socket.refuse(self.join, ref, error)
        if isinstance(error, AckAboveHead):
            self.socket.close(CLOSE_BAD_FRAME, "acknowledged beyond the end")

    def on_typing(self, event: Event) -> Work | None:
        """`typing`: passed on to whoever is there; nothing is stored. A new sign asks the database about blocks."""
        access_load("passing")
        request = self.name(decode_request(_json(event), Typing))
        quota_take(self.socket.actor.user_id, "typing")
        if not self.socket.is_member(request.conversation_id):
            raise NotFound()
        if typing_renew(self.socket.actor.user_id, request.conversation_id, request.active, self.socket):
            self.socket.reply(self.join, event.ref, EMPTY)
            return None
        return self._typing(event.ref, request)

    async def _typing(self, ref: Ref, request: Typing) -> None:
        await typing_set(self.socket.actor.user_id, request.conversation_id, request.active, self.socket)
        self.socket.reply(self.join, ref, EMPTY)

    def on_history(self, event: Event) -> Work | None:
        """`history`."""
        request = self.name(decode_request(_json(event), History))
        if request.conversation_id == UNNAMED:
            raise BadRequest("conversationId is missing.")
        return self._history(event.ref, request)

    async def _history(self, ref: Ref, request: History) -> None:
        # A page may be larger than all else that waits for a socket: one at a time, as fast as the client reads.
        await self.socket.outbox.room()
        page = await get_history(self.socket.actor, request)
        if page.messages:
            self.socket.on_fetched(request.conversation_id, page.messages[-1].seq)
        self.socket.reply(self.join, ref, msgspec.json.encode(page))

    def on_renew_token(self, event: Event) -> Work | None:
        """`renew_token`: instead of a new socket (docs/protocol.md §2)."""
        return self._renew_token(event.ref, decode_request(_json(event), RenewToken))

    async def _renew_token(self, ref: Ref, request: RenewToken) -> None:
        actor, claims = await session_open(request.token)
        if (actor.user_id, actor.device_id) != (self.socket.actor.user_id, self.socket.actor.device_id):
            raise Forbidden("The token is of another user or device.")
        self.socket.renew(claims)
        reply = {"expiresAt": datetime.fromtimestamp(claims.expires_at, UTC)}
        self.socket.reply(self.join, ref, msgspec.json.encode(reply))

    handlers: ClassVar[dict[str, str]] = {
        "send_message": "on_send",
        "edit_message": "on_edit",
        "delete_message": "on_delete",
        "react": "on_react",
        "message_received": "on_received",
        "message_read": "on_read",
        "typing": "on_typing",
        "history": "on_history",
        "renew_token": "on_renew_token",
    }

    # --- joining

    async def join_with(self, request: Join, standings: Standings) -> None:
        """Subscribe, answer the join, then catch up; `sync_complete` says when it is done."""
        resync = list_resyncs(request, standings)
        everything = None in resync
        for standing in standings.conversations:
            cursor = request.cursors.get(standing.conversation_id)
            if everything or standing.conversation_id in resync:
                cursor = 0
            self.subscribe(standing, cursor)
        if request.binary:
            self.catch_up.be_binary()
        here = [one for one in standings.conversations if one.left_seq is None]
        reply = {
            "userId": self.socket.actor.user_id,
            "deviceId": self.socket.actor.device_id,
            "serverTime": datetime.now(UTC),
            "epoch": standings.epoch,
            "conversations": len(here),
        }
        self.socket.perform(self.socket.session.joined(self.join, msgspec.json.encode(reply)))
        for conversation_id, reason in resync.items():
            body = (
                {"reason": reason} if conversation_id is None else {"conversationId": conversation_id, "reason": reason}
            )
            self.catch_up.push_event("resync_required", msgspec.json.encode(body))
        # What was hidden or set while the device was away is nothing that the log tells.
        if standings.settings is not None:
            chosen = {"kind": "settings", **msgspec.to_builtins(standings.settings)}
            self.catch_up.push_event("personal_update", msgspec.json.encode(chosen))
        for payload in hidden_payloads(standings.hidden):
            self.catch_up.push_event("personal_update", payload)
        self.catch_up.start(lambda: self._on_drained(len(here)))

    def _on_drained(self, conversations: int) -> None:
        body = {"conversations": conversations, "messages": self.catch_up.pushed}
        self.catch_up.push_event("sync_complete", msgspec.json.encode(body))


def list_resyncs(request: Join, standings: Standings) -> Mapping[UUID | None, str]:
    """What the client must fetch afresh, by conversation (None: everything), and why (docs/protocol.md §3)."""
    if request.epoch is not None and request.epoch != standings.epoch:
        return {None: "epoch_changed"}
    if standings.device_expired:
        return {None: "device_expired"}
    return {
        one.conversation_id: "cursor_beyond_head"
        for one in standings.conversations
        if request.cursors.get(one.conversation_id, 0) > one.last_seq
    }


def _json(event: Event) -> msgspec.Raw:
    if isinstance(event.payload, msgspec.Raw):
        return event.payload
    raise BadRequest("Only send_message takes a binary payload.")


def _encode_outcome(appended: Appended) -> bytes:
    return msgspec.json.encode(appended.outcome)


def _encode_nothing(_: object) -> bytes:
    return EMPTY
