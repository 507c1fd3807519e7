"""Devices: who may register, change and revoke them, and which a message is encrypted for (docs/protocol.md §1, §3)."""

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from nacl import bindings, exceptions

from delivery.store.push_preferences import push_choices_set
from messaging.devices import (
    ConversationDevices,
    DeviceChange,
    DeviceState,
    DeviceView,
    RegisterDevice,
    UpdateDevice,
    UpdateSettings,
    UserSettingsView,
)
from messaging.events import Actor
from messaging.requests import decode_base64
from messaging.services.push_choices import choices_of
from messaging.services.recent import delivery_forget
from messaging.store import devices as store
from whispr.kernel import database
from whispr.kernel.errors import BadRequest, DatabaseAway, DatabaseReadOnly, Forbidden, NotFound, Unauthenticated
from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)

KEY_BYTES = 32  # Ed25519 and X25519 (RFC 8032, RFC 7748)
# How long REST may answer for a device that another process has just revoked: within the 5 s of close code 4403.
ADMISSION_SECONDS = 4.0
# And for how long while the database is away.
ADMISSION_AWAY_SECONDS = 3_600.0
ADMISSIONS_MAX = 10_000
# Revoked devices that a list still shows, for the user to recognise what was cut off.
REVOKED_SHOWN_MAX = 50
# Devices that expire in one transaction: 10,000 cursors each are deleted with them at most.
EXPIRE_CHUNK = 50
# Any scalar: the product is zero exactly for the points of low order that RFC 7748 §6.1 warns of.
_SCALAR = bytes([8] + [0] * 30 + [64])

UserEvent = Literal["revoked", "settings", "device_key"]

_admitted: OrderedDict[tuple[UUID, UUID], tuple[float, Actor]] = OrderedDict()


def publish_user_event(user_id: UUID, kind: UserEvent, payload: dict[str, Any]) -> None:
    """Tell all processes' sockets of `user_id` of a change that is committed.

    `revoked` and `device_key` carry `{"deviceId"}`, `settings` the settings. It may be lost (the doorbell is at most
    once): sockets ask `device_states()` again at intervals.
    """
    from messaging import fanout  # here, because the fan-out brings the channel layer with it

    fanout.publish_user_event(user_id, kind, payload)


def device_admit(user_id: UUID, device_id: UUID) -> Actor:
    """`device_register_seen()` for a thread that may block on the database: REST."""
    return _admit(user_id, device_id, database.call(store.device_touch, user_id, device_id, LIMITS.devices_per_user))


def device_admit_cached(user_id: UUID, device_id: UUID) -> Actor:
    """`device_admit()`, answered from memory for `ADMISSION_SECONDS` after the database said yes."""
    known = device_admitted(user_id, device_id)
    if known is not None:
        return known
    try:
        return device_admit(user_id, device_id)
    except DatabaseAway:
        return _admitted_before(user_id, device_id)


def device_admitted(user_id: UUID, device_id: UUID) -> Actor | None:
    """The actor that the database admitted within the last `ADMISSION_SECONDS`, or None."""
    known = _admitted.get((user_id, device_id))
    return known[1] if known is not None and known[0] > time.monotonic() else None


def _admitted_before(user_id: UUID, device_id: UUID) -> Actor:
    """Who was admitted before the database went away: to revoke a device needs the database, too.

    Raises TemporaryUnavailable for anybody else.
    """
    known = _admitted.get((user_id, device_id))
    if known is None or known[0] + ADMISSION_AWAY_SECONDS < time.monotonic():
        raise database.refusal("The database is away, and this device was not seen here before.")
    return known[1]


def device_forget(user_id: UUID, device_id: UUID) -> None:
    """Drop what this process remembers of the device: for whoever hears that it was revoked or has a new key."""
    _admitted.pop((user_id, device_id), None)


async def device_register_seen(user_id: UUID, device_id: UUID) -> Actor:
    """Who connects: registers the device at its first token, notes that it was seen (at most once a minute).

    Raises Unauthenticated for a revoked device and for one of another user, Forbidden at LIMITS.devices_per_user.
    """
    try:
        state = await database.run(store.device_touch, user_id, device_id, LIMITS.devices_per_user)
    except DatabaseReadOnly:  # that it was seen is not noted; a device that is known comes in
        state = (await database.run(store.list_device_states, [device_id])).get(device_id)
        if state is None:
            raise
    return _admit(user_id, device_id, state)


def _admit(user_id: UUID, device_id: UUID, state: DeviceState | None) -> Actor:
    if state is None:
        raise _too_many()
    if state.user_id != user_id or state.revoked:
        device_forget(user_id, device_id)
        raise Unauthenticated()
    actor = Actor(user_id, device_id, state.public_key)
    _admitted[user_id, device_id] = (time.monotonic() + ADMISSION_SECONDS, actor)
    _admitted.move_to_end((user_id, device_id))
    if len(_admitted) > ADMISSIONS_MAX:
        _admitted.popitem(last=False)
    return actor


async def device_states(device_ids: Sequence[UUID]) -> dict[UUID, DeviceState]:
    """The state of each device that exists: for the periodic check of live sockets (the reliability catalogue: within
    60 s)."""
    return await database.run(store.list_device_states, device_ids)


async def devices_seen(seen: Mapping[UUID, float]) -> None:
    """Note when devices whose sockets closed were last there: so many seconds ago."""
    await database.run(store.devices_seen, seen)


async def devices_expire() -> int:
    """Forget what devices acknowledged that were away for LIMITS.device_retention_days; how many devices.

    For a daily task; a device that comes back before it ran is treated the same.
    """
    total = 0
    while expired := await database.run(store.devices_expire, EXPIRE_CHUNK):
        total += expired
        if expired < EXPIRE_CHUNK:
            break
    return total


async def devices_list(actor: Actor) -> tuple[DeviceView, ...]:
    """The actor's devices: all live ones, oldest first, then the last revoked; `current` is the one that asks."""
    found = await database.run(store.list_devices, actor.user_id, REVOKED_SHOWN_MAX)
    return tuple(_marked(device, actor) for device in found)


def _marked(device: DeviceView, actor: Actor) -> DeviceView:
    return msgspec.structs.replace(device, current=device.id == actor.device_id)


async def device_get(actor: Actor, device_id: UUID) -> DeviceView:
    """One device of the actor. Raises NotFound for any other."""
    device = await database.run(store.get_device, device_id)
    if device is None or device.user_id != actor.user_id:
        raise NotFound()
    return _marked(device, actor)


async def device_register(actor: Actor, request: RegisterDevice) -> tuple[DeviceView, bool]:
    """`POST devices`: the device with its keys, and whether it is new. The same request again changes nothing.

    A new id becomes a device of the actor. The keys of a device that exists are changed by that device alone.
    Raises BadRequest for what is no key, NotFound for a device of another user, Forbidden for a revoked one, for the
    keys of another device of the actor, and at LIMITS.devices_per_user.
    """
    device_id = actor.device_id if request.id is None else request.id
    if device_id.int == 0:
        raise BadRequest("id must not be the nil UUID.")
    change = DeviceChange(
        name=_text(request.name, "name"),
        platform=_text(request.platform, "platform"),
        push_token=_text(request.push_token, "pushToken"),
        public_key=decode_public_key(request.public_key),
        encryption_key=decode_encryption_key(request.encryption_key),
    )
    if await database.run(store.get_device, device_id) is None:
        inserted = await database.run(store.device_insert, actor.user_id, device_id, change, LIMITS.devices_per_user)
        if inserted is None:
            raise _too_many()
        if inserted:
            if device_id == actor.device_id:
                _key_changed(actor.user_id, device_id)
            return await device_get(actor, device_id), True
    return await _device_change(actor, device_id, change), False


async def device_update(actor: Actor, device_id: UUID, request: UpdateDevice) -> DeviceView:
    """`PATCH devices/{id}`. Raises as `device_register()` does."""
    change = DeviceChange(
        name=_text(request.name, "name"),
        platform=_text(request.platform, "platform"),
        push_token=_text(request.push_token, "pushToken"),
        public_key=None if request.public_key is None else decode_public_key(request.public_key),
        encryption_key=decode_encryption_key(request.encryption_key),
    )
    return await _device_change(actor, device_id, change)


async def _device_change(actor: Actor, device_id: UUID, change: DeviceChange) -> DeviceView:
    before = await device_get(actor, device_id)
    new_public_key = change.public_key is not None and change.public_key != before.public_key
    new_encryption_key = change.encryption_key is not None and change.encryption_key != before.encryption_key
    if (new_public_key or new_encryption_key) and device_id != actor.device_id:
        raise Forbidden("Only the device itself changes its keys.")
    after = await database.run(store.device_update, actor.user_id, device_id, change)
    if after is None:
        raise Forbidden("This device was revoked.")
    if new_public_key:
        _key_changed(actor.user_id, device_id)
    return _marked(after, actor)


def _key_changed(user_id: UUID, device_id: UUID) -> None:
    device_forget(user_id, device_id)
    publish_user_event(user_id, "device_key", {"deviceId": str(device_id)})


async def device_revoke(actor: Actor, device_id: UUID) -> None:
    """`DELETE devices/{id}`: for good; its sockets are closed with 4403, its tokens refused from now on.

    A device may revoke itself. Doing it again is no error, and tells the processes once more. Raises NotFound for a
    device of another user.
    """
    revoked = await database.run(store.device_revoke, actor.user_id, device_id)
    if revoked is None:
        raise NotFound()
    device_forget(actor.user_id, device_id)
    publish_user_event(actor.user_id, "revoked", {"deviceId": str(device_id)})


async def conversation_devices(actor: Actor, conversation_id: UUID) -> ConversationDevices:
    """The live members' live devices and `membersVersion`: whom to encrypt for. NotFound for who is no live member."""
    devices = await database.run(store.list_conversation_devices, conversation_id, actor.user_id)
    if devices is None:
        raise NotFound()
    return devices


async def user_settings_get(actor: Actor) -> UserSettingsView:
    """The actor's settings, or the defaults."""
    return await database.run(store.get_user_settings, actor.user_id)


async def user_settings_update(actor: Actor, request: UpdateSettings) -> UserSettingsView:
    """`PATCH settings`: what is absent stays; the user's own devices are told (`personal_update`, kind `settings`).

    Raises NotFound for choices about a conversation that the user is not in, BadRequest over the number of them.
    """
    if request.read_receipts is None and request.share_last_seen is None and request.notifications is None:
        return await user_settings_get(actor)
    rechosen = request.notifications is not None and await database.run(
        push_choices_set, actor.user_id, choices_of(request.notifications), LIMITS.push_conversations
    )
    after, changed = await database.run(
        store.user_settings_update, actor.user_id, request.read_receipts, request.share_last_seen
    )
    if changed:
        delivery_forget([actor.user_id])  # what a sender may learn depends on it
    if changed or rechosen:
        publish_user_event(actor.user_id, "settings", msgspec.to_builtins(after))
    return after


def decode_public_key(text: str) -> bytes:
    """An Ed25519 public key of 32 bytes: a point of the curve's main subgroup. Raises BadRequest for anything else."""
    key = _key(text, "publicKey")
    if not bindings.crypto_core_ed25519_is_valid_point(key):
        raise BadRequest("publicKey is not an Ed25519 public key.")
    return key


def decode_encryption_key(text: str | None) -> bytes | None:
    """An X25519 public key of 32 bytes, not of low order. Raises BadRequest for anything else."""
    if text is None:
        return None
    key = _key(text, "encryptionKey")
    try:
        bindings.crypto_scalarmult(_SCALAR, key)
    except exceptions.RuntimeError:
        raise BadRequest("encryptionKey is not a safe X25519 public key.") from None
    return key


def _key(text: str, name: str) -> bytes:
    key = decode_base64(text, name, KEY_BYTES)
    if len(key) != KEY_BYTES:
        raise BadRequest(f"{name} must be {KEY_BYTES} bytes.")
    return key


def _text(value: str | None, name: str) -> str | None:
    if value is not None and not value.isprintable():
        raise BadRequest(f"{name} must be printable text.")
    return value


def _too_many() -> Forbidden:
    return Forbidden(
        f"This user has {LIMITS.devices_per_user} devices; revoke one first.", details={"max": LIMITS.devices_per_user}
    )
