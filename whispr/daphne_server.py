"""daphne, run so that it keeps our promises: `python -m whispr.daphne_server -b 127.0.0.1 -p 8000`.

Three things that its own command does not do: a client that does not read stops the sender (daphne writes on without
end: 65 → 599 MB behind one slow reader), no socket is closed for its age, and a stop closes sockets with a code that
makes clients come back (daphne drops the connections, and cannot send 1012).
"""

import argparse
import asyncio
import contextlib
import os
from typing import Any

import uvloop

# Before daphne is imported: it makes its event loop then.
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

from daphne.endpoints import build_endpoint_description_strings  # noqa: E402
from daphne.server import Server  # noqa: E402
from daphne.ws_protocol import WebSocketProtocol  # noqa: E402
from twisted.internet import defer, interfaces  # noqa: E402
from zope.interface import implementer  # type: ignore[import-untyped]  # noqa: E402

from whispr.kernel.limits import LIMITS  # noqa: E402

CLOSE_RESTART = 4500
# A stop is to end within 10 s; whoever does not answer a close by then is cut off.
CLOSING_SECONDS = 2.0
LEFT_SECONDS = 1.0
# Frames above the limit are refused by our own code; this is the bound of what daphne reads at all.
FRAME_SLACK_BYTES = 1024


@implementer(interfaces.IPushProducer)
class WriteGate:
    """Closed while a connection's write buffer is full (Twisted calls it a producer: it tells us to pause and
    resume)."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    def pauseProducing(self) -> None:
        """The buffer is over its high-water mark."""
        self.open.clear()

    def resumeProducing(self) -> None:
        """The buffer is written."""
        self.open.set()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self.open.set()


def _stop_listening(port: Any) -> Any:
    if port is not None:  # one that never listened
        port.stopListening()
    return port


class WhisprServer(Server):  # type: ignore[misc]  # daphne is not typed
    """daphne's server with back pressure on sockets, and a stop that tells the clients."""

    def listen_success(self, port: Any) -> Any:
        """Keep the port as the result of its listener, which daphne's own method drops."""
        super().listen_success(port)
        return port

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Pass on what the application sends, as fast as the client takes it."""
        if isinstance(protocol, WebSocketProtocol) and protocol.transport is not None:
            gate = getattr(protocol, "write_gate", None)
            if gate is None:
                gate = protocol.write_gate = WriteGate()
                # The HTTP channel that began this connection is still registered.
                protocol.transport.unregisterProducer()
                protocol.transport.registerProducer(gate, True)
            await gate.open.wait()
            # Autobahn holds what we send to the bound on what we read; a page of history may be larger.
            bound, protocol.maxMessagePayloadSize = protocol.maxMessagePayloadSize, 0
            try:
                await super().handle_reply(protocol, message)  # without a wait inside
            finally:
                protocol.maxMessagePayloadSize = bound
            return
        await super().handle_reply(protocol, message)

    def kill_all_applications(self) -> Any:
        """Close every socket with a code that makes its client come back, then end what still runs."""
        for listener in self.listeners:  # or they would come back to this process
            listener.addCallback(_stop_listening)
        flushed = defer.Deferred.fromFuture(asyncio.ensure_future(self._close_sockets()))
        flushed.addCallback(lambda _: super(WhisprServer, self).kill_all_applications())
        return flushed

    async def _close_sockets(self) -> None:
        """Answer what was asked, by sockets and by HTTP, close every socket, and commit what waits.

        What a client still writes to a process that is gone makes TCP drop the close frame with its code.
        """
        from whispr.lifespan import drain, stop

        await drain(CLOSE_RESTART)
        await self._finish_requests()
        await self._close_rest()
        await stop()

    async def _finish_requests(self) -> None:
        """Let HTTP requests that have begun be answered; idle connections have none."""
        answering = [
            details["application_instance"]
            for protocol, details in self.connections.items()
            if not isinstance(protocol, WebSocketProtocol) and "application_instance" in details
        ]
        if answering:
            await asyncio.wait(answering, timeout=CLOSING_SECONDS)

    async def _close_rest(self) -> None:
        """Close the sockets that are not the application's yet, or that did not answer."""
        deadline = asyncio.get_event_loop().time() + LEFT_SECONDS
        while asyncio.get_event_loop().time() < deadline:
            left = [
                protocol
                for protocol, details in self.connections.items()
                if isinstance(protocol, WebSocketProtocol) and "disconnected" not in details
            ]
            if not left:
                return
            for protocol in left:
                if protocol.state == protocol.STATE_OPEN:
                    with contextlib.suppress(Exception):
                        protocol.serverClose(code=CLOSE_RESTART)
            await asyncio.sleep(0.02)


def main() -> None:
    """Serve `whispr.asgi:application`."""
    parser = argparse.ArgumentParser(prog="python -m whispr.daphne_server")
    parser.add_argument("-b", "--bind", default="127.0.0.1")
    parser.add_argument("-p", "--port", type=int, default=8000)
    parser.add_argument("--fd", type=int)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "whispr.settings")
    from whispr.asgi import application
    from whispr.lifespan import start

    place: dict[str, Any] = (
        {"file_descriptor": options.fd} if options.fd is not None else {"host": options.bind, "port": options.port}
    )
    server = WhisprServer(
        application=application,
        endpoints=build_endpoint_description_strings(**place),
        http_timeout=60,
        websocket_timeout=-1,
        websocket_handshake_timeout=LIMITS.handshake_seconds,
        websocket_connect_timeout=LIMITS.handshake_seconds + 1,
        websocket_max_message_size=LIMITS.frame_bytes + FRAME_SLACK_BYTES,
        websocket_max_frame_size=LIMITS.frame_bytes + FRAME_SLACK_BYTES,
        server_name="whispr",
    )

    def ready() -> None:
        # A bad frame is answered with its close code (1007, 1009), not by a connection that breaks off.
        # (allowNullOrigin is the one option that the call would set back: origins are the application's matter.)
        server.ws_factory.setProtocolOptions(failByDrop=False, allowNullOrigin=True)
        asyncio.get_event_loop().create_task(start())

    server.ready_callable = ready
    server.run()


if __name__ == "__main__":
    main()
