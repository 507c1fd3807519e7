"""A call to a service: within its deadline, behind its circuit, and with an answer that makes sense.

Without all three a service that hangs would hold up whoever asks it, and one that lies would be believed.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from whispr.kernel import telemetry
from whispr.kernel.breaker import Breaker, Dependency, breaker
from whispr.kernel.errors import TemporaryUnavailable
from whispr.kernel.limits import LIMITS
from whispr.kernel.remote_service import RemoteService

T = TypeVar("T")
Method = Callable[..., Awaitable[Any]]
Status = grpc.StatusCode
log = logging.getLogger(__name__)

# Three attempts fit in 300 ms where a service restarts: a refused connection is known within a millisecond.
ATTEMPTS_MAX = 3
RETRY_SECONDS = (0.01, 0.05)
HEALTH_SECONDS = 1.0
# A channel that is replaced lets calls end that have begun, which takes no longer than the longest deadline.
CLOSE_SECONDS = LIMITS.service_ms / 1000 + 1
# An answer with 1,000 recipients is 40 KB.
ANSWER_BYTES_MAX = 1024 * 1024
# A healthy service refuses with these what it is asked; any other status is a fault of its own.
REFUSALS = frozenset(
    {
        Status.INVALID_ARGUMENT,
        Status.NOT_FOUND,
        Status.ALREADY_EXISTS,
        Status.PERMISSION_DENIED,
        Status.FAILED_PRECONDITION,
        Status.OUT_OF_RANGE,
    }
)
_OPTIONS = (
    ("grpc.max_receive_message_length", ANSWER_BYTES_MAX),
    ("grpc.enable_retries", 0),  # ours know the deadline and the circuit
    ("grpc.service_config_disable_resolution", 1),
    # A connection that died without a word while a call is under way. Without one, no pings: servers take them for an
    # attack (ENHANCE_YOUR_CALM) unless they are told not to; such a connection is replaced with the circuit's probe.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # gRPC's own pauses grow to two minutes; when to try is the circuit's matter here.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Else a new channel shares the old one's broken connection.
    ("grpc.use_local_subchannel_pool", 1),
)


class Nonsense(ValueError):
    """An answer that breaks the contract. Its text never repeats the answer."""


class Unanswered(TemporaryUnavailable):
    """The service was asked, and gave no answer that makes sense: what was asked for may have happened."""


class Refused(Exception):
    """A healthy service refuses what it was asked."""

    def __init__(self, status: grpc.StatusCode) -> None:
        super().__init__(status.name)
        self.status = status


class ServiceClient:
    """One service's channel on one event loop; it is opened by the first call."""

    def __init__(self, name: Dependency, remote: RemoteService, service: str) -> None:
        """`service` is the service's full name in its contract, by which its health is asked."""
        self.name = name
        self._remote = remote
        self._service = service
        self._circuit: Breaker = breaker(name)
        self._channel: grpc.aio.Channel | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def channel(self) -> grpc.aio.Channel:
        """The channel. One that failed is replaced when the circuit probes: its connection may be dead for long."""
        if self._channel is None:
            self._channel = _open(self._remote)
        return self._channel

    def _renew(self, grace: float = CLOSE_SECONDS) -> None:
        old, self._channel = self._channel, None
        if old is not None:
            task = asyncio.get_running_loop().create_task(old.close(grace))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the channel; the next call opens another."""
        self._renew(grace=0.0)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def call(
        self,
        method: str,
        stub: Callable[[grpc.aio.Channel], Method],
        request: object,
        read: Callable[[Any], T],
        seconds: float,
    ) -> T:
        """What `read` makes of the answer; `method` names the call in metrics.

        Every call may be repeated (the contracts say so), so one that finds nobody is tried again within its deadline.
        Raises TemporaryUnavailable where the circuit is open; Unanswered, which is one, where nobody answers within
        `seconds` or the answer makes no sense (`read` raises Nonsense); Refused where the service refuses.
        """
        before = self._circuit.state
        ticket = self._circuit.access()
        if before != "closed":
            self._renew()
        try:
            async with asyncio.timeout(seconds):
                answer = await self._attempts(stub, request, seconds)
            found = read(answer)
        except Refused:
            self._circuit.success(ticket)
            telemetry.service_calls.labels(self.name, method, "refused").inc()
            raise
        except (OSError, grpc.aio.AioRpcError, Nonsense) as error:  # TimeoutError is an OSError, as is a lost file
            self._failed(method, ticket, error)
        self._circuit.success(ticket)
        telemetry.service_calls.labels(self.name, method, "ok").inc()
        return found

    async def _attempts(self, stub: Callable[[grpc.aio.Channel], Method], request: object, seconds: float) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return await stub(self.channel())(request, timeout=max(deadline - loop.time(), 0.001))
            except grpc.aio.AioRpcError as error:
                if error.code() in REFUSALS:
                    raise Refused(error.code()) from None
                if error.code() is not Status.UNAVAILABLE or attempt == ATTEMPTS_MAX:
                    raise
                await asyncio.sleep(random.uniform(*RETRY_SECONDS) * attempt)
        raise AssertionError("unreachable")

    def _failed(self, method: str, ticket: int, error: Exception) -> NoReturn:
        self._circuit.failure(ticket)
        outcome = "nonsense" if isinstance(error, Nonsense) else "late" if _is_late(error) else "away"
        telemetry.service_calls.labels(self.name, method, outcome).inc()
        log.info("%s %s: %s", self.name, method, _reason(error))
        raise Unanswered(
            f"The {self.name.replace('_', ' ')} does not answer.", retry_after=self._circuit.retry_after or 1.0
        ) from None

    async def probe(self) -> None:
        """Ask the service's health (grpc.health.v1) if its circuit waits for a probe. Never fails.

        So a circuit closes without a user's call having to try it. A service without the health service answers that,
        and so is there.
        """
        if self._circuit.state != "half_open" or self._circuit.held is not None:
            return

        def health(channel: grpc.aio.Channel) -> Method:
            return health_pb2_grpc.HealthStub(channel).Check  # type: ignore[no-any-return]

        try:
            request = health_pb2.HealthCheckRequest(service=self._service)
            await self.call("Health", health, request, _serving, HEALTH_SECONDS)
        except (TemporaryUnavailable, Refused):
            return


def _serving(answer: Any) -> None:
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise Nonsense("it says that it does not serve")


def _open(remote: RemoteService) -> grpc.aio.Channel:
    if not remote.has_tls:
        return grpc.aio.insecure_channel(remote.address, options=_OPTIONS)
    ca, key, certificate = (
        Path(name).read_bytes() if name else None for name in (remote.ca, remote.key, remote.certificate)
    )
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.aio.secure_channel(remote.address, credentials, options=_OPTIONS)


def _is_late(error: Exception) -> bool:
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() is Status.DEADLINE_EXCEEDED
    return isinstance(error, TimeoutError)


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details() or ''}"[:200]
    return str(error) or type(error).__name__


def uuid_of(text: str) -> UUID:
    """An id in an answer. Raises Nonsense."""
    try:
        return UUID(text)
    except ValueError:
        raise Nonsense("an id that is no UUID") from None
