"""Devices, settings and socket tickets of the caller (docs/protocol.md §7 `devices`, `settings`, `socket-tickets`)."""

from http import HTTPStatus
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, actor_of, answer, body_of, call, claims_of
from messaging.api.openapi import operation
from messaging.api.shapes import DeviceList
from messaging.devices import DeviceView, RegisterDevice, UpdateDevice, UpdateSettings, UserSettingsView
from messaging.services import devices as service
from messaging.services.tickets import Ticket, ticket_create

TAG = "devices"


class Devices(ApiView):
    """`devices`."""

    @operation("deviceList", "The caller's devices", {200: DeviceList}, tag=TAG)
    def get(self, request: Request) -> Response:
        """All live devices, then the last ones that were revoked."""
        return answer(DeviceList(call(service.devices_list, actor_of(request))))

    @operation(
        "deviceRegister",
        "Register a device with its keys",
        {201: DeviceView, 200: DeviceView},
        body=RegisterDevice,
        errors=(404,),
        tag=TAG,
    )
    def post(self, request: Request) -> Response:
        """200 where the device is known already: at the latest since its first request."""
        device, created = call(service.device_register, actor_of(request), body_of(request, RegisterDevice))
        return answer(device, HTTPStatus.CREATED if created else HTTPStatus.OK)


class Device(ApiView):
    """`devices/{id}`."""

    @operation("deviceUpdate", "Change a device", {200: DeviceView}, body=UpdateDevice, errors=(404,), tag=TAG)
    def patch(self, request: Request, device_id: UUID) -> Response:
        """What is absent stays as it is; keys are changed by the device itself."""
        change = body_of(request, UpdateDevice)
        return answer(call(service.device_update, actor_of(request), device_id, change))

    @operation("deviceRevoke", "Revoke a device", {204: None}, errors=(404,), tag=TAG)
    def delete(self, request: Request, device_id: UUID) -> Response:
        """For good: its sockets are closed with 4403, its tokens are refused."""
        call(service.device_revoke, actor_of(request), device_id)
        return answer(None, HTTPStatus.NO_CONTENT)


class Settings(ApiView):
    """`settings`."""

    @operation("settingsGet", "The caller's settings", {200: UserSettingsView}, tag="settings")
    def get(self, request: Request) -> Response:
        """The same for all devices of the user."""
        return answer(call(service.user_settings_get, actor_of(request)))

    @operation(
        "settingsUpdate",
        "Change settings",
        {200: UserSettingsView},
        body=UpdateSettings,
        errors=(404,),
        tag="settings",
    )
    def patch(self, request: Request) -> Response:
        """What is absent stays as it is; 404 for choices about a conversation that the caller is not in."""
        return answer(call(service.user_settings_update, actor_of(request), body_of(request, UpdateSettings)))


class SocketTickets(ApiView):
    """`socket-tickets`."""

    @operation("socketTicketCreate", "A ticket for one socket", {201: Ticket}, tag="socket")
    def post(self, request: Request) -> Response:
        """Single use, for `?ticket=` of the socket's address; for clients that can set no header."""
        ticket = call(ticket_create, actor_of(request), claims_of(request), request.META.get("REMOTE_ADDR") or None)
        return answer(ticket, HTTPStatus.CREATED)
