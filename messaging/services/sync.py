"""Catching up over REST: what a device lacks, page by page (docs/protocol.md §7 `sync`, §4.4)."""

from collections import defaultdict
from typing import Any
from uuid import UUID

import msgspec

from messaging.events import Actor, Entry, MemberReceipt
from messaging.requests import Sync
from messaging.store.chain import list_links
from messaging.store.devices import device_expiry_take
from messaging.store.entries import LogPage, Position, Standing, get_epoch, get_log_page, list_standings
from messaging.store.locked import is_chained
from messaging.store.members import list_receipts_of
from messaging.store.personal import get_personal
from whispr.kernel import database
from whispr.kernel.limits import LIMITS
from whispr.kernel.overload import access_load

# A member's receipt as JSON: with 1,000 members, a conversation's are 90 KB.
RECEIPT_BYTES = 90


class Chain(msgspec.Struct, frozen=True, rename="camel"):
    """Where the hash chain is on: `head` is the hash of the page's last entry, `seq`; `links` has one for each entry,
    null for those of a time when it was off."""

    seq: int
    head: bytes
    links: list[bytes | None]


class SyncedConversation(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One conversation of a page: entries after the device's position, and how far each member is."""

    id: UUID
    messages: list[Entry]
    last_seq: int
    has_more: bool
    receipts: list[MemberReceipt]
    resync_required: str | None = None
    chain: Chain | None = None


class SyncPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A page of a synchronisation: `complete` where nothing is left after it.

    The complete page's `personal` holds what is the user's own: see `get_personal`.
    """

    epoch: str
    conversations: list[SyncedConversation]
    personal: dict[str, Any]
    complete: bool
    resync_required: str | None = None  # of everything: whatever cursors were sent, this page begins at the beginning


async def get_sync(actor: Actor, request: Sync) -> SyncPage:
    """Up to `limit` (1 … 200) entries after the device's positions: `cursors`, or else what it acknowledged; the page
    ends early at `LIMITS.page_bytes` of content and receipts.

    A cursor beyond the head, or of another `epoch`, is answered with `resyncRequired` and from the beginning; a device
    that was away for more than `LIMITS.device_retention_days` is, once, with `resyncRequired` of the page. Ask again
    with the new positions until `complete`.
    """
    access_load("reading")
    return await database.run(_read, actor, request)


def _read(actor: Actor, request: Sync) -> SyncPage:
    epoch = get_epoch()
    expired = device_expiry_take(actor.device_id)
    limit = max(1, min(request.limit, LIMITS.page_max))
    resyncs: dict[UUID, str] = {}
    behind: list[tuple[Standing, int]] = []
    for standing in list_standings(actor.user_id, actor.device_id, LIMITS.conversations_per_join):
        cursor = None if expired else request.cursors.get(standing.conversation_id)
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
    page = get_log_page(actor.user_id, positions, limit, LIMITS.page_bytes) if positions else LogPage([], None)
    watermarks = list_receipts_of(actor.user_id, list({entry.conversation_id for entry in page.entries}))
    entries, cut = _fitting(page, watermarks)
    pages: defaultdict[UUID, list[Entry]] = defaultdict(list)
    for entry in entries:
        pages[entry.conversation_id].append(entry)
    links = list_links(entries) if is_chained() else {}
    conversations = [
        SyncedConversation(
            id=standing.conversation_id,
            messages=pages[standing.conversation_id],
            last_seq=standing.last_seq if standing.left_seq is None else standing.left_seq,
            has_more=standing.conversation_id == cut,
            receipts=watermarks.get(standing.conversation_id, []),
            resync_required=resyncs.get(standing.conversation_id),
            chain=_chain(pages[standing.conversation_id], links),
        )
        for standing, _ in behind
        if standing.conversation_id in pages
    ]
    return SyncPage(
        epoch=epoch,
        conversations=conversations,
        personal=get_personal(actor.user_id) if cut is None else {},
        complete=cut is None,
        resync_required="device_expired" if expired else None,
    )


def _fitting(page: LogPage, watermarks: dict[UUID, list[MemberReceipt]]) -> tuple[list[Entry], UUID | None]:
    """The entries that fit into a page with the receipts of their conversations, and the conversation that is cut."""
    size, known = 0, set[UUID]()
    for index, entry in enumerate(page.entries):
        if size >= LIMITS.page_bytes:
            return page.entries[:index], entry.conversation_id
        size += len(entry.content) + len(bytes(entry.metadata))
        if entry.conversation_id not in known:
            known.add(entry.conversation_id)
            size += RECEIPT_BYTES * len(watermarks.get(entry.conversation_id, ()))
    return page.entries, page.cut


def _chain(entries: list[Entry], links: dict[UUID, bytes]) -> Chain | None:
    head = links.get(entries[-1].message_id) if entries else None
    if head is None:
        return None
    return Chain(entries[-1].seq, head, [links.get(entry.message_id) for entry in entries])
