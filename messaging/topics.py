"""The two topics of docs/protocol.md §3: the inbox and one conversation."""

import contextlib
from typing import TYPE_CHECKING
from uuid import UUID

from messaging.channels import Channel
from messaging.conversation_events import ConversationEvents
from messaging.fanout.news import UserPush
from messaging.phoenix import EMPTY, JoinState, TopicJoin
from messaging.presence import presences
from messaging.requests import Join
from messaging.services.presence import is_presence_shared
from messaging.services.service_state import announcers
from messaging.services.standing import get_standings
from whispr.kernel.errors import NotFound, WhisprError

if TYPE_CHECKING:
    from messaging.connection import Socket


class InboxChannel(ConversationEvents):
    """`user:{userId}`: every conversation of the user."""

    __slots__ = ("_early",)

    def __init__(self, socket: "Socket", join: TopicJoin) -> None:
        super().__init__(socket, join)
        self._early: list[tuple[UUID, int, bool]] = []  # memberships that began while the join was under way

    async def on_join(self, request: Join) -> None:
        """Subscribe the device to all conversations of its user."""
        await self.join_with(request, await get_standings(self.socket.actor))
        for conversation_id, seq, shared in self._early:
            self.on_joined_conversation(conversation_id, seq, shared)
        self._early.clear()
        state = announcers.get().payload()
        if state is not None:
            self.catch_up.push_event("service_state", state)

    def on_joined_conversation(self, conversation_id: UUID, seq: int, shared: bool = False) -> None:
        """The user was added: the conversation is followed from that entry on, or from what is shared of before."""
        if self.join.state is not JoinState.JOINED:
            self._early.append((conversation_id, seq, shared))
            return
        known = self.catch_up.by_conversation.get(conversation_id)
        # A whole stay may have come and gone unheard, when the doorbell was lost twice: the log is read from where this
        # socket stopped, or, unless this is the conversation's first entry, from where a device that joins would begin.
        stopped = self.catch_up.ended.get(conversation_id)
        if known is None and stopped is not None and seq <= stopped:
            return  # old news of a stay that is over
        if known is None and (shared or (stopped is None and seq > 1)):
            self.spawn(self._follow_from_cursor(conversation_id))
            return
        if known is None:
            known = self.catch_up.add(conversation_id, seq if stopped is None else stopped + 1, None, seq - 1)
            self.catch_up.wake(known)
        known.rejoined(seq)

    async def _follow_from_cursor(self, conversation_id: UUID) -> None:
        """Begin where a device that joins anew would begin; without the database, the head check says it again."""
        with contextlib.suppress(WhisprError):
            for standing in (await get_standings(self.socket.actor, conversation_id)).conversations:
                subscription = self.subscribe(standing, None)
                if subscription is not None:
                    subscription.rejoined(standing.joined_seq)
                    self.catch_up.wake(subscription)
                elif standing.left_seq is not None:
                    self.catch_up.ended[conversation_id] = standing.left_seq

    def on_token_expiring(self, payload: bytes) -> None:
        """The socket's token is soon no longer one."""
        self.catch_up.push_event("token_expiring", payload)

    def on_user_push(self, push: UserPush) -> None:
        """Everything that is for the user's devices."""
        self.catch_up.push_event(push.event, push.payload)


class ConversationChannel(ConversationEvents):
    """`conversation:{conversationId}`: one conversation, and who is there."""

    __slots__ = ("conversation_id", "tracked")

    def __init__(self, socket: "Socket", join: TopicJoin, conversation_id: UUID) -> None:
        super().__init__(socket, join)
        self.conversation_id = conversation_id
        self.tracked: bool | None = None  # whether presence is shared; None: not known yet
        self.catch_up.on_ended = lambda: socket.channel_ended(join)

    async def on_join(self, request: Join) -> None:
        """Subscribe to the conversation. Raises NotFound for who is not a member."""
        assert self.conversation_id is not None
        standings = await get_standings(self.socket.actor, self.conversation_id)
        if not standings.conversations or standings.conversations[0].left_seq is not None:
            raise NotFound()
        await self.join_with(request, standings)
        if self.closed:
            return
        await self.check_presence()

    async def check_presence(self) -> None:
        """Begin to be present and to see who else is, or stop, as the user's settings and blocks are now."""
        assert self.conversation_id is not None
        actor = self.socket.actor
        shared = await is_presence_shared(actor, self.conversation_id)
        if self.closed or shared is self.tracked:
            return
        self.tracked = shared
        if shared:
            state = await presences.get().track(self.conversation_id, actor.user_id, actor.device_id, self)
        else:
            presences.get().untrack(self.conversation_id, self)
            state = EMPTY
        if not self.closed:
            self.catch_up.push_event("presence_state", state)

    def on_sharing_changed(self) -> None:
        """The user's settings or blocks changed."""
        if self.tracked is not None:
            self.spawn(self._check_presence_again())

    async def _check_presence_again(self) -> None:
        with contextlib.suppress(WhisprError):  # without the database it stays as it is until the next join
            await self.check_presence()

    def on_presence(self, payload: bytes) -> None:
        """Somebody came or went."""
        self.catch_up.push_event("presence_diff", payload)

    def on_user_push(self, push: UserPush) -> None:
        """What concerns this conversation."""
        if push.conversation_id == self.conversation_id:
            self.catch_up.push_event(push.event, push.payload)

    def close(self) -> None:
        """Leave, and be seen leaving."""
        super().close()
        if self.tracked:
            self.tracked = False
            assert self.conversation_id is not None
            presences.get().untrack(self.conversation_id, self)


def open_channel(socket: "Socket", join: TopicJoin) -> Channel | None:
    """The channel of a topic; None where no topic of this socket matches."""
    kind, _, name = join.topic.partition(":")
    try:
        id_ = UUID(name)
    except ValueError:
        return None
    if str(id_) != name:
        return None
    if kind == "user" and id_ == socket.actor.user_id:
        return InboxChannel(socket, join)
    if kind == "conversation":
        return ConversationChannel(socket, join, id_)
    return None
