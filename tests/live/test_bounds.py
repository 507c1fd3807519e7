"""What a client may ask for at once, over running servers: pages in bytes, reactions in quick succession (the
reliability catalogue, rows 58 and 65)."""

from uuid import uuid4

from tests.live.server import Scene
from whispr.kernel.limits import LIMITS

LARGE = b"x" * LIMITS.content_bytes


async def test_no_answer_is_larger_than_a_page_on_both_transports(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    phone = await scene.joined(ann)
    for _ in range(20):  # 1.25 MiB
        (await phone.send(conversation_id, LARGE)).ok
    fits = LIMITS.page_bytes // LIMITS.content_bytes
    ask = {"conversationId": conversation_id, "limit": 200}
    page = (await phone.ask(phone.inbox, "history", ask)).ok
    assert ([one["seq"] for one in page["messages"]], page["hasMore"]) == (list(range(22 - fits, 22)), True)
    rest = (await phone.ask(phone.inbox, "history", ask | {"before": page["messages"][0]["seq"]})).ok
    assert ([one["seq"] for one in rest["messages"]], rest["hasMore"]) == (list(range(1, 22 - fits)), False)
    answer = await scene.rest(ann, "GET", f"conversations/{conversation_id}/messages?limit=200")
    assert answer.body == page
    held: list[int] = []
    complete = False
    while not complete:
        cursors = {conversation_id: held[-1] if held else 0}
        body = (await scene.rest(bob, "POST", "sync", {"cursors": cursors, "limit": 200})).body
        seqs = [entry["seq"] for one in body["conversations"] for entry in one["messages"]]
        assert len(seqs) <= fits + 1
        held, complete = held + seqs, body["complete"]
    assert held == list(range(1, 22))
    assert sorted((await scene.joined(bob, acks=True)).seqs(conversation_id)) == held


async def test_a_reaction_switched_on_and_off_is_a_few_entries(scene: Scene) -> None:
    ann, bob = uuid4(), uuid4()
    conversation_id = await scene.group(ann, bob)
    phone, reader = await scene.joined(ann), await scene.joined(bob, worker=1)
    message_id = (await phone.send(conversation_id)).ok["messageId"]
    asked = [
        await phone.asked(
            phone.inbox,
            "react",
            {"messageId": message_id, "emoji": "a", "remove": number % 2 == 1, "clientRandom": 10**9 + number},
        )
        for number in range(101)
    ]
    outcomes = [(await one).ok for one in asked]
    last = (await phone.send(conversation_id, b"after")).ok["seq"]
    # What is in the log, the replies said; what they did not say is not in the log.
    sent = sorted(one["seq"] for one in outcomes if one["status"] == "sent")
    assert sent == list(range(3, last))
    assert len(sent) < 50
    await reader.until_seq(conversation_id, last)
    assert reader.seqs(conversation_id) == list(range(1, last + 1))
    answer = await scene.rest(bob, "GET", f"messages/{message_id}/reactions")
    assert [(one["emoji"], one["count"]) for one in answer.body["reactions"]] == [("a", 1)]
