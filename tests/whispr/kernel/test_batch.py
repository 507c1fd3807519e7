"""The group commit: order, an outcome each, bounds, and keys that are locked elsewhere. Flushes run in real threads."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from whispr.kernel.batch import BUSY, Busy, GroupCommit
from whispr.kernel.errors import DatabaseAway, NotFound, Overloaded, TemporaryUnavailable

SECONDS = 10.0
Item = tuple[str, int]
Outcome = Item | Exception | Busy


class Flush:
    """A flush that notes its batches, waits for `go` before each and answers what `answer` says."""

    def __init__(self, answer=lambda item, patient: item) -> None:
        self.answer = answer
        self.batches: list[tuple[list[Item], bool]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()

    def __call__(self, items: Sequence[Item], patient: bool) -> list[Outcome]:
        self.batches.append((list(items), patient))
        self.begun.release()
        assert self.go.wait(SECONDS)
        return [self.answer(item, patient) for item in items]

    async def wait_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=SECONDS)


async def outcome_of(future: asyncio.Future) -> object:
    """The result, or the exception as a value."""
    return (await asyncio.wait_for(asyncio.gather(future, return_exceptions=True), SECONDS))[0]


async def outcomes_of(futures: Sequence[asyncio.Future]) -> list[object]:
    return await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), SECONDS)


async def test_an_item_alone_is_flushed_at_once():
    flush = Flush()
    commit = GroupCommit("test", flush)
    assert await outcome_of(commit.submit("a", ("a", 1))) == ("a", 1)
    assert flush.batches == [([("a", 1)], False)]
    assert commit.waiting == 0


async def test_a_lane_that_rests_after_a_small_batch_takes_together_what_came_meanwhile():
    flush = Flush()
    commit = GroupCommit("test", flush, rest=0.05)
    assert await outcome_of(commit.submit("a", ("a", 1))) == ("a", 1)
    second = commit.submit("a", ("a", 2))
    await asyncio.sleep(0)
    third = commit.submit("b", ("b", 3))
    assert await outcomes_of([second, third]) == [("a", 2), ("b", 3)]
    assert flush.batches == [([("a", 1)], False), ([("a", 2), ("b", 3)], False)]


async def test_what_waits_is_taken_together_in_order_and_within_the_bound():
    flush = Flush()
    flush.go.clear()
    commit = GroupCommit("test", flush, batch_max=4)
    futures = [commit.submit("first", ("first", 0))]
    await flush.wait_begun()
    items = [("ab"[number % 2], number) for number in range(10)]
    futures += [commit.submit(item[0], item) for item in items]
    assert commit.waiting == 11
    flush.go.set()
    assert await outcomes_of(futures) == [("first", 0), *items]
    assert [batch for batch, _ in flush.batches] == [[("first", 0)], items[:4], items[4:8], items[8:]]
    assert commit.waiting == 0


async def test_keys_keep_their_order_over_several_lanes():
    flush = Flush()
    commit = GroupCommit("test", flush, lanes=3, batch_max=7)
    items = [(f"key {number % 11}", number) for number in range(400)]
    futures = []
    for item in items:
        futures.append(commit.submit(item[0], item))
        if item[1] % 13 == 0:
            await asyncio.sleep(0)
    assert await outcomes_of(futures) == items
    flushed = [item for batch, _ in flush.batches for item in batch]
    for key in {item[0] for item in items}:
        numbers = [number for name, number in flushed if name == key]
        assert numbers == sorted(numbers)
    assert len(flushed) == len(items)


async def test_an_exception_is_one_items_own():
    error = NotFound()
    flush = Flush(lambda item, patient: error if item[1] == 2 else item)
    flush.go.clear()
    commit = GroupCommit("test", flush)
    futures = [commit.submit("a", ("a", number)) for number in (0, 1, 2, 3)]
    flush.go.set()
    assert await outcomes_of(futures) == [("a", 0), ("a", 1), error, ("a", 3)]


async def test_a_coded_error_of_the_flush_is_everybodys_and_is_not_tried_again():
    def refuse(items: Sequence[Item], patient: bool) -> list[Outcome]:
        calls.append(len(items))
        raise TemporaryUnavailable()

    calls: list[int] = []
    commit = GroupCommit("test", refuse)
    found = await outcomes_of([commit.submit("a", ("a", number)) for number in range(3)])
    assert [type(error) for error in found] == [TemporaryUnavailable] * 3
    assert calls == [3]
    assert commit.waiting == 0


async def test_a_bad_item_costs_only_itself():
    calls: list[list[int]] = []

    def flush(items: Sequence[Item], patient: bool) -> list[Outcome]:
        calls.append([number for _, number in items])
        if any(number == 1 for _, number in items):
            raise ValueError("bad item")
        return list(items)

    commit = GroupCommit("test", flush)
    found = await outcomes_of([commit.submit("a", ("a", number)) for number in range(3)])
    assert found[0] == ("a", 0)
    assert isinstance(found[1], ValueError)
    assert found[2] == ("a", 2)
    assert calls == [[0, 1, 2], [0], [1], [2]]
    assert await outcome_of(commit.submit("a", ("a", 5))) == ("a", 5)


async def test_a_locked_key_is_parked_while_others_flow():
    unlocked = threading.Event()
    batches: list[tuple[list[Item], bool]] = []

    def flush(items: Sequence[Item], patient: bool) -> list[Outcome]:
        batches.append((list(items), patient))
        if patient:
            assert unlocked.wait(SECONDS)
        return [BUSY if key == "locked" and not patient else (key, number) for key, number in items]

    flushed: list[Item] = []
    commit = GroupCommit("test", flush, on_flushed=flushed.extend)
    locked = [commit.submit("locked", ("locked", 0))]
    free = [commit.submit("free", ("free", 0))]
    assert await outcomes_of(free) == [("free", 0)]
    # What comes after, of the same key, waits behind it; the other keys do not.
    locked += [commit.submit("locked", ("locked", number)) for number in (1, 2, 3)]
    free = [commit.submit("free", ("free", number)) for number in range(1, 20)]
    assert await outcomes_of(free) == [("free", number) for number in range(1, 20)]
    assert not any(future.done() for future in locked)
    unlocked.set()
    assert await outcomes_of(locked) == [("locked", number) for number in range(4)]
    assert [item for batch, patient in batches if patient for item in batch] == [("locked", n) for n in range(4)]
    assert [item for item in flushed if item[0] == "locked"] == [("locked", number) for number in range(4)]
    # Once its queue is empty the key takes the fast lane again.
    free_again = Flush()
    commit._flush = free_again
    assert await outcome_of(commit.submit("locked", ("locked", 4))) == ("locked", 4)
    assert free_again.batches == [([("locked", 4)], False)]
    assert commit.waiting == 0


async def test_what_waits_behind_a_busy_item_is_parked_with_it():
    flush = Flush(lambda item, patient: BUSY if item[0] == "locked" and not patient else item)
    flush.go.clear()
    commit = GroupCommit("test", flush, batch_max=2)
    futures = [commit.submit("locked", ("locked", 0)), commit.submit("free", ("free", 0))]
    await flush.wait_begun()
    futures += [commit.submit(key, (key, number)) for number in (1, 2, 3) for key in ("locked", "free")]
    flush.go.set()
    found = await outcomes_of(futures)
    assert found == [(key, number) for number in range(4) for key in ("locked", "free")]
    patient = [item for batch, waits in flush.batches if waits for item in batch]
    assert patient == [("locked", number) for number in range(4)]
    assert [item for batch, waits in flush.batches if not waits for item in batch if item[0] == "free"] == [
        ("free", number) for number in range(4)
    ]


async def test_the_queue_is_bounded():
    flush = Flush()
    flush.go.clear()
    commit = GroupCommit("test", flush, waiting_max=3)
    futures = [commit.submit("a", ("a", number)) for number in range(3)]
    with pytest.raises(Overloaded):
        commit.submit("a", ("a", 3))
    assert commit.waiting == 3
    flush.go.set()
    assert await outcomes_of(futures) == [("a", number) for number in range(3)]
    assert await outcome_of(commit.submit("a", ("a", 4))) == ("a", 4)


async def test_what_follows_a_flush_comes_before_the_answers():
    seen: list[object] = []

    def on_flushed(outcomes: Sequence[object]) -> None:
        seen.append(list(outcomes))
        seen.append([future.done() for future in futures])

    answers = {0: ("a", 0), 1: NotFound(), 2: ("a", 2)}
    flush = Flush(lambda item, patient: answers[item[1]])
    commit = GroupCommit("test", flush, on_flushed=on_flushed)
    futures = [commit.submit("a", ("a", number)) for number in range(3)]
    await outcomes_of(futures)
    assert seen == [[("a", 0), ("a", 2)], [False, False, False]]


async def test_a_fault_after_the_flush_does_not_undo_it():
    def fail(outcomes: Sequence[object]) -> None:
        raise ValueError("a subscriber's fault")

    commit = GroupCommit("test", Flush(), on_flushed=fail)
    assert await outcome_of(commit.submit("a", ("a", 1))) == ("a", 1)
    assert await outcome_of(commit.submit("a", ("a", 2))) == ("a", 2)


async def test_a_caller_who_gave_up_costs_nobody():
    flush = Flush()
    flush.go.clear()
    commit = GroupCommit("test", flush)
    given_up, kept = commit.submit("a", ("a", 1)), commit.submit("a", ("a", 2))
    await flush.wait_begun()
    given_up.cancel()
    flush.go.set()
    assert await outcome_of(kept) == ("a", 2)
    assert commit.waiting == 0


async def test_close_waits_for_everything_that_was_submitted():
    unlocked = threading.Event()

    def flush(items: Sequence[Item], patient: bool) -> list[Outcome]:
        assert unlocked.wait(SECONDS)
        return [item if patient else BUSY for item in items]

    commit = GroupCommit("test", flush)
    future = commit.submit("a", ("a", 1))
    closing = asyncio.create_task(commit.close(SECONDS))
    await asyncio.sleep(0)
    unlocked.set()
    await closing
    assert future.done()
    assert future.result() == ("a", 1)


async def test_close_does_not_wait_longer_than_it_was_told():
    flush = Flush()
    flush.go.clear()
    commit = GroupCommit("test", flush)
    future = commit.submit("a", ("a", 1))
    await flush.wait_begun()
    await asyncio.wait_for(commit.close(0.01), SECONDS)
    assert not future.done()
    flush.go.set()
    assert await outcome_of(future) == ("a", 1)


async def test_what_the_database_does_not_take_goes_the_other_way_with_all_behind_it():
    is_away = True

    def answer(item: Item, patient: bool) -> Outcome:
        return DatabaseAway() if is_away and item[0] == "a" else item

    taken: list[tuple[str, Item, asyncio.Future]] = []
    flush = Flush(answer)
    flush.go.clear()
    commit = GroupCommit("test", flush, on_away=taken.extend)
    first = commit.submit("a", ("a", 1))
    await flush.wait_begun()
    later = [commit.submit(key, (key, number)) for key, number in (("a", 2), ("b", 3), ("a", 4))]
    flush.go.set()
    assert await outcome_of(later[1]) == ("b", 3)
    assert [item for _, item, _ in taken] == [("a", 1), ("a", 2), ("a", 4)]
    assert commit.waiting == 0
    is_away = False
    for one in taken:
        commit.resubmit(one)
    assert await outcomes_of([first, later[0], later[2]]) == [("a", 1), ("a", 2), ("a", 4)]
    assert commit.waiting == 0


async def test_what_waits_for_a_lock_goes_along():
    second_is_there = threading.Event()

    def answer(item: Item, patient: bool) -> Outcome:
        if not patient:
            return BUSY
        assert second_is_there.wait(SECONDS)
        return DatabaseAway()

    taken: list[tuple[str, Item, asyncio.Future]] = []
    flush = Flush(answer)
    commit = GroupCommit("test", flush, on_away=taken.extend)
    commit.submit("a", ("a", 1))
    await flush.wait_begun()  # parked
    await flush.wait_begun()  # the patient try
    commit.submit("a", ("a", 2))
    second_is_there.set()
    async with asyncio.timeout(SECONDS):
        while len(taken) < 2:
            await asyncio.sleep(0.005)
    assert [item for _, item, _ in taken] == [("a", 1), ("a", 2)]
    assert commit.waiting == 0
