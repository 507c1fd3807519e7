"""Catching up over REST: what a device lacks, page by page (PROTOCOL.md §3 `sync`, §4.4)."""

from collections import defaultdict
from typing import Any
from uuid import UUID

import msgspec

from messaging.events import Actor, Entry, MemberReceipt
from messaging.requests import Sync
from messaging.store.entries import Position, Standing, get_epoch, list_entries_after, list_standings
from messaging.store.members import list_receipts_of
from whispr.kernel import database
from whispr.kernel.limits import LIMITS


class SyncedConversation(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One conversation of a page: entries after the device's position, and how far each member is."""

    id: UUID
    messages: list[Entry]
    last_seq: int
    has_more: bool
    receipts: list[MemberReceipt]
    resync_required: str | None = None


class SyncPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of a synchronisation: `complete` where nothing is left after it."""

    epoch: str
    conversations: list[SyncedConversation]
    personal: dict[str, Any]
    complete: bool


async def get_sync(actor: Actor, request: Sync) -> SyncPage:
    """Up to `limit` (1 … 200) entries after the device's positions: `cursors`, or else what it acknowledged.

    A cursor beyond the head, or of another `epoch`, is answered with `resyncRequired` and from the beginning. Ask again
    with the new positions until `complete`.
    """
    return await database.run(_read, actor, request)


def _read(actor: Actor, request: Sync) -> SyncPage:
    epoch = get_epoch()
    limit = max(1, min(request.limit, LIMITS.page_max))
    resyncs: dict[UUID, str] = {}
    behind: list[tuple[Standing, int]] = []
    for standing in list_standings(actor.user_id, actor.device_id, LIMITS.conversations_per_join):
        cursor = request.cursors.get(standing.conversation_id)
        if request.epoch is not None and request.epoch != epoch:
            resyncs[standing.conversation_id] = "epoch_changed"
            cursor = 0
        elif cursor is not None and cursor > standing.last_seq:
            resyncs[standing.conversation_id] = "cursor_beyond_head"
            cursor = 0
        held = max(standing.acked_seq if cursor is None else cursor, standing.first_seq - 1)
        if held < (standing.last_seq if standing.left_seq is None else standing.left_seq):
            behind.append((standing, held))
    positions = [Position(standing.conversation_id, held) for standing, held in behind]
    entries = list_entries_after(actor.user_id, positions, limit + 1) if positions else []
    pages: defaultdict[UUID, list[Entry]] = defaultdict(list)
    for entry in entries[:limit]:
        pages[entry.conversation_id].append(entry)
    cut = entries[limit].conversation_id if len(entries) > limit else None
    watermarks = list_receipts_of(actor.user_id, list(pages))
    conversations = [
        SyncedConversation(
            id=standing.conversation_id,
            messages=pages[standing.conversation_id],
            last_seq=standing.last_seq if standing.left_seq is None else standing.left_seq,
            has_more=standing.conversation_id == cut,
            receipts=watermarks.get(standing.conversation_id, []),
            resync_required=resyncs.get(standing.conversation_id),
        )
        for standing, _ in behind
        if standing.conversation_id in pages
    ]
    return SyncPage(epoch=epoch, conversations=conversations, personal={}, complete=cut is None)
