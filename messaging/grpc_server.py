"""The entry for other services: `proto/whispr/messaging/v1` over gRPC (specification §8; docs/protocol.md "Services
around it").

Who may call is decided by the connection alone: this machine, or a certificate of WHISPR_GRPC_CLIENT_CA. What a caller
says of itself in metadata (x-user-id, x-forwarded-for) is not looked at.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import grpc
import msgspec
from django.core.exceptions import ImproperlyConfigured
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from integrations.circuits import watches
from integrations.proto.whispr.messaging.v1 import messaging_pb2, messaging_pb2_grpc
from messaging.events import NOBODY
from messaging.fanout.bus import buses
from messaging.services.permissions import permissions_changed
from messaging.services.system import system_message_post_once
from whispr.kernel.errors import BadRequest, Timeout, WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.service_entry import ServiceEntry

T = TypeVar("T")
log = logging.getLogger(__name__)

SERVICE = messaging_pb2.DESCRIPTOR.services_by_name["Messaging"].full_name
# 1,000 ids are 38 KB, within LIMITS.frame_bytes; and news for the bus, which takes LIMITS.bus_waiting_max.
USERS_MAX = 1_000
# After SIGTERM, for what has begun. With 2 s for the bus it leaves 2 s of the 10 to end the process.
GRACE_SECONDS = 6.0
# By code of the error tree. UNAVAILABLE says "try again": only where nothing, or the same under the same key, happens.
STATUS = {
    "bad_request": grpc.StatusCode.INVALID_ARGUMENT,
    "too_large": grpc.StatusCode.INVALID_ARGUMENT,
    "invalid_signature": grpc.StatusCode.INVALID_ARGUMENT,
    "invalid_media": grpc.StatusCode.INVALID_ARGUMENT,
    "invalid_target": grpc.StatusCode.INVALID_ARGUMENT,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "quarantined": grpc.StatusCode.PERMISSION_DENIED,
    "not_found": grpc.StatusCode.NOT_FOUND,
    "client_random_reused": grpc.StatusCode.FAILED_PRECONDITION,
    "stale_membership": grpc.StatusCode.FAILED_PRECONDITION,
    "edit_conflict": grpc.StatusCode.FAILED_PRECONDITION,
    "rate_limited": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "temporary_unavailable": grpc.StatusCode.UNAVAILABLE,
    "overloaded": grpc.StatusCode.UNAVAILABLE,
    "timeout": grpc.StatusCode.DEADLINE_EXCEEDED,
    "internal_error": grpc.StatusCode.INTERNAL,
}


class Messaging(messaging_pb2_grpc.MessagingServicer):
    """The service of the contract: decodes, calls one service function, encodes."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def PostSystemMessage(
        self, request: messaging_pb2.PostSystemMessageRequest, context: Any
    ) -> messaging_pb2.PostSystemMessageResponse:
        """Append a system message once for each idempotency key (specification §8)."""
        try:
            work = system_message_post_once(
                request.idempotency_key,
                _uuid(request.conversation_id, "conversation_id"),
                request.event,
                _details(request.details_json),
                _uuid(request.by, "by") if request.by else NOBODY,
            )
            outcome = await self._finished(work)
        except WhisprError as error:
            await _refuse(context, error)
        except Exception:  # whatever it is, a caller gets no traceback, as gRPC would send one
            log.exception("PostSystemMessage failed")
            await context.abort(grpc.StatusCode.INTERNAL, "The server failed; the call may be repeated.")
        response = messaging_pb2.PostSystemMessageResponse(message_id=str(outcome.message_id), seq=outcome.seq)
        response.sent_at.FromDatetime(outcome.sent_at)
        return response

    async def PermissionsChanged(
        self, request: messaging_pb2.PermissionsChangedRequest, context: Any
    ) -> messaging_pb2.PermissionsChangedResponse:
        """Have every process ask the user service anew about these senders (docs/protocol.md "Services around it")."""
        try:
            if len(request.user_ids) > USERS_MAX:
                raise BadRequest(f"At most {USERS_MAX} users at once.")
            permissions_changed([_uuid(text, "user_ids") for text in request.user_ids])
        except WhisprError as error:
            await _refuse(context, error)
        return messaging_pb2.PermissionsChangedResponse()

    async def _finished(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. Raises Timeout after LIMITS.request_seconds.

        It goes on when the caller hangs up: what is committed is to be published too.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(task), LIMITS.request_seconds)
        except TimeoutError:
            raise Timeout("No answer in time; repeat the call with the same key.") from None

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved here: its caller may be gone

    async def drained(self, seconds: float) -> None:
        """Wait for the work whose callers have gone, at most so long."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)


class ServiceServer:
    """A gRPC server on one address, on the running loop."""

    def __init__(self, entry: ServiceEntry) -> None:
        """Raises ImproperlyConfigured where the settings, the files or the address cannot be used."""
        refusal = entry.refusal()
        if refusal is not None or not entry.address:
            raise ImproperlyConfigured(" ".join(refusal or ("WHISPR_GRPC_ADDRESS is not set.",)))
        self._messaging = Messaging()
        self._health = health.HealthServicer()
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=LIMITS.rest_running_max,
            options=[
                ("grpc.max_receive_message_length", LIMITS.frame_bytes),
                ("grpc.max_concurrent_streams", LIMITS.rest_running_max),
                ("grpc.so_reuseport", 0),  # else two servers share a port without a word
            ],
        )
        messaging_pb2_grpc.add_MessagingServicer_to_server(self._messaging, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = self._listen(entry)

    def _listen(self, entry: ServiceEntry) -> int:
        try:
            if not entry.has_tls:
                return int(self._server.add_insecure_port(entry.address))
            key, certificate, client_ca = (
                Path(name).read_bytes() for name in (entry.key, entry.certificate, entry.client_ca)
            )
            credentials = grpc.ssl_server_credentials(
                [(key, certificate)], root_certificates=client_ca, require_client_auth=True
            )
            return int(self._server.add_secure_port(entry.address, credentials))
        except OSError as error:
            raise ImproperlyConfigured(f"{error.filename}: {error.strerror}.") from None
        except RuntimeError:
            what = " (is it taken, or is a certificate or key no PEM file?)" if entry.has_tls else " (is it taken?)"
            raise ImproperlyConfigured(f"{entry.address} cannot be served{what}.") from None

    async def start(self) -> None:
        """Take calls."""
        await self._server.start()
        watches.get().start()
        await self._health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Take no more calls, finish what has begun, ring the doorbell for it; within 9 seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(GRACE_SECONDS)
        await self._messaging.drained(1.0)
        await watches.get().stop()
        bus = buses.peek()
        if bus is not None:
            await bus.drained()


async def serve(entry: ServiceEntry) -> None:
    """Serve until SIGTERM or SIGINT. Raises ImproperlyConfigured as ServiceServer does."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = ServiceServer(entry)
    await server.start()
    log.info("gRPC on %s, %s", entry.address, "mutual TLS" if entry.has_tls else "this machine only")
    await stopped.wait()
    await server.stop()


async def _refuse(context: Any, error: WhisprError) -> NoReturn:
    trailing = [("whispr-code", error.code)]
    if error.retry_after is not None:
        trailing.append(("retry-after", f"{error.retry_after:g}"))
    await context.abort(STATUS.get(error.code, grpc.StatusCode.UNKNOWN), error.message, tuple(trailing))
    raise AssertionError("unreachable")


def _uuid(text: str, name: str) -> UUID:
    with contextlib.suppress(ValueError):
        return UUID(text)
    raise BadRequest(f"{name} must be a UUID.")


def _details(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):  # and ValidationError, which is one
        raise BadRequest("details_json must be a JSON object.") from None
