"""Pages are bounded in bytes as well as in entries, and lose nothing where they end early (docs/protocol.md
"Limits")."""

import base64
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from messaging.services import drafts, history, scheduled, sync
from messaging.store import entries
from tests.messaging.api.client import Client, message
from tests.messaging.api.test_scheduled import schedule
from whispr.kernel import database
from whispr.kernel.limits import LIMITS

SIZE = 1_000  # bytes of each content here
ROOM = 3_500  # bytes of a page: four of them, for at most one more than fits


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (history, sync, scheduled, drafts):
        monkeypatch.setattr(module, "LIMITS", replace(LIMITS, page_bytes=ROOM))


def seqs_of(page: Any) -> list[int]:
    return [one["seq"] for one in page["messages"]]


async def test_history_ends_early_in_both_directions():
    ann = Client()
    conversation = await ann.group()
    for _ in range(9):
        assert (await ann.send(conversation, b"x" * SIZE)).status == 201
    path = f"/conversations/{conversation}/messages?limit=200"
    page = (await ann.get(path)).json
    assert (seqs_of(page), page["hasMore"]) == ([7, 8, 9, 10], True)
    page = (await ann.get(f"{path}&before=7")).json
    assert (seqs_of(page), page["hasMore"]) == ([3, 4, 5, 6], True)
    page = (await ann.get(f"{path}&before=3")).json
    assert (seqs_of(page), page["hasMore"]) == ([1, 2], False)
    page = (await ann.get(f"{path}&after=0")).json
    assert (seqs_of(page), page["hasMore"]) == ([1, 2, 3, 4, 5], True)
    page = (await ann.get(f"{path}&after=9")).json
    assert (seqs_of(page), page["hasMore"]) == ([10], False)


async def test_one_entry_is_in_every_page_however_large():
    ann = Client()
    conversation = await ann.group()
    for _ in range(2):
        await ann.send(conversation, b"x" * (2 * ROOM))
    page = (await ann.get(f"/conversations/{conversation}/messages")).json
    assert (seqs_of(page), page["hasMore"]) == ([3], True)
    page = (await ann.post("/sync", {"cursors": {conversation: 1}})).json
    assert ([seqs_of(one) for one in page["conversations"]], page["complete"]) == ([[2]], False)


async def test_what_an_edit_made_larger_weighs_so():
    ann = Client()
    conversation = await ann.group()
    for _ in range(4):
        sent = (await ann.send(conversation, b"x")).json["messageId"]
        edit = {"content": base64.b64encode(b"y" * 2 * SIZE).decode(), "clientRandom": message("")["clientRandom"]}
        assert (await ann.ask("PUT", f"/messages/{sent}", edit)).status == 200
    page = (await ann.get(f"/conversations/{conversation}/messages?after=1")).json
    # Each message is shown with its latest content, and is followed by the edit of the same size.
    assert (seqs_of(page), page["hasMore"]) == ([2, 3], True)


async def test_reactions_weigh_too():
    ann = Client()
    conversation = await ann.group()
    ids = [(await ann.send(conversation, b"x")).json["messageId"] for _ in range(2)]
    for emoji in "abcde":
        for sent in ids:
            await ann.post(f"/messages/{sent}/reactions", {"emoji": emoji})
    reader = await database.run(entries.list_history, ann.user, UUID(conversation), None, 1, 50, 400)
    assert reader is not None
    assert ([one.seq for one in reader[0]], reader[1]) == ([2], True)


async def test_sync_ends_early_and_goes_on_where_it_ended():
    ann, bob = Client(), Client()
    groups = [await ann.group(bob) for _ in range(3)]
    for group in groups:
        for _ in range(5):
            await ann.send(group, b"x" * SIZE)
    held: dict[str, list[int]] = {}
    pages = 0
    complete = False
    while not complete:
        cursors = {group: seqs[-1] for group, seqs in held.items()}
        page = (await bob.post("/sync", {"cursors": cursors, "limit": 200})).json
        for one in page["conversations"]:
            held.setdefault(one["id"], []).extend(seqs_of(one))
            assert one["hasMore"] is (held[one["id"]][-1] < one["lastSeq"])
        complete, pages = page["complete"], pages + 1
        assert sum(len(one["messages"]) for one in page["conversations"]) <= 7
    assert held == {group: [1, 2, 3, 4, 5, 6] for group in groups}
    assert pages >= 4


async def test_lists_of_what_is_ones_own_end_early():
    ann = Client()
    groups = [await ann.group() for _ in range(6)]
    content = base64.b64encode(b"x" * SIZE).decode()
    for group in groups:
        await schedule(ann, group, content=content)
        assert (await ann.ask("PUT", f"/messages/drafts/{group}", {"content": content})).status == 201
    for name, key in (("drafts", "conversationId"), ("scheduled", "id")):
        path = f"/messages/{name}"
        first = (await ann.get(path)).json
        rest = (await ann.get(f"{path}?cursor={first['next']}")).json
        assert len(first[name]) < 6
        assert "next" not in rest
        assert len({one[key] for one in first[name] + rest[name]}) == 6


async def test_the_log_is_weighed_before_it_is_read():
    ann = Client()
    conversation = await ann.group()
    for _ in range(5):
        await ann.send(conversation, b"x" * SIZE)
    position = entries.Position(UUID(conversation), 0)
    page = await database.run(entries.get_log_page, ann.user, [position], 200, 2 * SIZE)
    assert ([one.seq for one in page.entries], str(page.cut)) == ([1, 2, 3], conversation)
    page = await database.run(entries.get_log_page, ann.user, [position], 200, 2**30)
    assert (len(page.entries), page.cut) == (6, None)
    page = await database.run(entries.get_log_page, ann.user, [position], 6, 2**30)
    assert (len(page.entries), page.cut) == (6, None)
