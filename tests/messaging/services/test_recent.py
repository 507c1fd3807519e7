"""What the caches know without the database: exactly what the log says, to whom it says it, or nothing."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import redis

from messaging.events import Actor, Entry, WithheldEntry
from messaging.fanout.news import EncodedEntry
from messaging.requests import History
from messaging.services import recent
from messaging.services.recent import get_recent_page, list_known_members, list_known_sent
from messaging.store import recent as store
from messaging.store.recent import Snapshot
from tests.residue import redis_keys_with
from whispr.kernel.ids import new_id
from whispr.kernel.limits import LIMITS
from whispr.kernel.redis import RedisLink, redis_close

ANN, BOB = uuid4(), uuid4()
CANARY = b"a canary of the recent entries"


@pytest.fixture(autouse=True)
async def link() -> AsyncIterator[RedisLink]:
    yield recent._recorders.get().link
    await redis_close()


class Log:
    """A conversation's log, as commits would bring it, in any order and by any process."""

    def __init__(self, link: RedisLink) -> None:
        self.id = uuid4()
        self.link = link

    def entry(self, seq: int, sender: UUID = ANN, content: bytes = b"text", **fields: Any) -> Entry:
        metadata = msgspec.json.encode(fields.pop("metadata", {}))
        values: dict[str, Any] = {
            "message_id": new_id(),
            "conversation_id": self.id,
            "seq": seq,
            "sender_id": sender,
            "sender_device_id": uuid4(),
            "type": "text",
            "content": content,
            "metadata": msgspec.Raw(metadata),
            "reply_to": None,
            "target": None,
            "media_id": None,
            "client_random": seq,
            "sent_at": datetime.now(UTC),
            "edited_at": None,
            "expires_at": None,
            "signature": None,
        }
        return Entry(**(values | fields))

    def system(self, seq: int, event: str, **said: Any) -> Entry:
        return self.entry(seq, type="system", content=b"", client_random=None, metadata={"event": event, **said})

    async def commit(self, *entries: Entry) -> None:
        """Committed by this process."""
        recorder = recent._recorders.get()
        recorder.note(entries, [EncodedEntry.of(entry) for entry in entries])
        await recorder._flushing

    async def snapshot(self, seq: int, **members: int) -> None:
        users = {"ann": ANN, "bob": BOB}
        await store.members_note(self.link, [Snapshot(self.id, seq, {users[name]: at for name, at in members.items()})])

    async def page(self, user: UUID = ANN, limit: int = 50, **bounds: int) -> list[int] | None:
        """The seqs of a page; None where the cache has none."""
        found = await self.views(user, limit, **bounds)
        return None if found is None else [view.seq for view in found[0]]

    async def views(self, user: UUID = ANN, limit: int = 50, **bounds: int) -> Any:
        return await get_recent_page(Actor(user, uuid4()), History(conversation_id=self.id, **bounds), limit)


@pytest.fixture
async def log(link: RedisLink) -> Log:
    return Log(link)


async def test_a_member_reads_the_last_entries_and_nobody_else_does(log):
    await log.commit(*(log.entry(seq) for seq in range(1, 6)))
    assert await log.page() is None  # who is a member is not known yet
    await log.snapshot(0, ann=1, bob=3)
    assert await log.page() == [1, 2, 3, 4, 5]
    assert await log.page(BOB) == [3, 4, 5]
    assert await log.page(uuid4()) is None
    assert await log.page(limit=2) == [4, 5]
    assert await log.page(limit=2, before=4) == [2, 3]
    assert await log.page(limit=2, after=1) == [2, 3]
    assert (await log.views(limit=2))[1] is True
    assert (await log.views(limit=5))[1] is False


async def test_what_comes_before_the_cache_is_not_said_to_be_the_beginning(log):
    await log.commit(*(log.entry(seq) for seq in range(11, 15)))
    await log.snapshot(10, ann=1)
    views, has_more = await log.views()
    assert [view.seq for view in views] == [11, 12, 13, 14]
    assert has_more is True
    assert await log.page(before=11) is None
    assert await log.page(after=3) is None
    assert await log.page(after=12) == [13, 14]


async def test_only_the_end_of_the_log_without_a_hole_is_read(log):
    await log.commit(log.entry(1), log.entry(2), log.entry(4))
    await log.snapshot(0, ann=1)
    assert await log.page() is None  # entry 3 may be a removal
    await log.snapshot(3, ann=1)
    assert await log.page() == [4]
    await log.commit(log.entry(3))  # another process's, a moment later
    assert await log.page() == [1, 2, 3, 4]


async def test_members_are_known_as_of_the_last_entry(log):
    await log.commit(log.entry(1), log.entry(2))
    await log.snapshot(2, ann=1, bob=1)
    await log.commit(log.system(3, "member_removed", userIds=[str(BOB)]), log.entry(4))
    assert await log.page(BOB) is None
    assert await log.page() is None  # the members were forgotten with the change
    await log.snapshot(2, ann=1, bob=1)  # a reading from before the change comes late
    assert (await list_known_members([log.id])) == {}
    await log.snapshot(3, ann=1)
    assert await log.page() == [1, 2, 3, 4]
    assert (await list_known_members([log.id])) == {log.id: {ANN: 1}}


async def test_messages_are_as_they_are_now(log):
    first, second = log.entry(1), log.entry(2)
    edit = log.entry(3, content=b"new", type="edit", target=first.message_id)
    reactions = [
        log.entry(seq, user, b"", type="reaction", target=second.message_id, metadata={"emoji": "🐌", "remove": remove})
        for seq, user, remove in ((4, ANN, False), (5, BOB, False), (6, ANN, True))
    ]
    await log.commit(first, second, edit, *reactions)
    await log.snapshot(0, ann=1, bob=1)
    views, _ = await log.views(BOB)
    assert (views[0].content, views[0].edited_at, views[0].edit.seq) == (b"new", edit.sent_at, 3)
    assert [(one.emoji, one.count, one.user_ids, one.mine) for one in views[1].reactions] == [("🐌", 1, (BOB,), True)]
    assert (await log.views(ANN))[0][1].reactions[0].mine is False


async def test_what_is_deleted_is_erased_and_a_late_entry_does_not_bring_it_back(log):
    gone = log.entry(1, content=CANARY)
    edit = log.entry(2, content=CANARY, type="edit", target=gone.message_id)
    late = log.entry(3, content=CANARY)
    await log.commit(gone, edit)
    assert redis_keys_with(CANARY)
    ids = [str(gone.message_id), str(late.message_id)]
    await log.commit(log.system(4, "message_expired", messageIds=ids))
    await log.commit(late)
    await log.snapshot(0, ann=1)
    assert redis_keys_with(CANARY) == []
    assert await log.page() == [4]


async def test_of_many_edits_the_last_are_kept(log):
    first = log.entry(1)
    edits = [
        log.entry(
            2 + number, content=b"version %d. " % number + CANARY * (number == 0), type="edit", target=first.message_id
        )
        for number in range(LIMITS.edit_versions)
    ]
    await log.commit(first, *edits[:-1])
    assert redis_keys_with(CANARY)
    await log.commit(edits[-1])
    assert redis_keys_with(CANARY) == []
    await log.snapshot(0, ann=1)
    views, _ = await log.views()
    assert views[0].content == edits[-1].content
    assert [view.seq for view in views] == [1, *range(3, 2 + LIMITS.edit_versions)]


async def test_what_expires_or_is_withheld_is_never_kept(log):
    ephemeral = log.entry(1, content=CANARY, expires_at=datetime.now(UTC))
    withheld = WithheldEntry.of(log.entry(2, content=CANARY))
    await log.commit(ephemeral, withheld, log.entry(3))
    await log.snapshot(0, ann=1)
    assert redis_keys_with(CANARY) == []
    assert await log.page() == [3]
    known = await list_known_sent([(ANN, 1), (ANN, 3), (BOB, 3)])
    assert known[0] == (ephemeral.message_id, log.id)
    assert known[1][1] == log.id
    assert known[2] is None


async def test_what_somebody_hid_is_forgotten(log):
    await log.commit(log.entry(1))
    await log.snapshot(0, ann=1)
    recent.recent_forget(log.id)
    await recent._recorders.get()._flushing
    assert await log.page() is None


async def test_the_setting_turns_it_off(log, settings):
    await log.commit(log.entry(1))
    await log.snapshot(0, ann=1)
    settings.WHISPR_CACHED_READS = False
    assert await log.page() is None


async def test_it_is_bounded_in_number_and_time(log):
    await log.commit(*(log.entry(seq) for seq in range(1, store.KEPT + 11)))
    await log.snapshot(store.KEPT, ann=1)
    assert await log.page() == list(range(11, store.KEPT + 11))
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    ttls = [client.ttl(f"conv:{kind}:{log.id}") for kind in ("recent", "members")]
    assert all(0 < ttl <= store.RECENT_SECONDS for ttl in ttls)
    assert 0 < client.ttl(f"dedup:{ANN}:1") <= store.DEDUP_SECONDS
    client.close()
