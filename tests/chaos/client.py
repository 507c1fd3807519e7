"""A device as docs/protocol.md asks for one: it keeps what it sent until that is settled, and what it holds.

Unknown outcomes are sent again under the same clientRandom; after a loss of its connection it goes on from its cursors,
at any server process. Everything it does and is given goes into the history.
"""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from tests.chaos.asking import Asking, Closed
from tests.chaos.history import History, Op, hash_of
from tests.chaos.proxy import Link
from tests.chaos.wire import (
    ANSWER_SECONDS,
    Held,
    Outgoing,
    entry_fields,
    keep,
    rest_outcome,
    token_of,
)

CONNECT_SECONDS = 12.0
# The longest that a client waits before it tries again, whatever the server advises: the runs are short.
RETRY_SECONDS_MAX = 2.5
HEARTBEAT_SECONDS = 10.0
ACK_SECONDS = 0.08
PENDING_SECONDS = 3.0
WINDOW = 16  # sends at once
REST_SHARE = 0.05
_slots = asyncio.Semaphore(40)  # a request that waits for one of our own threads has not begun
_sockets = itertools.count(1)


class Device(Asking):
    """One device of one user."""

    def __init__(
        self,
        history: History,
        links: Sequence[Link],
        secret: str,
        user: UUID,
        *,
        seed: str,
        control: bool = False,
        reads: bool = True,
        beat: float = HEARTBEAT_SECONDS,
    ) -> None:
        device = uuid4()
        super().__init__(history, links, str(user), str(device), token_of(secret, user, device), control, seed)
        self.reads = reads
        self._beat_seconds = beat
        self.seed_name = seed
        self.held: dict[str, Held] = {}
        self.outbox: dict[int, Outgoing] = {}
        self.online = asyncio.Event()
        self.synced = asyncio.Event()
        self.ended = False
        self.is_revoked = False  # or soon
        self.only_rest = False  # it is never connected, and sends all the same
        self.rest_share = REST_SHARE  # of first tries; five times as many of the later ones
        self.paused = asyncio.Event()  # clear: stay away
        self._due: set[str] = set()  # conversations in which something may have to be acknowledged
        self._came = asyncio.Event()
        self.paused.set()
        self.close_codes: list[int | None] = []
        self._at = self.random.randrange(len(links))
        self._join: Op | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._window = asyncio.Semaphore(WINDOW)

    # --- life

    @property
    def link(self) -> Link:
        """The link of the present connection."""
        return self.links[self._at % len(self.links)]

    def start(self) -> None:
        """Connect, and stay connected."""
        self._runner = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Go for good; what is in the outbox stays unsettled."""
        self.ended = True
        self.paused.set()
        for task in [*self._tasks, *([self._runner] if self._runner else [])]:
            task.cancel()
        await asyncio.gather(*self._tasks, *([self._runner] if self._runner else []), return_exceptions=True)
        self.note("gone", "ok")

    def leave(self) -> None:
        """Stay away until `come_back`."""
        self.paused.clear()
        self.disconnect()

    def come_back(self) -> None:
        """Connect again."""
        self.paused.set()

    async def _run(self) -> None:
        while not self.ended:
            await self.paused.wait()
            self._at = self.random.randrange(len(self.links))
            try:
                await self._serve()
            except (OSError, WebSocketException, TimeoutError, Closed, EOFError):
                pass
            finally:
                self._lost()
            await asyncio.sleep(self.random.uniform(0.05, 0.6))

    def _lost(self) -> None:
        self.online.clear()
        self.synced.clear()
        self._connection = None
        self._let_go()

    async def _serve(self) -> None:
        """One connection, from its opening to its end."""
        self.socket = next(_sockets)
        began = asyncio.get_running_loop().time()
        opening = self.begin("connect", url=self.link.name)
        try:
            connection = await connect(
                f"ws://127.0.0.1:{self.link.port}/socket/websocket?vsn=2.0.0",
                additional_headers={"Authorization": f"Bearer {self.token}"},
                compression=None,
                max_size=None,
                ping_interval=None,
                open_timeout=CONNECT_SECONDS,
                close_timeout=1,
                proxy=None,
            )
        except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            code = f"http_{status}" if status else "silence" if isinstance(error, TimeoutError) else "closed"
            self.end_of(opening, "info", began, code=code)
            if status == 403 and self.is_revoked:
                self.ended = True
            raise
        self.end_of(opening, "ok", began)
        self._connection = connection
        self._answered.clear()
        beating = asyncio.create_task(self._beat())
        acking = asyncio.create_task(self._ack())
        try:
            reading = asyncio.create_task(self._read(connection))
            reading.add_done_callback(lambda _: self._let_go())  # the join would wait for its answer
            try:
                await self._join_inbox()
                self.online.set()
                await reading
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        finally:
            for task in (beating, acking):
                task.cancel()
            await asyncio.gather(beating, acking, return_exceptions=True)
            self.close_codes.append(connection.close_code)
            connection.transport.abort()

    async def _join_inbox(self) -> None:
        cursors = {conversation: held.upto for conversation, held in self.held.items() if held.upto is not None}
        began = asyncio.get_running_loop().time()
        self._join = self.begin("join", cursors=cursors)
        payload = {"cursors": cursors} | ({"epoch": self.epoch} if self.epoch else {})
        reply = await self._answer(self._join, "phx_join", payload, began)
        if reply is None or reply.phase != "ok":
            raise Closed

    async def _read(self, connection: ClientConnection) -> None:
        async for frame in connection:
            _, ref, _, event, payload = json.loads(frame)
            if event == "phx_reply":
                future = self._waiting.pop(ref, None)
                if future is not None and not future.done():
                    future.set_result(payload)
                    self._answered.add(ref)
                elif ref in self._answered:
                    self.note("stray", "ok", note=f"ref {ref}")
            elif event == "new_message":
                self._received(payload)
            elif event == "sync_complete":
                self.synced.set()
                self.note("sync", "ok", id=self._join.id if self._join else None, socket=self.socket)
            elif event == "resync_required":
                self.note("resync", "info", code=payload.get("reason"), conversation=payload.get("conversationId"))
                if payload.get("reason") == "epoch_changed":
                    self.held.clear()
            elif event in ("delivery_status_update", "read_status_update"):
                self.note(
                    "status",
                    "ok",
                    socket=self.socket,
                    conversation=payload["conversationId"],
                    recipient=payload["recipientId"],
                    status=payload["status"],
                    up_to=payload["upTo"],
                )
            elif event in ("phx_error", "phx_close"):
                raise Closed

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_seconds)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._ask("phoenix", "heartbeat", {})
            except (TimeoutError, Closed, WebSocketException, OSError):
                self.disconnect()
                return

    # --- what comes

    def _received(self, entry: dict[str, Any]) -> None:
        conversation, seq = entry["conversationId"], entry["seq"]
        held = self.held.setdefault(conversation, Held())
        held.take(seq, own=False)
        self.history.write(
            "receive",
            "ok",
            id=self._join.id if self._join else None,
            user=self.user,
            device=self.id,
            socket=self.socket,
            **entry_fields(entry),
        )
        keep(held, entry)
        self._look_at(conversation)

    def _look_at(self, conversation: str) -> None:
        """Something may have to be acknowledged there."""
        self._due.add(conversation)
        self._came.set()

    async def _ack(self) -> None:
        """Acknowledge what came, a little later, a conversation at a time."""
        while True:
            await self._came.wait()
            await asyncio.sleep(ACK_SECONDS)
            await self.online.wait()
            for conversation in tuple(self._due):
                held = self.held.get(conversation)
                if held is None or held.upto is None:
                    self._due.discard(conversation)
                    continue
                upto = held.upto
                if upto > held.acked:
                    if not await self._receipt("ack", "message_received", conversation, upto):
                        break
                    held.acked = max(held.acked, upto)
                if self.reads and held.acked > held.read and self.random.random() < 0.3:
                    upto = held.acked
                    if await self._receipt("read", "message_read", conversation, upto):
                        held.read = max(held.read, upto)
                if held.acked == held.upto and (held.read >= held.acked or not self.reads):
                    self._due.discard(conversation)
            if not self._due:
                self._came.clear()

    async def _receipt(self, op: str, event: str, conversation: str, upto: int) -> bool:
        began = asyncio.get_running_loop().time()
        line = self.begin(op, conversation=conversation, up_to=upto)
        end = await self._answer(line, event, {"conversationId": conversation, "upTo": upto}, began)
        if end is not None and end.phase == "fail":
            # No longer a member, say: it is not asked again.
            held = self.held[conversation]
            held.acked = max(held.acked, upto)
            held.read = max(held.read, upto)
            return False
        if end is not None and end.phase == "info":
            await asyncio.sleep(self.random.uniform(0.2, 1.0))
        return end is not None and end.phase == "ok"

    # --- what goes

    def widen(self, window: int) -> None:
        """So many sends at once from now on."""
        self._window = asyncio.Semaphore(window)

    def submit(self, outgoing: Outgoing) -> None:
        """Put it into the outbox; it is tried until it is settled."""
        self.outbox[outgoing.client_random] = outgoing
        self._spawn(self._deliver(outgoing))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, outgoing: Outgoing) -> None:
        async with self._window:
            while True:
                by_rest = self.only_rest or self.random.random() < self.rest_share * (5 if outgoing.attempts else 1)
                if not by_rest or not (self.only_rest or self.paused.is_set()):
                    await self.online.wait()
                if self.only_rest:
                    async with _slots:
                        end = await self._try(outgoing, by_rest=True)
                else:
                    end = await self._try(outgoing, by_rest=by_rest)
                if end.phase == "fail" or (end.phase == "ok" and end.status != "pending"):
                    self.outbox.pop(outgoing.client_random, None)
                    return
                wait = PENDING_SECONDS if end.phase == "ok" else min(end.seconds or 0.3, RETRY_SECONDS_MAX)
                await asyncio.sleep(self.random.uniform(0.5, 1.2) * wait)

    async def _try(self, outgoing: Outgoing, *, by_rest: bool) -> Op:
        outgoing.attempts += 1
        began = asyncio.get_running_loop().time()
        line = self.begin(
            "send",
            conversation=outgoing.conversation,
            client_random=outgoing.client_random,
            hash=hash_of(outgoing.content),
            type=outgoing.type,
            target=outgoing.target,
            attempt=outgoing.attempts,
            socket=None if by_rest else self.socket,
        )
        if by_rest:
            status, answer = await self.rest("POST", "messages", outgoing.payload())
            end = self.settle(line, began, *rest_outcome(status, answer))
        else:
            found = await self._answer(line, "send_message", outgoing.payload(), began)
            assert found is not None
            end = found
        if end.phase == "ok" and end.seq:
            self.held.setdefault(outgoing.conversation, Held()).take(end.seq, own=True)
            self._look_at(outgoing.conversation)
            if outgoing.type in ("text", "ephemeral") and end.message_id:
                entry = {"messageId": end.message_id, "senderId": self.user, "type": outgoing.type}
                keep(self.held[outgoing.conversation], entry | {"expiresAt": None if outgoing.ttl is None else "soon"})
        return end

    async def delete(self, conversation: str, message_id: str) -> None:
        """Delete a message for everyone; tried once, an unknown outcome stays unknown."""
        began = asyncio.get_running_loop().time()
        self.held[conversation].messages.pop(message_id, None)
        line = self.begin("delete", conversation=conversation, message_id=message_id)
        await self._answer(line, "delete_message", {"messageId": message_id, "forEveryone": True}, began)
