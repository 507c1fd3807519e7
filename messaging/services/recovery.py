"""Sends while the database is away: they wait in Redis, and are appended when it is back (docs/protocol.md "Pending
sends", specification §5.3).

A conversation whose send the database did not take goes on a detour: from then on all its sends of this process go
behind that one, into the queue while the database is away, and are held while the queue is drained. So what one
socket sends in order is stored in order, also from `pending` back to `sent`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from messaging.events import SendOutcome
from messaging.services.recent import list_known_members, list_known_sent
from messaging.services.recovery_drain import BATCH, Commit, pending_drain
from messaging.services.service_state import announcers
from messaging.store import recovery as queue
from messaging.store.log import Appended, NewEntry
from messaging.store.recovery import QueueNotDurable
from whispr.kernel import database, telemetry
from whispr.kernel.batch import Waiting
from whispr.kernel.errors import DatabaseAway, Overloaded, Timeout, WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.redis import RedisAway

log = logging.getLogger(__name__)

Send = Waiting[UUID, NewEntry, Appended]
# How soon a detour looks again whether the queue is empty, and whether the database is back: the circuit refuses
# without asking it.
LOOK_SECONDS = 0.1
PROBE_SECONDS = 1.0
CHECK_SECONDS = 5.0  # how long what Redis said about its file is believed
# How long a send is held while what came before it is drained; then it is queued, too, or refused without the queue.
HELD_SECONDS = 3.0
DRAIN_SECONDS = 0.5  # of one round in a process that has other things to do
_UNAVAILABLE = "The database is away, and the message cannot be kept for it."
_UNKNOWN = "The database is away, and it is not known who is a member here."


@dataclass(slots=True)
class _Held:
    """One conversation on its detour."""

    waiting: deque[tuple[float, Send]] = field(default_factory=deque)  # since when, and what is to be decided
    is_queued: bool = False  # something of this process may be in the queue


class Detour:
    """The conversations of one event loop whose sends go around the database."""

    def __init__(self, resubmit: Callable[[Send], None], commit: Commit) -> None:
        self._resubmit = resubmit
        self._commit = commit
        self._held: dict[UUID, _Held] = {}
        self._count = 0
        self._away = False
        self._checked_at = float("-inf")
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __contains__(self, conversation_id: UUID) -> bool:
        """Whether the conversation's sends must go this way."""
        return conversation_id in self._held

    def __bool__(self) -> bool:
        """Whether any conversation is on a detour."""
        return bool(self._held)

    def take_over(self, waiting: Sequence[Send]) -> None:
        """The database did not take these, in order: their conversations are on a detour from now on."""
        self._be_away(True)
        for one in waiting:
            self._hold(one)

    def submit(self, entry: NewEntry) -> "asyncio.Future[Appended]":
        """Queue an entry of a conversation on a detour behind the others. Raises Overloaded when too many wait."""
        if self._count >= LIMITS.commit_waiting_max:
            raise Overloaded()
        future: asyncio.Future[Appended] = self._loop.create_future()
        self._hold((entry.conversation_id, entry, future))
        return future

    def _hold(self, one: Send) -> None:
        self._held.setdefault(one[0], _Held()).waiting.append((self._loop.time(), one))
        self._count += 1
        telemetry.detours.set(len(self._held))
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._run())

    def _be_away(self, is_away: bool) -> None:
        self._away = is_away
        announcers.get().mode("writes", is_away)

    async def _run(self) -> None:
        probe_at = self._loop.time() + PROBE_SECONDS
        # Also when all were refused: clients were told that sends are lost, and wait to be told that they are not.
        while self._held or self._away:
            self._wake.clear()
            try:
                if self._away and self._loop.time() >= probe_at:
                    self._be_away(not await _takes_writes())
                    probe_at = self._loop.time() + PROBE_SECONDS
                if self._away:
                    await self._put_aside()
                elif self._held:
                    await self._release()
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("A detour around the database failed")
                self._refuse_all(0.0)
            telemetry.detours.set(len(self._held))
            wait = max(0.0, probe_at - self._loop.time()) if self._away else LOOK_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
                if not self._away:
                    await asyncio.sleep(LOOK_SECONDS)
            except TimeoutError:
                pass

    # --- while the database is away

    async def _put_aside(self) -> None:
        """Answer what is held with `pending`, in order, or refuse it."""
        while self._count:
            batch = self._next_batch()
            try:
                await self._enqueue(batch)
            except QueueNotDurable as error:
                log.error("Sends cannot wait for the database: Redis would not keep them, since %s", error)
                _settle(batch, database.refusal(_UNAVAILABLE))
            except RedisAway:
                _settle(batch, database.refusal(_UNAVAILABLE))
            except Timeout as error:
                for conversation_id, _, _ in batch:
                    self._held[conversation_id].is_queued = True
                _settle(batch, error)
            except Exception:
                _settle(batch, database.refusal(_UNAVAILABLE))
                raise
        for conversation_id in [one for one, held in self._held.items() if not held.is_queued]:
            self._end(conversation_id)

    def _next_batch(self) -> list[Send]:
        batch: list[Send] = []
        for held in self._held.values():
            while held.waiting and len(batch) < BATCH:
                batch.append(held.waiting.popleft()[1])
        self._count -= len(batch)
        return batch

    async def _enqueue(self, batch: Sequence[Send]) -> None:
        if self._loop.time() - self._checked_at > CHECK_SECONDS:
            await queue.pending_check()
            self._checked_at = self._loop.time()
        batch = await _as_sent_before(batch)
        known = await _known_members([entry for _, entry, _ in batch])
        for one in batch:
            if one[1].message_id not in known:
                _settle([one], database.refusal(_UNKNOWN))
        members = [one for one in batch if one[1].message_id in known]
        if not members:
            return
        answers = await queue.pending_enqueue([entry for _, entry, _ in members])
        for (conversation_id, entry, future), answer in zip(members, answers, strict=True):
            if isinstance(answer, UUID):
                self._held[conversation_id].is_queued = True
                telemetry.sends.labels("pending").inc()
                outcome = SendOutcome("pending", answer, conversation_id)
                _resolve(future, Appended(outcome, None, entry.origin))
            else:
                _refuse(future, answer)

    # --- when it is back

    async def _release(self) -> None:
        """Let conversations go on of which nothing waits in the queue any more; else help to drain it."""
        ids = list(self._held)
        try:
            counts = await queue.count_waiting(ids)
            free = [one for one, count in zip(ids, counts, strict=True) if not count]
            for conversation_id in free:
                self._end(conversation_id)
            if len(free) < len(ids):
                await pending_drain(self._commit, DRAIN_SECONDS)
            if self._is_late():  # much waits before them: an answer now, rather than a place soon
                await self._put_aside()
        except RedisAway:
            # Whether earlier sends still wait is not known: what came since must not go before them.
            self._refuse_all(HELD_SECONDS)
        except DatabaseAway:
            self._be_away(True)

    def _is_late(self) -> bool:
        late = self._loop.time() - HELD_SECONDS
        return any(held.waiting and held.waiting[0][0] <= late for held in self._held.values())

    def _end(self, conversation_id: UUID) -> None:
        """The detour is over: what is held goes the ordinary way."""
        held = self._held.pop(conversation_id)
        self._count -= len(held.waiting)
        for _, one in held.waiting:
            self._resubmit(one)

    def _refuse_all(self, seconds: float) -> None:
        """Answer what is held for longer than `seconds`: nobody can take it."""
        late = self._loop.time() - seconds
        for held in self._held.values():
            while held.waiting and held.waiting[0][0] <= late:
                self._count -= 1
                _settle([held.waiting.popleft()[1]], database.refusal(_UNAVAILABLE))


async def _takes_writes() -> bool:
    try:
        await database.run(queue.write_nothing)
    except WhisprError:
        return False
    return True


async def _as_sent_before(batch: Sequence[Send]) -> list[Send]:
    """The batch with the ids of those that were sent before, as far as it is known: the resend of a send whose answer
    was lost is told the same id. The log decides whether it is one."""
    known = await list_known_sent([(entry.sender_id, entry.client_random) for _, entry, _ in batch])
    return [
        (one[0], msgspec.structs.replace(one[1], message_id=sent[0]), one[2])
        if sent is not None and sent[1] == one[0]
        else one
        for one, sent in zip(batch, known, strict=True)
    ]


async def _known_members(entries: Sequence[NewEntry]) -> set[UUID]:
    """The ids of those entries whose senders are known to be members: their socket follows the conversation, or the
    cache says so. What is in the queue is asked of the database again when it is appended."""
    known: set[UUID] = set()
    asked: list[NewEntry] = []
    for entry in entries:
        is_member = getattr(entry.origin, "is_member", None)
        if is_member is not None and is_member(entry.conversation_id):
            known.add(entry.message_id)
        else:
            asked.append(entry)
    if asked:
        members = await list_known_members({entry.conversation_id for entry in asked})
        known |= {entry.message_id for entry in asked if entry.sender_id in members.get(entry.conversation_id, ())}
    return known


def _settle(batch: Sequence[Send], error: WhisprError) -> None:
    for _, _, future in batch:
        _refuse(future, error)


def _refuse(future: "asyncio.Future[Appended]", error: WhisprError) -> None:
    if not future.done():
        future.set_exception(error)


def _resolve(future: "asyncio.Future[Appended]", appended: Appended) -> None:
    if not future.done():
        future.set_result(appended)
