"""What a push says: ids, a count and a badge, and no word of whom or what it is about (docs/protocol.md "Pushes")."""

import hashlib
from collections.abc import Sequence

from delivery.events import Push, PushDevice
from delivery.store.push import DeviceToken, Telling


def message_of(one: Telling, badge: int, devices: Sequence[DeviceToken]) -> Push:
    """That messages wait. Its key is that of the newest one; see `Telling.key_id`."""
    return Push(
        key=_key("message", one.user_id, one.conversation_id, one.key_id),
        kind="message",
        user_id=one.user_id,
        conversation_id=one.conversation_id,
        message_ids=tuple(reversed(one.message_ids or ())),
        count=one.waiting,
        badge=max(badge, one.waiting),
        devices=_devices(devices),
        expires_at=one.expires_at,
    )


def clear_of(one: Telling, badge: int, devices: Sequence[DeviceToken]) -> Push:
    """That they were read elsewhere."""
    return Push(
        key=_key("clear", one.user_id, one.conversation_id, one.pushed_seq, one.read_seq),
        kind="clear",
        user_id=one.user_id,
        conversation_id=one.conversation_id,
        badge=badge,
        devices=_devices(devices),
    )


def _devices(devices: Sequence[DeviceToken]) -> tuple[PushDevice, ...]:
    return tuple(PushDevice(device_id=one.device_id, platform=one.platform, token=one.token) for one in devices)


def _key(*parts: object) -> str:
    """The name of a push: the same for whoever sends it again."""
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()[:32]
