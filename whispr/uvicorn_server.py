"""uvicorn with some changes to its WebSocket protocol: `python -m whispr.uvicorn_server --port 8000`.

What a loop iteration produces for one socket leaves in one write, and a socket is read ahead a little. A message's full
cycle is two frames in and four out, and a batch's outcomes fall due together (docs/decisions/0009). A socket that does
not answer pings is closed with a code of ours, and ended where it does not read that; a handshake that cannot be parsed
is answered. A stop finishes what the sockets asked before it closes them.
"""

import argparse
import asyncio
import copy
import os
import socket
import struct
import time
from typing import Any

import uvicorn
import uvicorn.config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from whispr.embedded.processes import GRACEFUL_SECONDS
from whispr.http_protocol import PunctualHttpProtocol
from whispr.kernel.hang import end_when_hung
from whispr.kernel.limits import LIMITS

# Written out at once beyond this, so that the transport can say that the client does not read: its high-water mark.
GATHER_BYTES = 64 * 1024
# Messages that are read ahead of the application: a client's whole window at 8, and 16 × 128 KiB at the worst.
READ_AHEAD = 16
# A socket that answers no ping is not there, or reads nothing: what waits for it is given up this long after the close.
ABORT_SECONDS = 5.0
_MALFORMED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CLOSE_RESTART = 1012
STARTUP_FAILURE = 3  # what uvicorn exits with
_TEXT, _BINARY = 0x81, 0x82  # FIN and opcode (RFC 6455 §5.2)


def frame_head(first: int, length: int) -> bytes:
    """The head of an unmasked frame of `length` payload bytes (RFC 6455 §5.2); `first` is its first byte."""
    if length < 126:
        return bytes((first, length))
    if length < 65_536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


class GatheringProtocol(WebSocketsSansIOProtocol):
    """uvicorn's sans-I/O WebSocket protocol, with gathered writes and a little reading ahead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._stopping = False

    def shutdown(self) -> None:
        """The server ends. A handshake that is not answered yet is refused for now (503): it is no fault of ours."""
        self._stopping = True
        super().shutdown()

    def send_500_response(self) -> None:
        """The handshake found no answer, by a fault or by the server's end."""
        if not self._stopping:
            super().send_500_response()
        elif self.initial_response is None and not self.handshake_complete:
            response = self.conn.reject(503, "The server restarts; try again.\n")
            response.headers["Retry-After"] = "1"
            self.conn.send_response(response)
            self.transport.write(b"".join(self.conn.data_to_send()))

    def data_received(self, data: bytes) -> None:
        """Take bytes in. A handshake that cannot be parsed (a header line over 8 KiB) gets an answer and an end."""
        super().data_received(data)
        if self.conn.handshake_exc is None or self.handshake_initiated or self.transport.is_closing():
            return
        self.transport.write(b"".join(self.conn.data_to_send()) or _MALFORMED)
        self.transport.close()

    def keepalive_timeout(self) -> None:
        """No pong came in time: close with 4408 (docs/protocol.md §2), and end the connection if nobody reads that."""
        self.pong_timer = None
        self.pending_ping_payload = None
        if self.close_sent or self.transport.is_closing():
            return
        self._write_gathered()
        self.conn.fail(4408, "No pong came in time.")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        self.loop.call_later(ABORT_SECONDS, self.transport.abort)

    async def send(self, message: Any) -> None:
        """Send a message of the application: data frames are gathered, all else goes the usual way after them."""
        if message["type"] != "websocket.send" or not self.handshake_complete or self.close_sent:
            self._write_gathered()
            await super().send(message)
            return
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.transport.is_closing():
            return  # the application learns of it from receive()
        text = message.get("text")
        self._gather(message["bytes"] if text is None else text)

    def send_now(self, frame: str | bytes) -> bool:
        """Gather a text (str) or binary (bytes) frame, unless there is something to wait for; whether it was taken.

        The application's outbox asks here first: a task for each frame, which never waits, costs more than the frame.
        """
        if not self.handshake_complete or self.close_sent or self.disconnected:
            return False
        if not self.writable.is_set() or self.transport.is_closing():
            return False
        self._gather(frame)
        return True

    def _gather(self, frame: str | bytes) -> None:
        is_text = isinstance(frame, str)
        payload = frame.encode() if isinstance(frame, str) else frame
        if not self._gathered:
            self.loop.call_soon(self._write_gathered)
        self._gathered.append(frame_head(_TEXT if is_text else _BINARY, len(payload)))
        self._gathered.append(payload)
        self._gathered_bytes += len(payload)
        if self._gathered_bytes > GATHER_BYTES:
            self._write_gathered()

    def _write_gathered(self) -> None:
        if self._gathered:
            if not self.transport.is_closing() and not self.close_sent:
                self.transport.write(b"".join(self._gathered))
            self._gathered.clear()
            self._gathered_bytes = 0

    def handle_text(self, event: Frame) -> None:
        """Pass on a text message; reading stops only when the application is some messages behind."""
        if not event.fin or self.close_sent or self.queue.qsize() >= READ_AHEAD:
            super().handle_text(event)
            return
        try:
            text = bytes(event.data).decode()
        except UnicodeDecodeError:
            super().handle_text(event)  # which closes with 1007
            return
        self.queue.put_nowait({"type": "websocket.receive", "text": text})


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which finishes what its sockets asked before it closes them, and ends where it hangs."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and be watched over from then on."""
        await super().startup(sockets)
        self._watch = asyncio.create_task(end_when_hung())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, drain, and do the rest (HTTP requests, the lifespan) within what is left of the time."""
        from whispr.lifespan import drain  # it needs Django, which the application's import sets up

        began = time.monotonic()
        for server in self.servers:
            server.close()
        if not self.force_exit:
            await drain(CLOSE_RESTART)
            await self._until_answered(began + GRACEFUL_SECONDS - 1)
        left = GRACEFUL_SECONDS - (time.monotonic() - began)
        self.config.timeout_graceful_shutdown = max(1, round(left))
        await super().shutdown(sockets)
        self._watch.cancel()

    async def _until_answered(self, deadline: float) -> None:
        """Wait for the clients' answers to the closes, until `deadline` (monotonic seconds).

        What a client still writes to a connection that is closed makes TCP drop the close frame with its code.
        """
        while time.monotonic() < deadline:
            if not any(isinstance(one, GatheringProtocol) and one.close_sent for one in self.server_state.connections):
                return
            await asyncio.sleep(0.02)


def _log_config() -> dict[str, Any]:
    """uvicorn's own lines, through a handler that does not wait for whoever reads them."""
    config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    config["handlers"]["default"] = {"formatter": "default", "class": "whispr.kernel.log_output.ConsoleHandler"}
    return config


def settings(forwarded_allow_ips: str | None = None) -> dict[str, Any]:
    """What uvicorn is told: the limits of the contract, and a deadline for its stop."""
    return {
        "loop": "uvloop",
        "http": PunctualHttpProtocol,
        "ws": GatheringProtocol,
        "lifespan": "on",
        "ws_max_size": LIMITS.frame_bytes,
        # A ciphertext does not shrink, and a few compressed bytes could ask for megabytes.
        "ws_per_message_deflate": False,
        # A connection whose other end is gone without a word is noticed.
        "ws_ping_interval": float(LIMITS.ping_seconds),
        "ws_ping_timeout": float(LIMITS.ping_seconds),
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
        "access_log": False,
        "log_config": _log_config(),
        "server_header": False,
        "proxy_headers": forwarded_allow_ips is not None,
        "forwarded_allow_ips": forwarded_allow_ips,
    }


def main() -> None:
    """Serve `whispr.asgi:application`."""
    parser = argparse.ArgumentParser(prog="python -m whispr.uvicorn_server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int)
    parser.add_argument("--forwarded-allow-ips", help="proxies whose X-Forwarded-For is believed; none by default")
    parser.add_argument("--log-level", default="info")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "whispr.settings")
    config = uvicorn.Config(
        "whispr.asgi:application",
        host=options.host,
        port=options.port,
        fd=options.fd,
        log_level=options.log_level,
        **settings(options.forwarded_allow_ips),
    )
    server = DrainingServer(config)
    try:
        server.run()
    except KeyboardInterrupt:
        pass  # raised again by uvicorn after its graceful end
    if not server.started:
        raise SystemExit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
