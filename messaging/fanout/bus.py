"""The doorbell between processes: one message a batch over the channel layer, and the head check that outlives its
loss.

Every process hears every batch and takes what its sockets follow. One publish a conversation, through the same layer,
costs a process about as much as the whole rest of a message's way (docs/decisions); a batch costs one.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any

from channels.layers import get_channel_layer

from messaging.fanout import trace
from messaging.fanout.hub import hub
from messaging.fanout.news import EncodedEntry, News, pack, unpack
from messaging.store.entries import list_heads, list_joined_since
from whispr.kernel import database, telemetry
from whispr.kernel.environment import number
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop

log = logging.getLogger(__name__)

GROUP = "whispr.bus"
# The head check: a doorbell that was lost is made good within this many seconds.
HEAD_CHECK_SECONDS = number("WHISPR_HEAD_CHECK_SECONDS", 3.0, least=0.1)
HEAD_CHECK_CHUNK = 1_000
# Memberships that began within this window are looked at again: two checks that fail in a row lose nothing.
JOINED_WINDOW_SECONDS = 5 * HEAD_CHECK_SECONDS + 5
# What one message carries at most: Redis takes more, but a batch of full messages is 256 × 88 KiB.
MESSAGE_BYTES = 4 * 1024 * 1024
RETRY_SECONDS = 1.0
# A message of the bus costs its sender 0.25 ms however little it carries: few news wait for more (docs/decisions/0015).
SMALL_MESSAGE = 32
REST_SECONDS = 0.005


class Bus:
    """One process's end of the bus, on one event loop."""

    def __init__(self) -> None:
        self.origin = secrets.token_hex(8)
        self._waiting: deque[News] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()
        self._broken_until = 0.0

    def send(self, news: Sequence[News]) -> None:
        """Queue news for the other processes. Never waits, never fails: what does not fit is found by the head
        check."""
        if len(self._waiting) + len(news) > LIMITS.bus_waiting_max or self._loop.time() < self._broken_until:
            telemetry.bus_dropped.inc()
            return
        self._waiting.extend(news)
        if self._sending is None or self._sending.done():
            self._sending = self._loop.create_task(self._send())

    async def drained(self) -> None:
        """Wait until what is queued is sent or given up: for commands and tasks, whose loop ends."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=2.0)

    async def _send(self) -> None:
        while self._waiting:
            batch: list[News] = []
            size = 0
            while self._waiting and size < MESSAGE_BYTES:
                one = self._waiting.popleft()
                size += len(one.payload)
                batch.append(one)
            try:
                async with asyncio.timeout(LIMITS.redis_timeout_ms / 1000):
                    await self._layer().group_send(GROUP, {"type": "news", "from": self.origin, "news": pack(batch)})
                telemetry.bus_up.set(1)
                if trace.every:
                    for one in batch:
                        if isinstance(one, EncodedEntry):
                            trace.record_entry(one.payload, "published")
                if len(batch) < SMALL_MESSAGE:
                    await asyncio.sleep(REST_SECONDS)
            except Exception as error:  # whatever Redis or the layer say, the log has it
                telemetry.bus_dropped.inc()
                telemetry.bus_up.set(0)
                self._broken_until = self._loop.time() + RETRY_SECONDS
                self._waiting.clear()
                log.warning(
                    "The bus does not take messages (%s); sockets elsewhere wait for the head check",
                    type(error).__name__,
                )
                return

    def start(self) -> None:
        """Listen, and check heads, for as long as the loop runs. Called by the first socket; later calls do nothing."""
        if not self._tasks:
            self._tasks = [self._loop.create_task(self._listen()), self._loop.create_task(self._check_heads())]

    async def stop(self) -> None:
        """End the tasks of `start()`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _listen(self) -> None:
        while True:
            try:
                channel = await self._layer().new_channel()
                await self._layer().group_add(GROUP, channel)
                while True:
                    message = await self._layer().receive(channel)
                    if message.get("from") != self.origin:
                        self._hear(message["news"])
            except asyncio.CancelledError:
                raise
            except Exception as error:
                telemetry.bus_up.set(0)
                log.warning("The bus cannot be heard (%s); trying again", type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    @staticmethod
    def _hear(packed: Sequence[Sequence[Any]]) -> None:
        try:
            hub.take(unpack(packed))
        except Exception:
            log.exception("A message of the bus was not understood; the head check makes good what it carried")

    async def _check_heads(self) -> None:
        while True:
            await asyncio.sleep(HEAD_CHECK_SECONDS)
            try:
                await self.check_heads()
            except asyncio.CancelledError:
                raise
            except WhisprError:
                continue  # the database is away; what was missed is still there at the next check
            except Exception:
                log.exception("The head check failed")

    async def check_heads(self) -> None:
        """Compare what was passed on with the log, and repair what the doorbell lost."""
        followed = list(hub.feeds)
        for start in range(0, len(followed), HEAD_CHECK_CHUNK):
            heads = await database.run(list_heads, followed[start : start + HEAD_CHECK_CHUNK])
            for conversation_id, head in heads.items():
                feed = hub.feeds.get(conversation_id)
                if feed is not None and feed.head is not None and feed.head < head:
                    feed.repair(head, "head_check")
        if hub.listeners:
            for user_id, conversation_id, seq, shared in await database.run(list_joined_since, JOINED_WINDOW_SECONDS):
                for listener in tuple(hub.listeners.get(user_id, ())):
                    listener.on_joined_conversation(conversation_id, seq, shared)

    @staticmethod
    def _layer() -> Any:
        return get_channel_layer()


buses: PerLoop[Bus] = PerLoop(Bus)
