"""A light Phoenix client: one socket on its user topic (picows; bench/README.md says why)."""

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.wire import SyncComplete, frame_decoder, reply_decoder, sync_decoder

# A quarter of the server's idle limit of 60 s, so that a busy machine does not cost us sockets.
HEARTBEAT_SECONDS = 15.0
CONNECT_SECONDS = 15.0
JOIN_REF = 1


class ClientFault(RuntimeError):
    """The server did what docs/protocol.md does not say: the workload fails."""


class Client(WSListener):
    """A device's socket. Subclasses say what replies and pushes mean to them."""

    def __init__(self, user_id: UUID, device_id: UUID, token: str) -> None:
        super().__init__()
        self.user_id = user_id
        self.device_id = device_id
        self.close_code: int | None = None
        self.fault: str | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.synced: asyncio.Future[SyncComplete] = asyncio.get_running_loop().create_future()
        self._token = token
        self._joined: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._last_ref = JOIN_REF
        self._topic = f"user:{user_id}"
        self._transport: WSTransport | None = None
        self._leaving = False

    # --- for subclasses

    def on_reply(self, ref: int, response: msgspec.Raw) -> None:
        """An ok reply to what `push` sent under `ref`."""

    def on_push(self, event: str, payload: msgspec.Raw) -> None:
        """A push of the server."""

    # --- the connection

    async def connect(self, url: str, *, receive_buffer: int | None = None) -> None:
        """Open the socket to `url` (http://host:port).

        `receive_buffer` bounds what the kernel takes for us, in bytes.
        """
        options: dict[str, Any] = {}
        if receive_buffer is not None:
            options["socket_factory"] = lambda _: _small_socket(url, receive_buffer)
        address = url.replace("http", "ws", 1) + "/socket/websocket?vsn=2.0.0"
        async with asyncio.timeout(CONNECT_SECONDS):
            self._transport, _ = await ws_connect(
                lambda: self,
                address,
                extra_headers={"Authorization": f"Bearer {self._token}"},
                websocket_handshake_timeout=CONNECT_SECONDS,
                **options,
            )

    async def join(self) -> None:
        """Join the inbox. Raises ClientFault for anything but an ok reply."""
        self._send(f'["1","1","{self._topic}","phx_join",{{}}]')
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._joined

    async def open(self, url: str) -> None:
        """Connect, join, and wait for the end of the catch-up."""
        await self.connect(url)
        await self.join()
        async with asyncio.timeout(CONNECT_SECONDS):
            await self.synced

    async def close(self) -> None:
        """Leave quietly."""
        self._leaving = True
        if self._transport is not None:
            self._transport.send_close()
            try:
                async with asyncio.timeout(2):
                    await asyncio.shield(self.closed)
            except TimeoutError:
                self._transport.disconnect(False)

    def stop_reading(self) -> None:
        """Read nothing more from the TCP connection."""
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._tcp.resume_reading()

    @property
    def _tcp(self) -> asyncio.ReadTransport:
        if self._transport is None:
            raise ClientFault("the socket is not open")
        return self._transport.underlying_transport

    # --- out

    def push(self, event: str, payload: str) -> int:
        """Send an event with its payload, JSON text; the ref under which its reply comes."""
        self._last_ref += 1
        self._send(f'["1","{self._last_ref}","{self._topic}","{event}",{payload}]')
        return self._last_ref

    def heartbeat(self) -> None:
        """Keep the socket from being idle."""
        if not self.closed.done():
            self._send('[null,"0","phoenix","heartbeat",{}]')

    def _send(self, frame: str) -> None:
        if self._transport is None:
            raise ClientFault("the socket is not open")
        self._transport.send(WSMsgType.TEXT, frame.encode())

    # --- in

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """picows: a frame came."""
        if frame.msg_type == WSMsgType.TEXT:
            try:
                self._on_text(frame.get_payload_as_bytes())
            except Exception as error:
                self.fail(f"{type(error).__name__}: {error}")
        elif frame.msg_type == WSMsgType.CLOSE:
            self.close_code = _number(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """picows: the connection is gone."""
        if not self.closed.done():
            self.closed.set_result(None)
        if not self._leaving:
            self.fail(f"the server closed the socket with {self.close_code}")

    def fail(self, reason: str) -> None:
        """Note a fault (the first one stands)."""
        if self.fault is None:
            self.fault = f"{self._topic}: {reason}"
        for waited in (self._joined, self.synced):
            if not waited.done():
                waited.set_exception(ClientFault(self.fault))
                waited.exception()  # whoever waits gets it; nobody need

    def _on_text(self, data: bytes) -> None:
        _, ref, topic, event, payload = frame_decoder.decode(data)
        if event != "phx_reply":
            if event in ("phx_error", "phx_close"):
                self.fail(f"the topic ended with {event}")
            elif event == "sync_complete" and not self.synced.done():
                self.synced.set_result(sync_decoder.decode(payload))
            else:
                self.on_push(event, payload)
            return
        reply = reply_decoder.decode(payload)
        if reply.status != "ok":
            self.fail(f"a request was refused: {bytes(reply.response).decode()}")
        elif topic == "phoenix":
            return
        elif ref == "1":
            self._joined.set_result(reply.response)
        elif ref is not None:
            self.on_reply(int(ref), reply.response)


def _number(code: Any) -> int:
    """picows gives its own enumeration for the codes of RFC 6455, a plain number for ours."""
    return int(getattr(code, "value", code))


def _small_socket(url: str, receive_buffer: int) -> socket.socket:
    parts = urlsplit(url)
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    opened.connect((parts.hostname or "127.0.0.1", parts.port or 80))
    opened.setblocking(False)
    return opened


def list_client_faults(clients: "list[Client] | tuple[Client, ...]") -> list[str]:
    """What went wrong on these sockets."""
    return [client.fault for client in clients if client.fault is not None]
