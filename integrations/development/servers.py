"""The three development services, each on a port of its own, and their control."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from django.core.exceptions import ImproperlyConfigured
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from integrations.development.media import Media
from integrations.development.modes import OK, Behaviour, Mode
from integrations.development.notifications import Notifications
from integrations.development.users import Users
from integrations.grpc import media as media_adapter
from integrations.grpc import notifications as notifications_adapter
from integrations.grpc import users as users_adapter
from integrations.proto.whispr.media.v1 import media_pb2_grpc
from integrations.proto.whispr.notifications.v1 import notifications_pb2_grpc
from integrations.proto.whispr.users.v1 import users_pb2_grpc

log = logging.getLogger(__name__)

NAMES = ("users", "media", "notifications")
SETTINGS = {
    "users": "WHISPR_USER_SERVICE",
    "media": "WHISPR_MEDIA_SERVICE",
    "notifications": "WHISPR_NOTIFICATION_SERVICE",
}
CONTROL_SECONDS = 0.1
_OPTIONS = (("grpc.so_reuseport", 0),)  # else two servers share a port without a word


@dataclass(frozen=True, slots=True)
class Identity:
    """PEM files of a server with mutual TLS: its certificate, its key, the authority of its callers."""

    certificate: str
    key: str
    client_ca: str


class DevelopmentService:
    """One service on one address, which it keeps while it is gone."""

    def __init__(
        self,
        name: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        identity: Identity | None = None,
        push_log: Path | None = None,
    ) -> None:
        """`name` is one of NAMES; port 0 takes a free one at the first start."""
        self.name = name
        self.behaviour = Behaviour()
        self.port = port
        self._host = host
        self._identity = identity
        self._server: grpc.aio.Server | None = None
        self._servicer: Any
        if name == "users":
            self._servicer, self._add = Users(self.behaviour), users_pb2_grpc.add_UsersServicer_to_server
            self._full_name = users_adapter.SERVICE
        elif name == "media":
            self._servicer, self._add = Media(self.behaviour), media_pb2_grpc.add_MediaServicer_to_server
            self._full_name = media_adapter.SERVICE
        elif name == "notifications":
            self._servicer = Notifications(self.behaviour, push_log)
            self._add = notifications_pb2_grpc.add_NotificationsServicer_to_server
            self._full_name = notifications_adapter.SERVICE
        else:
            raise ValueError(f"{name!r}: the services are {', '.join(NAMES)}.")

    @property
    def servicer(self) -> Any:
        """What answers the calls."""
        return self._servicer

    @property
    def address(self) -> str:
        """host:port, as the settings take it."""
        return f"{self._host}:{self.port}"

    async def start(self) -> None:
        """Take calls. Raises ImproperlyConfigured where the address or a file cannot be used."""
        server = grpc.aio.server(options=_OPTIONS)
        self._add(self._servicer, server)  # type: ignore[no-untyped-call]
        healths = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(healths, server)
        try:
            self.port = self._listen(server)
        except OSError as error:
            raise ImproperlyConfigured(f"{error.filename}: {error.strerror}.") from None
        except RuntimeError:
            raise ImproperlyConfigured(f"{self.address} cannot be served; is it taken?") from None
        await server.start()
        await healths.set(self._full_name, health_pb2.HealthCheckResponse.SERVING)
        self._server = server

    def _listen(self, server: grpc.aio.Server) -> int:
        if self._identity is None:
            return int(server.add_insecure_port(self.address))
        key, certificate, client_ca = (
            Path(name).read_bytes()
            for name in (self._identity.key, self._identity.certificate, self._identity.client_ca)
        )
        credentials = grpc.ssl_server_credentials(
            [(key, certificate)], root_certificates=client_ca, require_client_auth=True
        )
        return int(server.add_secure_port(self.address, credentials))

    async def stop(self) -> None:
        """Break off every call, and take no more."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def behave(self, mode: Mode) -> None:
        """Behave so from now on."""
        if mode == self.behaviour.mode:
            return
        log.info("%s: %s", self.name, mode)
        self.behaviour.mode = mode
        if mode.kind == "gone":
            await self.stop()
        elif self._server is None:
            await self.start()


class DevelopmentServices:
    """Several services, and the file that controls them while they run."""

    def __init__(self, services: Sequence[DevelopmentService], control: Path | None = None) -> None:
        """`control` is a JSON object of modes by name, as `{"users": "slow:5"}`; a service without one is `ok`."""
        self.services = {service.name: service for service in services}
        self._control = control
        self._seen: bytes | None = None

    async def start(self, modes: Mapping[str, Mode]) -> None:
        """Start all, and have each behave as asked for. Raises ImproperlyConfigured."""
        for service in self.services.values():
            await service.start()
        for name, mode in modes.items():
            await self.services[name].behave(mode)

    async def follow(self) -> None:
        """Do what the control file says, whenever it changes, for as long as the task runs."""
        while self._control is not None:
            await self.look()
            await asyncio.sleep(CONTROL_SECONDS)

    async def look(self) -> None:
        """Read the control file once."""
        try:
            text = self._control.read_bytes() if self._control is not None else None
        except FileNotFoundError:
            return
        if text is None or text == self._seen:
            return
        self._seen = text
        try:
            found = json.loads(text)
            if not isinstance(found, dict):
                raise TypeError("it is no JSON object")
            modes = {name: Mode.parse(str(found[name])) if name in found else OK for name in self.services}
        except (ValueError, TypeError) as error:
            log.warning("The control file is not followed: %s", error)
            return
        for name, mode in modes.items():
            with contextlib.suppress(ImproperlyConfigured):
                await self.services[name].behave(mode)

    async def stop(self) -> None:
        """Stop all."""
        for service in self.services.values():
            await service.stop()
