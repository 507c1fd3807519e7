"""A withheld entry in the fan-out: one encoding for its sender, a blank for everybody else, and no mark on the wire."""

from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID, uuid4

import msgspec

from messaging.catch_up import CatchUp
from messaging.events import NOBODY, BlankEntry, Entry, WithheldEntry
from messaging.fanout.hub import AHEAD_MAX, Feed
from messaging.fanout.news import EncodedEntry, pack, unpack
from messaging.phoenix import Version


def entry_of(seq: int = 2) -> Entry:
    return Entry(
        message_id=uuid4(),
        conversation_id=uuid4(),
        seq=seq,
        sender_id=uuid4(),
        sender_device_id=uuid4(),
        type="text",
        content=b"secret",
        metadata=msgspec.Raw(b'{"secret":1}'),
        reply_to=uuid4(),
        target=None,
        media_id=None,
        client_random=5,
        sent_at=datetime.now(UTC),
        edited_at=None,
        expires_at=datetime.now(UTC),
        signature=b"s" * 64,
    )


class Follower:
    def __init__(self) -> None:
        self.got: list[EncodedEntry] = []

    def on_entries(self, entries) -> None:
        self.got += entries

    def on_push(self, push) -> None:
        raise AssertionError(push)


def test_what_its_sender_gets_has_no_mark():
    entry = entry_of()
    assert msgspec.json.encode(WithheldEntry.of(entry)) == msgspec.json.encode(entry)
    assert EncodedEntry.of(WithheldEntry.of(entry)).payload == EncodedEntry.of(entry).payload


def test_a_blank_has_its_place_and_time_and_nothing_else():
    entry = entry_of()
    wire = msgspec.json.decode(EncodedEntry.of(WithheldEntry.of(entry)).blank().payload)
    kept = {"messageId": str(entry.message_id), "conversationId": str(entry.conversation_id), "seq": 2}
    assert kept.items() <= wire.items()
    assert wire["sentAt"] == msgspec.to_builtins(entry.sent_at)
    rest = {key: value for key, value in wire.items() if key not in (*kept, "sentAt") and value is not None}
    assert rest == {"senderId": str(NOBODY), "type": "system", "content": "", "metadata": {"event": "withheld"}}


def test_the_mark_crosses_the_bus_under_a_kind_of_its_own():
    entry = WithheldEntry.of(entry_of())
    (packed,) = pack([EncodedEntry.of(entry)])
    assert packed[0] == "w"
    (there,) = unpack([packed])
    assert (there.withheld_by, there.seq, there.type) == (entry.sender_id, 2, "text")
    assert "secret" not in there.blank().tail(Version.V2)
    (plain,) = unpack(pack([EncodedEntry.of(entry_of())]))
    assert plain.withheld_by is None


def test_a_feed_goes_on_though_as_many_wait_behind_its_gap_as_may():
    follower = Follower()
    feed = Feed(UUID(int=1))
    feed.followers.add(follower)
    feed.start(1)
    feed._repairing = True  # the log is being read: nothing else is
    for seq in range(10, 10 + AHEAD_MAX):
        feed.offer(EncodedEntry.of(entry_of(seq)))
    for seq in range(2, 10):
        feed.offer(EncodedEntry.of(entry_of(seq)))
    assert [entry.seq for entry in follower.got] == list(range(2, 10 + AHEAD_MAX))


def test_a_reader_who_catches_up_gives_the_feed_what_it_is_for_all_and_never_a_blank():
    for entry, offered in ((BlankEntry.of(entry_of()), 0), (WithheldEntry.of(entry_of()), 1)):
        follower, read = Follower(), []
        feed = Feed(UUID(int=1))
        feed.followers.add(follower)
        feed.start(1)
        CatchUp._push_read(SimpleNamespace(feed=feed, read=read.append), entry)
        assert [one.seq for one in read] == [2]
        assert len(follower.got) == offered
        assert [one.withheld_by for one in follower.got] == [entry.sender_id] * offered
