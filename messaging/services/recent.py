"""What is known without the database: the last entries of conversations, their members, what was sent (specification
§10.2, docs/operations.md "Degraded modes"). What became of messages is in `messaging/services/delivery_hints.py`; what
makes that untrue is told here, in the same rounds.

Written after the commit, some entries at a time, by a task that nothing waits for. While the database answers, nobody
reads it.
"""

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from delivery.services.receipts import on_moved
from messaging import fanout
from messaging.events import Actor, EditReference, Entry, MessageView, ReactionView, WithheldEntry
from messaging.fanout.hub import hub
from messaging.fanout.news import EncodedEntry
from messaging.requests import History
from messaging.store import recent as store
from messaging.store.delivery_hints import EVERYTHING
from messaging.store.recent import Note, Recent
from whispr.kernel import database
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop
from whispr.kernel.redis import RedisAway, RedisLink

log = logging.getLogger(__name__)

# Entries of one script: together they are written in a fifth of the time that they take one by one.
FLUSH_SECONDS = 0.2
FLUSH_MAX = 256
WAITING_MAX = 4_096
MEMBERS_SECONDS = 1.0
MEMBERS_BATCH = 200
# A reading of the members serves for so many entries and seconds; then the entries since do not reach back to it.
MEMBERS_ENTRIES = store.KEPT // 2
MEMBERS_AGE = store.RECENT_SECONDS / 2
CONVERSATIONS_MAX = 20_000
_MEMBERSHIP = ("member_added", "member_removed", "conversation_created", "conversation_updated")
_GONE = ("message_deleted", "message_expired")


class _Recorder:
    """What one event loop's commits have for the caches."""

    def __init__(self) -> None:
        self.link = RedisLink("recent")
        self._loop = asyncio.get_running_loop()
        self._notes: list[Note] = []
        self._erased: defaultdict[UUID, set[str]] = defaultdict(set)
        self._forgotten: set[UUID] = set()
        self._changed: dict[UUID, int] = {}
        self._moved: dict[UUID, None] = {}
        self._members_at: OrderedDict[UUID, tuple[int, float]] = OrderedDict()  # the last reading: seq, time
        self._stale: dict[UUID, None] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    def note(self, entries: Sequence[Entry], encoded: Sequence[EncodedEntry]) -> None:
        """Entries were committed by this process."""
        for entry, form in zip(entries, encoded, strict=True):
            if entry.type == "system":
                self._note_system(entry)
            if len(self._notes) < WAITING_MAX:
                is_kept = entry.expires_at is None and not isinstance(entry, WithheldEntry)
                self._notes.append(store.note_of(entry, form.payload, is_kept=is_kept))
            self._look_at_members(entry)
        self._start()

    def forget(self, conversation_id: UUID) -> None:
        """Something changed that no entry tells: one of its messages was hidden by somebody."""
        self._forgotten.add(conversation_id)
        self._start()

    def moved(self, ids: Iterable[UUID]) -> None:
        """What became of messages of these conversations, or what these users are told of it, changed."""
        self._moved.update(dict.fromkeys(ids))
        if len(self._moved) > CONVERSATIONS_MAX:  # Redis is away for long: then nothing that is there holds any more
            self._moved = {EVERYTHING: None}
        self._start()

    def _note_system(self, entry: Entry) -> None:
        said: dict[str, Any] = msgspec.json.decode(entry.metadata)
        self._moved[entry.conversation_id] = None
        if said.get("event") in _GONE:
            self._erased[entry.conversation_id].update(_ids_gone(said))
        elif said.get("event") in _MEMBERSHIP:
            self._changed[entry.conversation_id] = entry.seq
            self._members_at.pop(entry.conversation_id, None)

    def _look_at_members(self, entry: Entry) -> None:
        seq, at = self._members_at.get(entry.conversation_id, (0, 0.0))
        if not at or entry.seq - seq >= MEMBERS_ENTRIES or self._loop.time() - at > MEMBERS_AGE:
            self._stale[entry.conversation_id] = None
            if self._reading is None or self._reading.done():
                self._reading = self._loop.create_task(self._read_members())

    def _start(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = self._loop.create_task(self._flush())

    async def _flush(self) -> None:
        while self._notes or self._erased or self._forgotten or self._changed or self._moved:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                # What takes away goes first, and is tried again until it is done. It goes again after the notes: they
                # may hold what it took away, written and deleted within one round.
                for conversation_id, ids in await self._take_away():
                    if self._notes:
                        self._erased[conversation_id] |= ids
                while self._notes or self._moved:
                    notes, self._notes = self._notes[:FLUSH_MAX], self._notes[FLUSH_MAX:]
                    moved = list(self._moved)[:FLUSH_MAX]
                    for one in moved:
                        del self._moved[one]
                    try:
                        await store.recent_note(self.link, notes, [str(one) for one in moved])
                    except RedisAway:
                        self._moved.update(dict.fromkeys(moved))
                        raise
                await self._take_away()
            except RedisAway:
                self._notes.clear()
                await self.link.wait_up(FLUSH_SECONDS)

    async def _take_away(self) -> list[tuple[UUID, set[str]]]:
        """Forget what changed, and erase what is gone: the ids of that, by conversation."""
        gone: list[tuple[UUID, set[str]]] = []
        while self._changed:
            changed = dict(self._changed)
            await store.members_forget(self.link, changed)
            for conversation_id, seq in changed.items():
                if self._changed.get(conversation_id) == seq:
                    del self._changed[conversation_id]
        while self._forgotten:
            forgotten = set(self._forgotten)
            await store.recent_forget(self.link, forgotten)
            self._forgotten -= forgotten
        while self._erased:
            conversation_id, ids = self._erased.popitem()
            try:
                await store.recent_erase(self.link, conversation_id, ids)
            except RedisAway:
                self._erased[conversation_id] |= ids
                raise
            gone.append((conversation_id, ids))
        return gone

    async def _read_members(self) -> None:
        while self._stale:
            await asyncio.sleep(MEMBERS_SECONDS)
            batch = list(self._stale)[:MEMBERS_BATCH]
            for conversation_id in batch:
                del self._stale[conversation_id]
            try:
                snapshots = await database.run(store.list_snapshots, batch)
                await store.members_note(self.link, snapshots)
            except (WhisprError, RedisAway):
                continue  # asked for again with the next entry
            except Exception:
                log.exception("The members of %d conversations were not noted", len(batch))
                continue
            now = self._loop.time()
            for one in snapshots:
                self._members_at[one.conversation_id] = (one.seq, now)
                self._members_at.move_to_end(one.conversation_id)
            while len(self._members_at) > CONVERSATIONS_MAX:
                self._members_at.popitem(last=False)


_recorders: PerLoop[_Recorder] = PerLoop(_Recorder)


def _note(entries: Sequence[Entry], encoded: Sequence[EncodedEntry]) -> None:
    if settings.WHISPR_CACHED_READS:
        _recorders.get().note(entries, encoded)


fanout.on_published.append(_note)


def delivery_forget(ids: Iterable[UUID]) -> None:
    """What became of messages of these conversations, or what these users are told of it, is not what it was."""
    if settings.WHISPR_CACHED_READS:
        _recorders.get().moved(ids)


on_moved.append(delivery_forget)


def recent_forget(conversation_id: UUID) -> None:
    """A member hid a message of the conversation for themselves: the caches do not know of that."""
    if settings.WHISPR_CACHED_READS:
        _recorders.get().forget(conversation_id)


async def list_known_members(conversation_ids: Collection[UUID]) -> dict[UUID, store.Members]:
    """Who is known to be a member of each conversation, as of within the last hour; nothing where nothing is known."""
    try:
        return await store.list_members(_recorders.get().link, list(conversation_ids))
    except RedisAway:
        return {}


async def list_known_sent(keys: Sequence[tuple[UUID, int]]) -> list[tuple[UUID, UUID] | None]:
    """(message, conversation) that each (sender, clientRandom) became within a day, as far as it is known."""
    try:
        return await store.list_sent(_recorders.get().link, keys)
    except RedisAway:
        return [None] * len(keys)


async def get_recent_page(actor: Actor, request: History, limit: int) -> tuple[list[MessageView], bool] | None:
    """A page of `history` out of the cache, and whether there may be more; None where it does not have it.

    What the user may see is known exactly as of the page's last entry: the members were read at some seq, and every
    entry since is there, so that their changes are. An entry whose content is not kept is left out.
    """
    if not settings.WHISPR_CACHED_READS:
        return None
    try:
        found = await store.get_recent(_recorders.get().link, request.conversation_id)
    except RedisAway:
        return None
    feed = hub.feeds.get(request.conversation_id)
    if found is None or (feed is not None and feed.head is not None and feed.head > found.last_seq):
        return None  # a later entry may have deleted one of these
    joined = _joined_seq(found, actor.user_id)
    if joined is None:
        return None
    first = max(found.first_seq, joined)
    if request.after is not None:
        if request.after + 1 < first:
            return None  # what comes next is not here
        shown = [view for view in _views(found, joined, actor.user_id) if view.seq > request.after]
        return shown[:limit], len(shown) > limit
    if request.before is not None and request.before <= first:
        return None
    bound = request.before or found.last_seq + 1
    shown = [view for view in _views(found, joined, actor.user_id) if view.seq < bound]
    return shown[-limit:], len(shown) > limit or joined < found.first_seq


def _joined_seq(found: Recent, user_id: UUID) -> int | None:
    """The first seq of the user's present stay; None where the user is not a member, or it is not known."""
    if found.first_seq > found.members_seq + 1:
        return None
    joined = found.members.get(user_id)
    for entry in found.entries:
        if entry.type != "system" or entry.seq <= found.members_seq:
            continue
        said = msgspec.json.decode(entry.metadata)
        if str(user_id) in said.get("userIds", ()):
            if said.get("event") == "member_removed":
                joined = None
            elif said.get("event") == "member_added":
                joined = entry.seq
    return joined


def _views(found: Recent, joined: int, user_id: UUID) -> list[MessageView]:
    """The entries as they are now, by the rules of docs/protocol.md "Edits, reactions, deletions"."""
    now = datetime.now(UTC)
    entries = [entry for entry in found.entries if entry.seq >= joined]
    said = [msgspec.json.decode(entry.metadata) for entry in entries if entry.type == "system"]
    gone = {id_ for one in said for id_ in _ids_gone(one)}
    edits = {entry.target: entry for entry in entries if entry.type == "edit" and entry.content}
    reactions = _reactions(entries, user_id)
    views = []
    for entry in entries:
        if str(entry.message_id) in gone or (entry.target is not None and str(entry.target) in gone):
            continue
        if entry.expires_at is not None and entry.expires_at <= now:
            continue
        values = {name: getattr(entry, name) for name in Entry.__struct_fields__}
        edit = edits.get(entry.message_id)
        reference = None
        if edit is not None:
            values |= {"content": edit.content, "metadata": edit.metadata, "signature": edit.signature}
            values["edited_at"] = edit.sent_at
            reference = EditReference(edit.message_id, edit.seq, edit.sender_device_id, edit.client_random)
        views.append(MessageView(**values, edit=reference, reactions=reactions.get(entry.message_id, ())))
    return views


def _reactions(entries: Sequence[Entry], user_id: UUID) -> dict[UUID, tuple[ReactionView, ...]]:
    users: defaultdict[UUID, dict[str, dict[UUID, None]]] = defaultdict(dict)
    for entry in entries:
        if entry.type != "reaction" or entry.target is None:
            continue
        said = msgspec.json.decode(entry.metadata)
        if not isinstance(said.get("emoji"), str):
            continue
        of_emoji = users[entry.target].setdefault(said["emoji"], {})
        if said.get("remove"):
            of_emoji.pop(entry.sender_id, None)
        else:
            of_emoji[entry.sender_id] = None
    return {
        message_id: tuple(
            ReactionView(emoji, len(by), tuple(by)[: LIMITS.reaction_users_shown], user_id in by)
            for emoji, by in emojis.items()
            if by
        )
        for message_id, emojis in users.items()
    }


def _ids_gone(said: dict[str, Any]) -> list[str]:
    if said.get("event") not in _GONE:
        return []
    return [one for one in (said.get("messageId"), *said.get("messageIds", ())) if isinstance(one, str)]
