"""The development sign-in: any name is a user (docs/protocol.md §7 `dev/tokens`, `dev/people`).

It exists only where WHISPR_DEV_LOGIN=1: elsewhere everything here raises NotFound.
"""

from uuid import UUID, uuid4

import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from messaging.services.devices import device_register_seen, publish_user_event
from messaging.store import dev_people, devices
from whispr.kernel import database
from whispr.kernel.errors import BadRequest, NotFound
from whispr.kernel.ids import user_id_of
from whispr.kernel.limits import LIMITS
from whispr.kernel.tokens import make_token

NAME_CHARS_MAX = 64
PEOPLE_MAX = 200


class DevToken(msgspec.Struct, frozen=True, rename="camel"):
    """`POST dev/tokens`."""

    token: str
    user_id: UUID
    device_id: UUID


class DevPersonView(msgspec.Struct, frozen=True, rename="camel"):
    """One of `GET dev/people`."""

    user_id: UUID
    name: str


async def dev_login(name: str, device_id: UUID | None = None) -> DevToken:
    """A token for the user that `name` means; a new device each time, unless `device_id` says which.

    Raises NotFound where the development sign-in is off or tokens are signed elsewhere, BadRequest for no name,
    Unauthenticated for a device of another user. Where the user has LIMITS.devices_per_user devices, the one that was
    seen longest ago is revoked: a development user signs in far more often than that.
    """
    _require_on()
    name = name.strip()
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise BadRequest(f"name must be 1 to {NAME_CHARS_MAX} printable characters.")
    user_id = user_id_of(name)
    device_id = uuid4() if device_id is None else device_id
    try:
        token = make_token(user_id, device_id)
    except ImproperlyConfigured:
        raise NotFound() from None
    except ValueError as error:
        raise BadRequest(str(error)) from None
    for revoked in await database.run(devices.device_make_room, user_id, device_id, LIMITS.devices_per_user):
        publish_user_event(user_id, "revoked", {"deviceId": str(revoked)})
    await device_register_seen(user_id, device_id)
    await database.run(dev_people.dev_person_seen, user_id, name)
    return DevToken(token, user_id, device_id)


async def dev_people_list() -> tuple[DevPersonView, ...]:
    """The names that signed in, the latest first, at most 200. Raises NotFound where the sign-in is off."""
    _require_on()
    people = await database.run(dev_people.list_dev_people, PEOPLE_MAX)
    return tuple(DevPersonView(user_id, name) for user_id, name in people)


def _require_on() -> None:
    if not settings.WHISPR_DEV_LOGIN:
        raise NotFound()
